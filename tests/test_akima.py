"""Akima's interpolation finds minima, and says when they are none."""

import numpy as np
import pytest
from scipy import optimize

from research.scaling import akima

SIZES = np.geomspace(1e6, 1e9, 9)


def bowl(params, centre=3.3e7, lopsided=0.0):
  """A smooth curve in ln N, one side steeper than the other."""
  z = np.log(params / centre)
  return np.exp(1 + 0.02 * z**2 + lopsided * z**3)


def test_it_meets_its_points_and_is_nothing_beyond_them():
  fit = akima.fit(SIZES, bowl(SIZES))
  np.testing.assert_allclose(fit(SIZES), bowl(SIZES), rtol=1e-12)
  assert np.isnan(fit([1e5, 1e10])).all()


def test_its_minimum_is_that_of_a_brute_search():
  rng = np.random.default_rng(0)
  for _ in range(20):
    loss = bowl(SIZES, 10 ** rng.uniform(6.5, 8.5))
    loss = loss * np.exp(0.01 * rng.standard_normal(9))
    fit = akima.fit(SIZES, loss)
    grid = np.geomspace(SIZES[0], SIZES[-1], 200_001)[1:-1]
    values = fit(grid)
    assert fit.loss <= values.min() + 1e-12
    assert fit.loss == pytest.approx(min(values.min(), loss.min()), rel=1e-7)


def test_it_follows_a_lopsided_curve_where_a_parabola_does_not():
  true = optimize.minimize_scalar(
    lambda z: float(bowl(np.exp(z), lopsided=0.003)), (15, 17, 19)
  ).x
  z, y = np.log(SIZES), bowl(SIZES, lopsided=0.003)
  parabola = np.polyfit(z - 17, y, 2)
  off = abs(17 - parabola[1] / (2 * parabola[0]) - true)
  fit = akima.fit(SIZES, y)
  assert abs(np.log(fit.params) - true) < 0.1 < off


@pytest.mark.parametrize(
  ('centre', 'verdict'),
  [(1e4, 'below the grid'), (3e7, 'inside'), (1e12, 'above the grid')],
)
def test_a_minimum_at_an_end_is_told_with_its_side(centre, verdict):
  fit = akima.fit(SIZES, bowl(SIZES, centre))
  assert fit.verdict == verdict and fit.inside == (verdict == 'inside')


def test_the_best_run_stands_for_its_size_and_a_missing_one_is_left_out():
  sizes = np.concatenate([SIZES, SIZES[3:4], SIZES[5:6]])
  loss = np.concatenate([bowl(SIZES), [99.0], [np.nan]])
  fit, plain = akima.fit(sizes, loss), akima.fit(SIZES, bowl(SIZES))
  assert (fit.params, fit.loss, fit.points) == (plain.params, plain.loss, 9)


def test_a_flat_stretch_has_a_minimum():
  fit = akima.fit(SIZES[:5], [3.0, 2.0, 2.0, 2.0, 3.0])
  assert fit.inside and fit.loss == pytest.approx(2.0)


def test_two_sizes_are_too_few():
  with pytest.raises(ValueError, match='three different sizes, not 2'):
    akima.fit([1e6, 1e7, 1e7], [3.0, 2.0, 2.1])
