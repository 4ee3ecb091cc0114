"""Pairs of architectures compare as the curves that they were made from."""

import numpy as np
import pandas as pd
import pytest
import synthetic

from research.scaling import pairs
from research.scaling.pairs import Best


def line(factor, budgets=(1e11, 2e11, 4e11, 8e11), error=0.0):
  """Bests whose bits per byte are 3 (C / factor / 1e11)^−.1."""
  return [
    Best(c, 1e4, 3 * (c / factor / 1e11) ** -0.1, 0.0, error, None)
    for c in budgets
  ]


@pytest.mark.parametrize('factor', [1.0, 2.5, 0.5])
def test_a_power_law_that_is_shifted_needs_that_many_times_the_compute(factor):
  bests = {'decoder': line(1), 'encoder': line(factor)}
  found = pairs.times(bests, 'decoder', 'encoder', resamples=10)
  assert found.bound == ''
  assert found.times == pytest.approx(factor)
  assert (found.low, found.high) == pytest.approx((factor, factor))
  assert found.loss == pytest.approx(max(line(1)[-1].value,
                                         line(factor)[-1].value))  # fmt: skip


def test_ranges_that_do_not_overlap_give_a_bound():
  bests = {'decoder': line(1), 'encoder': line(100)}
  found = pairs.times(bests, 'decoder', 'encoder')
  assert (found.bound, found.times) == ('more', 8)
  assert np.isnan(found.low)
  found = pairs.times(bests, 'encoder', 'decoder')
  assert (found.bound, found.times) == ('less', 1 / 8)


def test_standard_errors_give_the_interval_of_the_curves_slope():
  bests = {'decoder': line(1, error=0.02), 'encoder': line(2, error=0.02)}
  found = pairs.times(bests, 'decoder', 'encoder')
  # The level is the encoder's last value; a shift of both ends of ln v by .02
  # over v moves ln C by tenfold that.
  v = bests['encoder'][-1].value
  expected = 10 * np.hypot(0.02, 0.02) / v
  spread = (np.log(found.high) - np.log(found.low)) / (2 * 1.96)
  assert 0.4 * expected < spread < 1.5 * expected
  assert found.low < 2 < found.high


def test_what_makes_a_span_hard_for_both_is_not_in_the_difference():
  rng = np.random.default_rng(0)
  n_bytes = rng.integers(20, 40, 400).astype(float)
  hard = n_bytes * rng.gamma(4, 0.6, 400)
  b = hard + n_bytes * 0.1 + rng.normal(0, 1, 400)
  one, other = (
    Best(1e11, 1e4, x.sum() / n_bytes.sum(), 0.0, 0.0, x) for x in (b, hard)
  )
  gap, error = pairs.difference(one, other, n_bytes)
  assert abs(gap - 0.1) < 3 * error
  # 400 independent errors of one bit over all bytes.
  assert error == pytest.approx(20 / n_bytes.sum(), rel=0.15)
  alone = np.std(hard / n_bytes) / 20
  assert error < 0.1 * alone
  assert np.isnan(pairs.difference(one, other._replace(bits=None), n_bytes)[1])


def test_spans_of_seeds_are_averaged_for_the_best_cell():
  frame = synthetic.study(noise=0, seeds=(0, 1))
  rows = frame[(frame['task'] == 'yardstick') & (frame['domain'] == 'all')]
  spans = pd.DataFrame(
    [
      {'run': row['run'], 'span': i, 'domain': 'a', 'bits': row['value'] * n
       + (i if row['seed'] else -i), 'bytes': n}
      for row in rows.to_dict('records') for i, n in enumerate((10, 20))
    ]
  )  # fmt: skip
  bests = pairs.best(frame, spans)
  n_bytes = pairs.span_bytes(spans)
  assert set(bests) == set(synthetic.SURFACES)
  for cells in bests.values():
    budgets = [cell.budget for cell in cells]
    assert budgets == sorted(set(budgets))
    for cell in cells:
      np.testing.assert_allclose(cell.bits, cell.value * n_bytes)
  assert all(c.bits is None for c in pairs.best(frame)['decoder'])


def test_the_known_surfaces_stand_in_their_order():
  bests = pairs.best(synthetic.study(noise=0))
  for other in ('encoder', 'encoder_decoder'):
    found = pairs.times(bests, 'decoder', other, resamples=50)
    assert found.times > 1 or found.bound == 'more'
