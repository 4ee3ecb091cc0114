"""Intervals cover what is true as often as they say."""

import dataclasses

import numpy as np
import pytest
import surfaces

from research.scaling import fit, points
from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.laws.envelope import Envelope
from research.scaling.laws.isoflop import IsoFlop
from research.scaling.laws.power import Power

NOISE = 0.005
FAR = 1.6e10 * 30**0.5, 1.6e12 * 30**0.5
"""A cell of thirty times the largest compute."""


def covered(surface, seed):
  """Which of alpha, beta, a and a far loss lie in their intervals."""
  given = surfaces.grid(surface, noise=NOISE, seed=1000 + seed)
  found = fit.fit(
    Chinchilla(), given, resamples=200, seed=seed, starts=45, held_out=False
  )
  alpha, beta = surfaces.SURFACES[surface][3:]
  record = found.to_dict()
  far = found.predict(*FAR)
  assert far.factor == pytest.approx(30)
  checks = (
    (alpha, record['interval95']['alpha']),
    (beta, record['interval95']['beta']),
    (beta / (alpha + beta), record['derived']['a']['interval95']),
    (surfaces.loss(surface, *FAR), (far.low[0], far.high[0])),
  )
  return [low <= true <= high for true, (low, high) in checks]


def rates(surface, draws):
  found = np.mean([covered(surface, seed) for seed in range(draws)], axis=0)
  print(f'\n{surface}, {draws} draws: alpha, beta, a, 30x: {found}')
  return found


def test_forty_draws_are_covered():
  assert (rates('hoffmann', 40) >= 0.88).all()


@pytest.mark.slow
@pytest.mark.parametrize('surface', surfaces.SURFACES)
def test_two_hundred_draws_are_covered(surface):
  assert (rates(surface, 200) >= 0.88).all()


def training(surface, seed):
  """Sixteen training curves, each with a deviation of its own."""
  given = surfaces.grid(surface, sizes=16, ratios=40, span=(1, 1000))
  run = np.unique(given.params, return_inverse=True)[1]
  luck = np.random.default_rng(seed).standard_normal(16)[run]
  return dataclasses.replace(given, loss=given.loss * np.exp(NOISE * luck))


def allocated(law, given, surface, seed):
  """Which of a, and N* and L* of 30 times the compute, lie in intervals."""
  found = fit.fit(law, given, resamples=80, seed=seed, held_out=False)
  far = 30 * law.known(given).max()
  _, a, b, alpha, beta = surfaces.SURFACES[surface]
  g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
  n = g * (far / 6) ** (beta / (alpha + beta))
  (best,), loss = found.optimum(far), found.frontier(far)
  checks = (
    (beta / (alpha + beta), found.exponents()['a']['interval95']),
    (n, best['params']['interval95']),
    (surfaces.loss(surface, n, far / (6 * n)), (loss.low[0], loss.high[0])),
  )
  return [low <= true <= high for true, (low, high) in checks]


@pytest.mark.slow
@pytest.mark.parametrize('surface', ['hoffmann', 'besiroglu'])
@pytest.mark.parametrize('law', [IsoFlop(), Envelope(values=400)])
def test_a_hundred_allocations_are_covered(law, surface):
  hits = []
  for seed in range(100):
    given = training(surface, seed)
    if isinstance(law, IsoFlop):
      given = surfaces.isoflop(surface, noise=NOISE, seed=seed)
    hits.append(allocated(law, given, surface, seed))
  found = np.mean(hits, axis=0)
  print(f'\n{law.name}, {surface}, 100 draws: a, N*, L* at 30x: {found}')
  assert (found >= 0.88).all()


def test_a_noise_free_surface_has_intervals_without_width():
  found = fit.fit(
    Chinchilla(), surfaces.grid('hoffmann'), resamples=20, held_out=False
  )
  low, high = found.to_dict()['interval95']['alpha']
  assert low == pytest.approx(0.34, rel=1e-6)
  assert high == pytest.approx(0.34, rel=1e-6)


def test_errors_of_points_are_a_floor_under_the_noise():
  """Points without scatter, but with errors of 1 %, have intervals."""
  given = surfaces.grid('hoffmann')
  known = points.make(
    given.params, given.tokens, given.loss, stderr=0.01 * given.loss
  )
  found = fit.fit(Chinchilla(), known, resamples=200, held_out=False)
  scattered = surfaces.grid('hoffmann', noise=0.01, seed=5)
  other = fit.fit(Chinchilla(), scattered, resamples=200, held_out=False)
  widths = [np.ptp(f.to_dict()['interval95']['alpha']) for f in (found, other)]
  assert 0.4 < widths[0] / widths[1] < 2.5


def test_a_point_without_weight_is_as_if_it_were_not_there():
  """A wild loss that counts for nothing widens no interval."""
  given = surfaces.grid('hoffmann', noise=NOISE)
  wild = points.make(
    np.append(given.params, 1e9),
    np.append(given.tokens, 2e10),
    np.append(given.loss, 9.0),
    weight=np.append(given.weight, 0.0),
  )
  alone, beside = (
    fit.fit(Chinchilla(), p, resamples=200, starts=45, held_out=False)
    for p in (given, wild)
  )
  np.testing.assert_allclose(beside.theta, alone.theta, rtol=1e-6)
  noise = [f.law.noise(f.points, f.solution.theta) for f in (alone, beside)]
  assert noise[1].scale[0] == pytest.approx(noise[0].scale[0], rel=1e-4)
  assert noise[1].widening == noise[0].widening
  few = dataclasses.replace(given, weight=(np.arange(45) < 5).astype(float))
  (fault, *_) = Chinchilla().solve(few, 45, 0).certificate.faults
  assert fault.startswith('5 different points')


def test_a_fit_that_meets_every_point_has_no_intervals():
  given = points.make([1e7, 1e8, 1e9], [1e9] * 3, [4.0, 3.0, 2.5])
  found = fit.fit(Power(x='params'), given, held_out=False)
  assert len(found.samples) == 0
  assert found.to_dict()['interval95']['alpha'] is None


def test_an_interval_for_a_new_run_is_wider_than_that_of_the_law():
  given = surfaces.grid('hoffmann', noise=NOISE)
  found = fit.fit(Chinchilla(), given, resamples=400, held_out=False)
  law, run = (found.predict(1e9, 2e10, observed=o) for o in (False, True))
  assert run.high - run.low > 2 * (law.high - law.low)
  assert (run.high - run.low) / run.value == pytest.approx(
    2 * 1.96 * NOISE, rel=0.5
  )


def test_the_same_seed_gives_the_same_fit():
  given = surfaces.grid('hoffmann', noise=NOISE)
  one, two = (
    fit.fit(Chinchilla(), given, resamples=50, starts=50) for _ in range(2)
  )
  assert one.to_dict([1e24]) == two.to_dict([1e24])


def test_the_largest_budget_is_held_out_and_scored():
  given = surfaces.isoflop('hoffmann', noise=0.002)
  found = fit.fit(Chinchilla(), given, resamples=200).to_dict()
  assert len(found['backtest']) == 9
  for entry in found['backtest']:
    d = entry['tokens']
    assert 6 * entry['params'] * d == pytest.approx(6e21)
    assert entry['error'] == pytest.approx(
      entry['predicted'] / entry['actual'] - 1
    )
    low, high = entry['interval95']
    assert entry['inside'] == (low <= entry['actual'] <= high)
  assert sum(e['inside'] for e in found['backtest']) >= 7
  assert max(abs(e['error']) for e in found['backtest']) < 0.02


def test_the_largest_budgets_best_size_is_held_out_and_scored():
  given = surfaces.isoflop('hoffmann', noise=0.001)
  entry, _ = fit.fit(IsoFlop(), given, resamples=200).backtest
  assert entry['quantity'] == 'params'
  assert entry['compute'] == pytest.approx(6e21)
  assert entry['actual'] == pytest.approx(
    0.6 * (6e21) ** (0.28 / 0.62), rel=0.1
  )
  assert abs(entry['error']) < 0.1 and entry['inside']
