"""Signals beside the verdict, against closed forms."""

import numpy as np
import pandas as pd
import pytest

from research.scaling.emergence import curves, scores, signals


def curve(value, **columns):
  n = len(value)
  frame = pd.DataFrame(
    {
      'model': [f'm{i}' for i in range(n)],
      'scale': np.geomspace(1e4, 1e7, n),
      'task': 'task',
      'metric': 'pass_until',
      'value': value,
      **columns,
    }
  )
  ((_, (only,)),) = curves.curves(scores.tidy(frame))
  return only


def test_items_needed_put_the_floor_z_errors_away():
  n = signals.items_needed(0.3, 0.25, 3)
  assert np.sqrt(0.3 * 0.7 / n) * 3 == pytest.approx(0.05, rel=0.01)
  assert signals.items_needed(0.25, 0.25, 3) is None


def test_a_task_law_is_linear_and_an_accelerated_one_bends_down():
  x = np.log(np.geomspace(1e4, 1e7, 8))
  z = x - x.mean()
  rng = np.random.default_rng(0)
  law = np.exp(-np.exp(0.3 - 0.25 * z))
  found = signals.pass_until(curve(law, stderr=0.005 * law), rng)
  assert found.verdict == 'task law'
  assert found.slope == pytest.approx(-0.25, abs=0.01)
  fast = np.exp(-np.exp(0.3 - 0.25 * z - 0.05 * z**2))
  found = signals.pass_until(curve(fast, stderr=0.005 * fast), rng)
  assert found.verdict == 'accelerated'
  slow = np.exp(-np.exp(0.3 - 0.25 * z + 0.02 * z**2))
  found = signals.pass_until(curve(slow, stderr=0.005 * slow), rng)
  assert found.verdict == 'task law'


def test_rates_of_zero_and_one_have_no_place_in_the_task_law():
  rng = np.random.default_rng(0)
  assert signals.pass_until(curve([0, 0, 0.1, 0.3, 0.7, 1]), rng) is None


def test_signal_to_noise_is_dispersion_over_the_last_checkpoints():
  value = np.array([0.1, 0.3, 0.5, 0.7])
  found = curve(value, n_items=100)
  wiggle = 0.01 * np.array([-1, 1, -1, 1, 0])
  rows = pd.DataFrame(
    [
      {'model': m, 'seed': 0, 'scale': m, 'step': s, 'value': v + w}
      for m, v in enumerate(value)
      for s, w in enumerate([0.5, *wiggle])  # The first step is too early.
    ]
  )
  signal = signals.signal_to_noise(found, rows)
  assert signal.ratio == pytest.approx(value.std(ddof=1) / 0.01)
  assert signal.items is None


def test_more_items_do_not_help_where_runs_differ_by_more_than_sampling():
  """Two seeds of a size that learn all and nothing."""
  frame = pd.DataFrame(
    {
      'model': list('abcdefgh'),
      'scale': np.repeat([1e4, 1e5, 1e6, 1e7], 2),
      'seed': [0, 1] * 4,
      'task': 't',
      'metric': 'exact_match',
      'value': [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0],
      'n_items': 200,
    }
  )
  tidy = scores.tidy(frame)
  ((_, (one,)),) = curves.curves(tidy)
  signal = signals.signal_to_noise(one, tidy)
  assert signal.ratio < signals.BAR and signal.items is None


def test_a_task_below_the_bar_says_how_many_items_it_needs():
  rows = pd.DataFrame(
    {k: [] for k in ('model', 'seed', 'scale', 'step', 'value')}
  )
  value = np.array([0.48, 0.5, 0.52, 0.5])
  few = curve(value, n_items=100)
  signal = signals.signal_to_noise(few, rows)
  assert signal.ratio < signals.BAR
  many = signals.signal_to_noise(curve(value, n_items=signal.items), rows)
  assert many.ratio == pytest.approx(signals.BAR, rel=0.03)
