"""A fit is certified where its minimum is one, and refused where it is not."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from scipy import optimize
import surfaces

from research.scaling import fit, points
from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.laws.isoflop import IsoFlop
from research.scaling.laws.law import Curve


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quartic(Curve):
  """ln L is t where N = 1 and t² where N = 2: two valleys in t."""

  name: ClassVar[str] = 'quartic'
  delta: float | None = None

  @property
  def coordinates(self):
    return ('t',)

  def evaluate(self, theta, points):
    first = points.params == 1
    value = np.where(first, theta, theta**2)
    return value, np.where(first, 1, 2 * theta)[..., None]

  def starts(self, points, count, seed):
    return np.linspace(-2, 2, count)[:, None]

  def parameters(self, theta):
    return {'t': theta[:, 0]}

  def text(self, parameters):
    return 't = {t:.4g}'.format(**parameters)


def valleys(first):
  """The law on points whose minima are the outer roots of a cubic."""
  pull = 0.2
  given = points.make(
    [1, 2], [1, 1], np.exp([first, 1.0]), weight=np.array([pull, 1.0])
  )
  cubic = [2.0, 0.0, pull - 2.0, -pull * first]
  low, _, high = np.sort(np.roots(cubic).real)
  return Quartic().solve(given, 41, 0).certificate, low, high


def test_a_planted_second_minimum_is_found_and_reported():
  certificate, low, high = valleys(first=0.1)
  found = [m.parameters['t'] for m in certificate.minima]
  assert found == pytest.approx([high, low], rel=1e-6)
  assert sum(m.starts for m in certificate.minima) == 41
  assert certificate.reached == certificate.minima[0].starts
  assert certificate.minima[0].objective < certificate.minima[1].objective
  assert certificate.certified


def test_two_minima_that_cannot_be_told_apart_are_refused():
  certificate, low, high = valleys(first=0.001)
  found = [m.parameters['t'] for m in certificate.minima]
  assert found == pytest.approx([high, low], rel=1e-6)
  (fault,) = certificate.faults
  assert fault.startswith('starts disagree: a second minimum of 20 starts')


def test_a_second_minimum_of_a_real_law_is_reported():
  """Of 30 points 55 % lie on one surface; the rest pull towards another."""
  given = surfaces.grid('hoffmann', sizes=6, ratios=5)
  on = np.random.default_rng(1).random(30) < 0.55
  n, d = given.params / 1e9, given.tokens / 2e10
  other = 1.3 * (1.2 + 8 * n**-0.9 + 0.9 * d**-0.05)
  mixed = points.make(
    given.params, given.tokens, np.where(on, given.loss, other)
  )
  best, *others = Chinchilla().solve(mixed, 320, 0).certificate.minima
  assert best.parameters['alpha'] == pytest.approx(0.34, abs=0.01)
  assert 0.424 in [
    pytest.approx(m.parameters['alpha'], abs=1e-3) for m in others
  ]
  assert all(m.objective > best.objective for m in others)


def test_the_minimum_is_that_of_an_independent_optimizer():
  """scipy's BFGS from the truth, at its tightest, finds nothing lower."""
  given = surfaces.grid('hoffmann', noise=0.005, seed=3)
  found = Chinchilla().solve(given, 300, 0)
  n, d, y = np.log([given.params, given.tokens, given.loss])

  def huber(theta):
    a, b, e, alpha, beta = theta
    terms = np.stack([a - alpha * n, b - beta * d, e + 0 * n])
    r = np.abs(np.logaddexp.reduce(terms) - y)
    return np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum()

  assert huber(found.theta) == pytest.approx(found.value, rel=1e-12)
  start = np.array([np.log(406.4), np.log(410.7), np.log(1.69), 0.34, 0.28])
  near = optimize.minimize(
    huber,
    start,
    method='Nelder-Mead',
    options={'xatol': 1e-10, 'fatol': 1e-16, 'maxfev': 40_000},
  )
  assert near.fun >= found.value * (1 - 1e-9)
  assert near.fun == pytest.approx(found.value, rel=1e-4)


def test_a_sum_and_not_a_mean_is_minimised():
  """Twice the same points: the same fit, twice the objective."""
  given = surfaces.grid('hoffmann', noise=0.005)
  twice = given.take(np.tile(np.arange(len(given)), 2))
  one, two = (Chinchilla().solve(p, 100, 0) for p in (given, twice))
  assert two.value == pytest.approx(2 * one.value, rel=1e-8)
  np.testing.assert_allclose(two.theta, one.theta, rtol=1e-5)
  weighted = dataclasses.replace(given, weight=2 * given.weight)
  heavy = Chinchilla().solve(weighted, 100, 0)
  np.testing.assert_allclose(heavy.theta, one.theta, rtol=1e-5)


def test_a_law_that_data_cannot_tell_is_refused():
  """At one size A and alpha are free; at five equal points all are."""
  given = surfaces.grid('hoffmann')
  one_size = given.take(given.params == given.params[0])
  wide = points.make(4e7, np.geomspace(1e9, 1e12, 12), 2.0)
  for few in (one_size, wide, given.take([0, 0, 0, 0, 0, 0, 0])):
    assert not Chinchilla().solve(few, 100, 0).certificate.certified


@pytest.mark.parametrize(
  ('factor', 'said'), [(40.0, 'below the grid'), (1 / 40, 'above the grid')]
)
def test_a_grid_whose_minima_lie_at_its_edge_is_refused(factor, said):
  given = surfaces.isoflop('hoffmann', width=3)
  n = given.params * factor
  d = given.flops / (6 * n)
  moved = points.make(
    n, d, surfaces.loss('hoffmann', n, d), budget=given.budget
  )
  for law in (IsoFlop(), IsoFlop(curve='akima')):
    found = fit.fit(law, moved, resamples=10)
    assert len(found.certificate.faults) == 8
    assert said in found.certificate.faults[0]
    assert '(uncertified)' in found.text
    assert found.to_dict([1e24])['parameters']['a'] is None


def test_a_concave_budget_is_refused_by_name():
  given = surfaces.isoflop('hoffmann')
  bent = np.where(
    given.budget == given.budget.max(), 6 - given.loss, given.loss
  )
  turned = dataclasses.replace(given, loss=bent)
  faults = IsoFlop().solve(turned, 1, 0).certificate.faults
  assert faults == ('budget 6e+21: the parabola is not convex',)


def test_disagreement_between_methods_is_warned_of():
  """One wild point moves least squares and not Huber's fit."""
  given = surfaces.grid('hoffmann', noise=0.001)
  agreed = fit.fit(Chinchilla(), given, resamples=0)
  assert agreed.certificate.warnings == ()
  wild = given.loss * np.where(np.arange(len(given)) == 44, 1.3, 1)
  found = fit.fit(
    Chinchilla(), dataclasses.replace(given, loss=wild), resamples=0
  )
  warnings = ' '.join(found.certificate.warnings)
  assert 'variable projection disagrees: alpha' in warnings
  assert found.parameters['alpha'] == pytest.approx(0.34, abs=0.01)
