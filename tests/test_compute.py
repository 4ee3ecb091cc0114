"""Compute is counted by its conventions, and envelopes and brackets hold."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pandas as pd
import pytest
import synthetic

from research.models.config import ModelConfig
from research.scaling import compute, frontier, sweep

points = st.lists(
  st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12
)


@given(points)
def test_the_envelope_is_what_nothing_cheaper_equals(pairs):
  spent, loss = np.array(pairs, float).T
  on = set(compute.lower_envelope(spent, loss))
  for i in range(len(spent)):
    equalled = any(
      spent[j] <= spent[i] and loss[j] <= loss[i] and (j not in on or j != i)
      for j in range(len(spent))
      if (spent[j], loss[j]) != (spent[i], loss[i])
    )
    if i in on:
      assert not equalled
    else:
      twins = (spent == spent[i]) & (loss == loss[i])
      assert equalled or on & set(np.flatnonzero(twins))


@given(points)
def test_along_the_envelope_compute_rises_and_loss_falls(pairs):
  spent, loss = np.array(pairs, float).T
  on = compute.lower_envelope(spent, loss)
  assert (np.diff(spent[on]) > 0).all() and (np.diff(loss[on]) < 0).all()
  assert loss[on[-1]] == loss.min()


def test_runs_without_a_loss_are_never_on_the_envelope():
  on = compute.lower_envelope([1, 2, 3, np.nan], [np.nan, 3.0, np.inf, 1.0])
  assert on.tolist() == [1]


def test_points_that_do_not_pair_up_are_refused():
  with pytest.raises(ValueError, match='one length'):
    compute.lower_envelope([1, 2], [1.0])


@pytest.mark.parametrize(
  'losses, both, below, above',
  [
    ([3, 2, 3], True, True, True),
    ([2, 3, 4], False, False, True),
    ([4, 3, 2], False, True, False),
    ([3, 2, np.inf], True, True, True),
    ([3, 2, np.nan], False, True, False),
    ([2, 2, 2], False, False, False),
    ([3, 2, 2], False, True, False),
    ([3, 2, 2.5], True, True, True),
  ],
)
def test_the_best_is_bracketed_by_two_worse_ones(losses, both, below, above):
  found = compute.bracket([1e-3, 2e-3, 4e-3], losses)
  assert (found.both, found.below, found.above) == (both, below, above)
  assert compute.bracketed([1e-3, 2e-3, 4e-3], losses) == both


@given(st.permutations(range(5)))
def test_the_order_of_a_sweep_does_not_matter(order):
  values, losses = np.array([1, 2, 3, 4, 5.0]), np.array([5, 3, 2, 4, 6.0])
  assert compute.bracket(values[order], losses[order]) == compute.bracket(
    values, losses
  )


def test_seeds_of_one_value_are_averaged_before_they_are_compared():
  found = compute.bracket([1, 1, 2, 2, 3], [2.0, 4.0, 2.5, 2.7, 2.8])
  assert (found.value, found.loss, found.both) == (2, 2.6, True)


def test_a_sweep_in_which_all_diverged_has_no_best():
  with pytest.raises(ValueError, match='finite'):
    compute.bracket([1, 2], [np.inf, np.nan])


def test_six_nd_gives_the_published_compute_of_gpt_3():
  # Brown et al. 2020, table D.1: 174.6B parameters, 300B tokens, 3.14e23.
  table = pd.DataFrame(
    {
      'params': [174.6e9],
      'params_non_embedding': [174.0e9],
      'tokens': [300e9],
      'flops': [1.0],
    }
  )
  assert compute.flops(table, '6nd')[0] == pytest.approx(3.14e23, rel=2e-3)
  assert compute.flops(table, '6nd_non_embedding')[0] == 6 * 174e9 * 300e9
  assert compute.flops(table)[0] == 1.0


def test_conventions_of_a_config_are_those_of_its_rows():
  config = ModelConfig(d_model=64, n_layers=2, seq_len=128)
  row = pd.DataFrame(
    {
      'params': [config.n_params],
      'params_non_embedding': [config.n_params_non_embedding],
      'tokens': [128],
      'flops': [config.train_flops(128)],
    }
  )
  for name in compute.CONVENTIONS:
    counted = compute.sequence_flops(config, 128, convention=name)
    assert counted == compute.flops(row, name)[0]


def test_exact_flops_exceed_six_nd_by_attention_and_the_head():
  # A tied head of a decoder is used twice and looked up once, and scores have
  # no parameters, so 6 N D without embeddings is a lower bound.
  config = ModelConfig(d_model=64, n_layers=2, seq_len=128)
  exact = compute.sequence_flops(config, 128)
  without = compute.sequence_flops(config, 128, convention='6nd_non_embedding')
  head = 6 * config.vocab_size * config.d_model * 128
  assert exact > without
  assert exact - without - head == pytest.approx(
    3 * config.n_layers * 2 * 2 * 128**2 * 64, rel=0.05
  )


def test_only_the_last_step_of_a_run_counts():
  frame = synthetic.study(budgets=(1e12,), count=1, noise=0)
  early = frame.assign(step=1, value=99.0)
  rows = frontier.final(pd.concat([frame, early]), 'yardstick', 'bits_per_byte')
  assert rows['value'].max() < 9
  assert rows['run'].is_unique


def test_seeds_are_averaged_and_their_spread_joins_the_error():
  frame = synthetic.study(budgets=(1e12,), count=1, noise=0, seeds=(0, 1))
  chosen = (frame['task'] == 'yardstick') & (frame['seed'] == 1)
  frame.loc[chosen, 'value'] += 0.4
  cells = frontier.over_seeds(
    frontier.final(frame, 'yardstick', 'bits_per_byte')
  ).set_index('architecture')
  single = synthetic.study(budgets=(1e12,), count=1, noise=0)
  alone = frontier.final(single, 'yardstick', 'bits_per_byte')
  alone = alone.set_index('architecture')
  for name in synthetic.SURFACES:
    assert cells['seeds'][name] == 2
    assert cells['value'][name] == pytest.approx(alone['value'][name] + 0.2)
    # Spread: 0.4/√2 between two seeds, over √2 for their mean.
    assert cells['stderr'][name] == pytest.approx(np.hypot(0.03, 0.2))


def test_a_cell_of_one_seed_has_the_deviation_of_those_that_are_repeated():
  frame = synthetic.study(budgets=(1e12, 3e12), count=2, noise=0, seeds=(0, 1))
  frame = frame[(frame['seed'] == 0) | (frame['budget'] == 1e12)]
  moved = (frame['seed'] == 1) & (frame['architecture'] == 'decoder')
  sizes = frame['params'].where(moved).rank(method='dense').fillna(0)
  frame = frame.assign(value=frame['value'] + 0.3 * (sizes == 1))
  frame['value'] += 0.1 * (sizes == 2)
  cells = frontier.over_seeds(
    frontier.final(frame, 'yardstick', 'bits_per_byte')
  )
  mine = cells[cells['architecture'] == 'decoder'].sort_values(by='seeds')
  # Variances .3²/2 and .1²/2, of one degree of freedom each.
  deviation = np.sqrt((0.3**2 / 2 + 0.1**2 / 2) / 2)
  assert mine['seeds'].tolist() == [1, 1, 2, 2]
  expected = deviation / np.sqrt(mine['seeds'])
  np.testing.assert_allclose(mine['spread'], expected)
  np.testing.assert_allclose(mine['stderr'], np.hypot(expected, 0.03))
  alone = cells[cells['architecture'] == 'lstm']
  assert alone['spread'].isna().all()


def test_runs_that_share_a_seed_are_not_averaged():
  frame = synthetic.study(budgets=(1e12,), count=1)
  twin = frame.assign(run=frame['run'] + '-twin')
  both = frontier.final(pd.concat([frame, twin]), 'yardstick', 'bits_per_byte')
  assert len(frontier.over_seeds(both)) == len(both)


def test_a_sweep_follows_each_field_through_the_best_cell():
  rows = []
  rng = np.random.default_rng(0)
  for rate in (1, 2, 4):
    for batch in (8, 16, 32):
      value = 3 + (np.log2(rate) - 1) ** 2 + (np.log2(batch) - 3) ** 2
      rows += synthetic.run_rows(
        'decoder', 1000, 1e6, 6e9, value, rng, 0, learning_rate=rate,
        batch_size=batch,
      )  # fmt: skip
  frame = pd.DataFrame(rows)
  assert sweep.swept(frame) == ['learning_rate', 'batch_size']
  rate, batch = sweep.slices(frame, ['learning_rate', 'batch_size'])
  assert (rate.best, rate.held) == (2, {'batch_size': 8})
  assert (batch.best, batch.held) == (8, {'learning_rate': 2})
  assert rate.values == [1, 2, 4] and rate.bracket.both
  assert not batch.bracket.below and batch.bracket.above


def test_a_swept_word_has_no_bracket():
  frame = synthetic.sweep(rates=(1e-3, 2e-3))
  frame['model.norm'] = np.where(frame['learning_rate'] < 2e-3, 'A', 'B')
  for found in sweep.slices(frame.assign(learning_rate=1e-3), ['model.norm']):
    assert found.bracket is None
    assert found.losses[found.values.index(found.best)] == min(found.losses)


def test_of_one_budget_only_the_best_is_on_the_envelope():
  # Sizes spend 0.99 to 1.01 of their budget: steps are whole.
  frame = synthetic.study(noise=0)
  near = 1 + 0.01 * np.sin(frame['params'].to_numpy(float))
  cells = frontier.final(
    frame.assign(flops=frame['flops'] * near), 'yardstick', 'bits_per_byte'
  )
  on = frontier.envelope(frontier.ladder(cells))
  for name, group in on.groupby('architecture'):
    assert group['budget'].tolist() == sorted(set(group['budget']))
    best = cells[cells['architecture'] == name].groupby('budget')['value'].min()
    assert group['value'].tolist() == best.tolist()
