"""Schedules are their closed forms, with nothing but the shape compiled in."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import BadInput
from research.train.schedules import (
  Constant,
  Cosine,
  InverseSqrt,
  WarmupStableDecay,
)

HORIZON, WARMUP = 100, 10
STEPS = np.arange(HORIZON)


def factors(schedule, horizon=HORIZON, warmup=WARMUP):
  """At every step, from one compiled function of traced numbers."""
  each = jax.jit(jax.vmap(schedule, (0, None, None)))
  return np.asarray(each(jnp.arange(horizon), horizon, warmup))


def test_warmup_rises_linearly_to_one():
  rise = (STEPS[:WARMUP] + 1) / WARMUP
  for schedule in Constant(), Cosine(), WarmupStableDecay(), InverseSqrt():
    found = factors(schedule)
    np.testing.assert_allclose(found[:WARMUP], rise, rtol=1e-6)
    assert found.max() == 1


def test_constant_stays():
  np.testing.assert_array_equal(factors(Constant())[WARMUP:], 1)
  np.testing.assert_array_equal(factors(Constant(), warmup=0), 1)


@pytest.mark.parametrize('final', [0.0, 0.1])
def test_cosine_is_half_a_wave(final):
  expected = [
    final
    + (1 - final)
    * (1 + math.cos(math.pi * (i - WARMUP) / (HORIZON - WARMUP)))
    / 2
    for i in range(WARMUP, HORIZON)
  ]
  found = factors(Cosine(final=final))[WARMUP:]
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('shape', ['sqrt', 'linear'])
def test_the_cooldown_takes_its_share_of_the_horizon(shape):
  schedule = WarmupStableDecay(cooldown=0.25, shape=shape)
  progress = np.arange(25) / 25
  fall = np.sqrt(progress) if shape == 'sqrt' else progress
  found = factors(schedule)
  np.testing.assert_array_equal(found[WARMUP:75], 1)
  np.testing.assert_allclose(found[75:], 1 - fall, rtol=1e-5)
  assert float(schedule(HORIZON, HORIZON, WARMUP)) == 0


def test_the_stable_phase_is_the_same_for_every_horizon():
  schedule = WarmupStableDecay(cooldown=0.2)
  long = factors(schedule, horizon=200)
  np.testing.assert_array_equal(long[:80], factors(schedule)[:80])


def test_inverse_sqrt_is_vaswanis():
  steps = STEPS + 1
  expected = np.minimum(steps**-0.5, steps * WARMUP**-1.5) * WARMUP**0.5
  np.testing.assert_allclose(factors(InverseSqrt()), expected, rtol=1e-6)


def test_horizons_share_one_compilation():
  traces = []

  @jax.jit
  def factor(step, horizon, warmup):
    traces.append(step)
    return Cosine()(step, horizon, warmup)

  for horizon in 10, 20, 30:
    factor(3, horizon, 2)
  assert len(traces) == 1


def test_shares_lie_between_nothing_and_all():
  with pytest.raises(BadInput, match='cooldown=1.5'):
    WarmupStableDecay(cooldown=1.5)
  with pytest.raises(BadInput, match='final=-1'):
    Cosine(final=-1)
