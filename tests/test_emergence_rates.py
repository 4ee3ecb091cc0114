"""How often simulated truths are found, and smooth ones taken for a break.

Rates are printed: BUILD.md has them, and the command.
"""

from collections import Counter

import numpy as np
import pytest

from research.scaling.emergence import kinds, simulate


def smooth_rates(count, seed, **settings):
  """Share of each verdict over tables whose truth is smooth."""
  said = Counter()
  for i in range(count):
    rng = np.random.default_rng([seed, i])
    frame = simulate.smooth_table(simulate.drawn_design(rng), rng, **settings)
    said[simulate.said(frame, i).verdict] += 1
  return {name: n / count for name, n in said.most_common()}


def step_rates(count, seed, design):
  """Share of breaks found in tables with a step of .3, and of places held."""
  found = held = 0
  for i in range(count):
    rng = np.random.default_rng([seed, i])
    frame, place = simulate.step_table(design, rng)
    report = simulate.said(frame, i).to_dict()
    if report['verdict'] == kinds.BREAK:
      found += 1
      low, high = report['interval95']
      held += low <= place <= high
  return found / count, held / max(found, 1)


def test_smooth_truths_are_seldom_breaks_in_a_few_tables():
  assert smooth_rates(25, 0).get(kinds.BREAK, 0) <= 0.05


def test_steps_are_mostly_found_in_a_few_tables():
  power, held = step_rates(8, 0, simulate.Design(seeds=3))
  assert power >= 0.6 and held >= 0.8


@pytest.mark.slow
def test_of_400_smooth_tables_at_most_one_in_twenty_is_a_break():
  rates = smooth_rates(400, 1)
  print('smooth', rates)
  assert rates.get(kinds.BREAK, 0) <= 0.05


@pytest.mark.slow
def test_the_quickest_smooth_truths_are_seldom_breaks_either():
  rates = smooth_rates(100, 2, sharp=True)
  print('quickest', rates)
  assert rates.get(kinds.BREAK, 0) <= 0.05


@pytest.mark.slow
def test_a_step_of_three_tenths_is_found_four_times_in_five():
  power, held = step_rates(100, 5, simulate.Design())
  print('step', power, 'held', held)
  assert power >= 0.8 and held >= 0.95
