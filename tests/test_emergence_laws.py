"""The smooth law follows every smooth curve and no step."""

import numpy as np
import pytest
from scipy import optimize

from research.scaling.emergence import cone, laws, null

X = np.log(1e4) + np.arange(7.0)
ERROR = np.full(7, 0.02)
FINE = np.linspace(X[0], X[-1], 61)


def logistic(width, centre, x=X):
  """10–90 % rise of `width`, in log units."""
  return 1 / (1 + np.exp(-(x - centre) * 2 * np.log(9) / width))


def test_many_solutions_are_those_of_scipy_one_by_one():
  rng = np.random.default_rng(0)
  design = np.column_stack([np.ones(9), rng.normal(size=(9, 14))])
  sides = rng.normal(size=(50, 9))
  allowed = rng.uniform(size=(50, 15)) < 0.7
  weights = cone.solve(design.T @ design, sides @ design, allowed)
  assert (weights[:, 1:] >= 0).all() and (
    weights[:, 1:][~allowed[:, 1:]] == 0
  ).all()
  for side, mask, found in zip(sides, allowed, weights, strict=True):
    columns = design[:, 1:][:, mask[1:]]
    # scipy has no free column: one is the sum of two that are not.
    free = np.column_stack([design[:, 0], -design[:, 0], columns])
    _, norm = optimize.nnls(free, side)
    assert np.linalg.norm(side - design @ found) == pytest.approx(
      norm, abs=1e-6
    )


@pytest.mark.parametrize(
  'curve',
  [
    logistic(2.0, X[3] + 0.5),
    logistic(2.0, X[3]),
    logistic(2.6, X[2] + 0.3),
    logistic(9.0, X[1]),
    1 - logistic(3.0, X[3]),
    np.exp(-np.exp(-(X - X[3]) * 3.084 / 2)),  # Gompertz
    np.exp(-np.exp(-(X - X[2] + 0.25) * 3.084 / 2.3)),
    1 - np.exp(-np.exp((X - X[4]) * 3.084 / 2.2)),
    np.exp(-np.exp(-(X - X[0]) * 3.084 / 7)),
    np.linspace(0.2, 0.9, 7),
    1 - np.exp(-(X - X[0] + 0.5) / 2),
    0.5 * logistic(2.5, X[1]) + 0.5 * logistic(2.5, X[5]),
    np.full(7, 0.4),
  ],
)
def test_every_smooth_monotone_curve_is_a_smooth_law(curve):
  sign = 1.0 if curve[-1] >= curve[0] else -1.0
  fit = laws.Smooth(X, ERROR, sign).fit(curve[None])
  # A curve of full height is met to half of one standard error of 500 items.
  assert np.abs(fit.fitted[0] - curve).max() < 0.01


@pytest.mark.parametrize('gap', [1, 2, 3, 4])
def test_no_smooth_law_is_a_step(gap):
  step = (np.arange(7) > gap).astype(float)
  smooth = laws.Smooth(X, ERROR, 1.0)
  fit = smooth.fit(step[None])
  # The quickest logistic has made 1/4 of its way half a gap from its middle.
  assert 0.15 < np.abs(fit.fitted[0] - step).max() < 0.25
  broken = laws.Broken(smooth, range(1, 5)).fit(step[None])
  assert broken.place == gap and broken.rss < 1e-6


def test_the_quickest_sigmoid_rises_in_two_gaps():
  assert logistic(laws.GAPS, 0, np.array([-1.0, 1.0])) == pytest.approx(
    [0.1, 0.9]
  )
  weights = np.zeros(1 + 3 * 19 + 6)
  smooth = laws.Smooth(X, ERROR, 1.0)
  weights[1 + 3 + 3] = 1  # One, three before the grid, the fourth size.
  assert smooth.at(weights, FINE) == pytest.approx(
    logistic(2.0, X[3], FINE), abs=1e-9
  )


def test_no_sigmoid_is_slower_than_a_decade_on_a_coarse_grid():
  x = 3 * np.arange(7.0)
  smooth = laws.Smooth(x, ERROR, 1.0)
  fit = smooth.fit(logistic(np.log(10), 7.5, x)[None])
  assert fit.rss[0] < 1e-3


def test_a_fine_grid_finds_the_place_among_all():
  x = np.linspace(0, 8, 30)
  error = np.full(30, 0.02)
  y = 0.2 + 0.02 * x + 0.4 * (np.arange(30) > 20)
  smooth = laws.Smooth(x, error, 1.0)
  broken = laws.Broken(smooth, range(1, 28))
  fit = broken.fit(y[None])
  assert fit.place == 20
  assert fit.rss == pytest.approx(min(f.rss[0] for f in broken.each(y[None])))


def test_a_corner_is_found_and_only_upwards():
  y = 0.1 + 0.1 * np.maximum(X - X[3], 0)
  fit = laws.corner(X, ERROR, 1.0).fit(y[None])
  assert 1 + fit.place[0] == 3 and fit.rss[0] < 1e-9
  assert fit.weights[0] == pytest.approx([0.1, 0, 0.1], abs=1e-9)
  line = laws.line(X, ERROR).fit(-y[None])
  assert laws.corner(X, ERROR, 1.0).fit(-y[None]).rss == pytest.approx(line.rss)


def test_the_p_value_of_two_nested_lines_is_that_of_chi_square():
  """With known errors, −2 log ratio of one more weight is χ² of one degree."""
  design = np.stack([np.ones(40), np.linspace(-1, 1, 40)], 1)
  error = np.full(40, 0.1)
  small = laws.Straight([design[:, :1]], error)
  large = laws.Straight([design], error)
  rng = np.random.default_rng(0)
  # Residuals of exactly the known size: no dispersion beyond the errors.
  wave = np.cos(np.pi * np.arange(40)) * 0.09
  wave -= design @ np.linalg.lstsq(design, wave, rcond=None)[0]
  slope = 1.645 * 0.1 / np.linalg.norm(design[:, 1])
  ratio = null.likelihood_ratio(
    wave + slope * design[:, 1], error, small, large, rng
  )
  assert ratio.statistic == pytest.approx(1.645**2, rel=1e-6)
  assert ratio.p_value == pytest.approx(0.1, abs=0.06)


def test_a_ratio_that_does_not_pay_for_its_parameters_draws_nothing():
  smooth = laws.Smooth(X, ERROR, 1.0)
  broken = laws.Broken(smooth, range(1, 5))
  rng = np.random.default_rng(0)
  curve = np.linspace(0.2, 0.5, 7)
  ratio = null.likelihood_ratio(curve, ERROR, smooth, broken, rng, added=2)
  assert ratio.p_value == 1 and ratio.replicates == 0 and ratio.statistic < 4


def test_deviation_that_no_error_tells_of_widens_the_null():
  rng = np.random.default_rng(0)
  jumps = 0.5 + 0.2 * (-1.0) ** np.arange(7)
  constant = laws.constant(X, ERROR)
  ratio = null.likelihood_ratio(
    jumps, ERROR, constant, laws.Monotone(X, ERROR), rng
  )
  assert ratio.dispersion > 20 and ratio.p_value > 0.2
