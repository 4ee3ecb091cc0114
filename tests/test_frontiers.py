"""What compute buys is predicted from optima, and what is not known is said."""

import dataclasses

import numpy as np
import pytest
from scipy import optimize
import surfaces

from research.config import BadInput
from research.scaling import fit, floored, isoflop, points, summary
from research.scaling.laws.data_constrained import DataConstrained
from research.scaling.laws.envelope import Envelope
from research.scaling.laws.isoflop import IsoFlop
from research.scaling.laws.power import Power
from research.scaling.papers import muennighoff

FAR = 1.8e23
"""Thirty times the largest budget of `surfaces.isoflop`."""


def best_loss(surface, compute):
  """L*(C) = E + A/N*^α + B/D*^β, in closed form (METHODS)."""
  _, a, b, alpha, beta = surfaces.SURFACES[surface]
  g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
  n = g * (compute / 6) ** (beta / (alpha + beta))
  return surfaces.loss(surface, n, compute / (6 * n))


def fitted(law, given, resamples=0):
  return fit.fit(law, given, resamples=resamples, starts=45, held_out=False)


@pytest.mark.parametrize('floor', [0.0, 1.7])
@pytest.mark.parametrize('gamma', [0.03, 0.15, 0.9])
def test_a_power_law_with_a_floor_comes_back(floor, gamma):
  x = np.geomspace(1e18, 1e22, 5)
  y = floor + 2 * (x / 1e20) ** -gamma
  found = floored.fit(x, y)
  assert found[0] == pytest.approx(floor, abs=1e-4)
  assert found[2] == pytest.approx(gamma, rel=1e-4)
  np.testing.assert_allclose(found[0] + found[1] * x ** -found[2], y, rtol=1e-7)


def test_the_squares_left_are_those_of_an_independent_optimizer():
  rng = np.random.default_rng(0)
  x = np.geomspace(1, 1e4, 7)
  for _ in range(5):
    y = (1.5 + 2 * x**-0.2) * np.exp(0.02 * rng.standard_normal(7))

    def left(theta, y=y):
      return 1 - (theta[0] + theta[1] * x ** -theta[2]) / y

    least = min(
      optimize.least_squares(left, (e, 2, g), bounds=(0, (9, 99, 3))).cost
      for e in (0.01, 1, 2)
      for g in (0.05, 0.3, 1)
    )
    assert np.sum(left(floored.fit(x, y)) ** 2) / 2 <= least * (1 + 1e-6)


def test_losses_that_rise_have_no_fall_and_two_have_no_floor():
  x = np.array([1.0, 10, 100])
  floor, fall, _ = floored.fit(x, np.array([2, 2.1, 2.2]))
  assert fall == 0 and 2 < floor < 2.2
  assert np.isnan(floored.fit(x[:2], x[:2])).all()


@pytest.mark.parametrize('surface', ['hoffmann', 'besiroglu'])
@pytest.mark.parametrize('law', [IsoFlop(), IsoFlop(curve='akima')])
def test_isoflop_minima_tell_the_loss_of_thirty_times_the_compute(surface, law):
  """Narrower curves are nearer to parabolas, and the error falls."""
  errors = []
  for width in (4.0, 2.0):
    found = fitted(law, surfaces.isoflop(surface, width=width))
    p = found.frontier(FAR)
    assert p.factor == pytest.approx(30)
    errors.append(abs(p.value[0] / best_loss(surface, FAR) - 1))
  assert errors[0] < 2e-4 and errors[1] < 2e-5


def test_the_frontier_has_the_exponent_of_the_closed_form():
  """γ = αβ/(α + β) along C = 6ND."""
  found = fitted(IsoFlop(), surfaces.isoflop('hoffmann', width=2)).parameters
  assert found['gamma'] == pytest.approx(0.34 * 0.28 / 0.62, rel=1e-3)
  assert found['E'] == pytest.approx(1.69, rel=1e-3)


def test_an_envelope_tells_the_loss_beyond_its_optima():
  errors = []
  for sizes in (8, 32):
    given = surfaces.grid('hoffmann', sizes=sizes, ratios=200, span=(1, 1000))
    found = fitted(Envelope(), given)
    (reach,) = found.law.known(given)[-1:]
    far = 30 * reach
    p = found.frontier(far)
    # Its largest runs spent more, but where the best size is not known.
    assert p.factor == pytest.approx(30) and reach < given.flops.max()
    errors.append(abs(p.value[0] / best_loss('hoffmann', far) - 1))
  assert errors[1] < errors[0] and errors[1] < 1e-4


def test_a_cell_of_a_budget_is_asked_of_the_budgets_own_parabola():
  given = surfaces.isoflop('hoffmann', noise=0.001)
  found = fitted(IsoFlop(), given, resamples=100)
  n, budget = 7e9, 6e21
  (entry,) = found.to_dict(at=[{'params': n, 'tokens': budget / (6 * n)}])[
    'predictions'
  ]
  mine = given.take(np.isclose(given.budget, budget))
  z = np.log(mine.params / n)
  assert entry['value'] == pytest.approx(np.polyfit(z, mine.loss, 2)[-1])
  low, high = entry['interval95']
  assert low < surfaces.loss('hoffmann', n, budget / (6 * n)) < high
  assert high / low - 1 < 4 * 0.001 and not entry['outside']


@pytest.mark.parametrize('law', [IsoFlop(), IsoFlop(curve='akima'), Envelope()])
def test_a_cell_that_a_law_knows_nothing_of_is_said_to_be_unknown(law):
  found = fitted(law, surfaces.isoflop('hoffmann', noise=0.001), resamples=5)
  told = found.to_dict(at=[{'params': 7e10, 'tokens': 1.4e12}])
  (entry,) = told['predictions']
  assert entry['value'] is None and entry['interval95'] is None
  assert entry['factor'] == pytest.approx(98)
  assert '--compute' in entry['note']
  assert f'unknown ({entry["note"]})' in summary.summary(
    told | {'certificate': found.certificate.to_dict()}
  )


@pytest.mark.parametrize('law', [IsoFlop(), Envelope()])
def test_a_law_that_does_not_weigh_says_so(law):
  given = surfaces.isoflop('hoffmann')
  weight = np.where(given.budget > 1e21, 1.0, 0.0)
  with pytest.raises(BadInput, match='leave out the column weight'):
    fitted(law, dataclasses.replace(given, weight=weight))


def test_two_budgets_show_no_floor():
  given = surfaces.isoflop('hoffmann')
  two = given.take(given.budget <= np.unique(given.budget)[1])
  found = fitted(IsoFlop(), two)
  assert found.certificate.certified
  assert 'no floor' in found.certificate.warnings[0]
  assert 'L*' not in found.text
  (entry,) = found.to_dict(compute=[1e20])['predictions']
  assert entry['value'] is None and 'three optima' in entry['note']
  three = given.take(given.budget <= np.unique(given.budget)[2])
  (held,) = fit.fit(IsoFlop(), three, resamples=5).backtest
  assert held['quantity'] == 'params'


def test_a_loss_that_shows_no_floor_is_warned_of():
  given = surfaces.isoflop('hoffmann')
  _, a, b, alpha, beta = surfaces.SURFACES['hoffmann']
  bare = a / given.params**alpha + b / given.tokens**beta
  flat = dataclasses.replace(given, loss=bare - 0.02)
  assert fitted(IsoFlop(), flat).certificate.warnings == (
    'L* shows no floor: E = 0',
  )


@pytest.mark.parametrize(
  ('law', 'given'),
  [
    (IsoFlop(), surfaces.isoflop('hoffmann', noise=0.001)),
    (
      Envelope(),
      surfaces.grid('hoffmann', sizes=12, ratios=40, span=(1, 1000)),
    ),
  ],
)
def test_the_backtest_predicts_as_the_fit_does(law, given):
  """By hand: fit what is before, ask the frontier at the held-out optimum."""
  size, loss = fit.fit(law, given, resamples=40).backtest
  before, held = law.held_out(given)
  assert given.flops[before].max() < size['compute'] / 1.4
  earlier = fitted(law, given.take(before))
  c = size['compute']
  assert loss['predicted'] == pytest.approx(earlier.frontier(c).value[0])
  (best,) = earlier.optimum(c)
  assert size['predicted'] == pytest.approx(best['params']['value'])
  found = law.optima(given.take(held), given.loss[held])
  where = np.flatnonzero(found.compute == c)
  assert loss['actual'] == found.loss[where]
  assert loss['actual'] == pytest.approx(best_loss('hoffmann', c), rel=2e-3)
  assert size['inside'] and abs(loss['error']) < 4e-3


def test_a_backtest_whose_earlier_curves_show_no_optimum_says_nothing():
  """Two sizes before the held-out optimum: neither lies inside their grid."""
  given = surfaces.grid('hoffmann', sizes=4, ratios=30, span=(1, 1000))
  law = Envelope()
  (reach,) = law.known(given)[-1:]
  before = given.flops < reach / 1.5
  late = given.params > np.unique(given.params)[1]
  few = given.take(~(before & late))
  found = fit.fit(law, few, resamples=5, held_out=False)
  earlier = few.take(few.flops < reach / 1.5)
  assert not len(law.known(earlier))
  old = fit.fit(law, earlier, resamples=5, held_out=False)
  assert law.backtest(old, found.points) == []


def test_the_held_out_minimum_is_that_of_its_parabola():
  given = surfaces.isoflop('hoffmann', noise=0.001)
  _, loss = fit.fit(IsoFlop(), given, resamples=5).backtest
  mine = given.take(given.budget > 5e21)
  assert loss['actual'] == isoflop.fit(mine.params, mine.loss).loss


def test_a_power_law_of_compute_is_asked_by_the_points_own_flops():
  """Points that cost 30 N^.9 D: a cell costs the same where it is asked."""
  given = surfaces.grid('hoffmann')
  c = 30 * given.params**0.9 * given.tokens
  priced = points.make(given.params, given.tokens, 1 + 9 * c**-0.05, flops=c)
  p = fitted(Power(), priced).predict(1e11, 1e12)
  asked = 30 * 1e11**0.9 * 1e12
  assert p.value[0] == pytest.approx(1 + 9 * asked**-0.05, rel=1e-4)


def test_a_law_of_repeated_tokens_must_be_told_which_are_new():
  found = fitted(DataConstrained(), muennighoff.surface())
  with pytest.raises(BadInput, match='without unique_tokens'):
    found.to_dict(at=[{'params': 1e9, 'tokens': 1e11}])
  (entry,) = found.to_dict(compute=[1e21])['predictions']
  assert entry['value'] is None and 'no best cell' in entry['note']
