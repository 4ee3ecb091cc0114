"""A score table is read as it is meant, or refused in one line."""

import numpy as np
import pandas as pd
import pytest

from research.config import BadInput
from research.scaling.emergence import curves, metrics, scores


def table(**columns):
  base = {
    'model': ['a', 'b', 'c', 'd'],
    'scale': [1e4, 1e5, 1e6, 1e7],
    'task': 'copy',
    'metric': 'exact_match',
    'value': [0.0, 0.1, 0.5, 0.9],
  }
  return pd.DataFrame({**base, **columns})


def curve(frame, **settings):
  ((_, (only,)),) = curves.curves(scores.tidy(frame, **settings))
  return only


def test_a_share_tells_its_items_by_its_standard_error():
  value = np.array([0.0, 0.1, 0.5, 0.9])
  stderr = np.sqrt(value * (1 - value) / 5152)
  found = curve(table(value=value, stderr=stderr))
  assert found.n_items == 5153
  # Agresti and Coull: two right and two wrong more.
  middle = (5153 * value + 2) / 5157
  assert found.item == pytest.approx(np.sqrt(middle * (1 - middle) / 5157))


def test_part_marks_keep_the_error_they_came_with():
  found = curve(table(metric='token_accuracy', stderr=0.004, n_items=500))
  assert found.item == pytest.approx(0.004) and found.errors == 'stated'
  bare = curve(table(metric='token_accuracy', n_items=500))
  assert bare.item[2] == pytest.approx(0.5 / np.sqrt(504))


def test_numbers_are_chosen_as_numbers():
  """Shots that are missing elsewhere in a table are floats in it."""
  frame = table(shots=[0.0, 0.0, 4.0, np.nan])
  assert list(scores.tidy(frame, where={'shots': '0'})['model']) == ['a', 'b']
  assert list(scores.tidy(frame, where={'model': 'c'})['model']) == ['c']


def test_perplexity_is_judged_by_its_logarithm():
  value = np.array([100.0, 50, 20, 10])
  found = curve(table(metric='ppl', value=value, stderr=0.1 * value))
  assert found.value == pytest.approx(np.log(value))
  assert found.item == pytest.approx(0.1)


def test_seeds_share_items_and_average_their_own_deviation():
  frame = pd.concat(
    [
      table(seed=0, value=[0.1, 0.2, 0.3, 0.4], n_items=96),
      table(seed=1, value=[0.2, 0.3, 0.4, 0.5], n_items=96),
    ]
  )
  found = curve(frame)
  assert found.value == pytest.approx([0.15, 0.25, 0.35, 0.45])
  assert list(found.runs) == [2, 2, 2, 2]
  assert found.deviation == pytest.approx(0.1 / np.sqrt(2))
  assert found.error == pytest.approx(np.hypot(found.item, 0.05))


def test_the_last_step_counts_unless_steps_are_the_scale():
  early, late = table(step=10, value=0.0), table(step=20)
  frame = pd.concat([late, early])
  assert curve(frame).value == pytest.approx([0, 0.1, 0.5, 0.9])
  one = pd.concat([table(step=s, value=s / 100).head(1) for s in (0, 10, 20)])
  found = curve(one, scale='step')
  assert list(found.scale) == [10, 20]  # Step 0 has no logarithm.


def test_a_task_posed_in_several_ways_is_several_tasks():
  frame = pd.concat([table(shots=0), table(shots=4, value=0.5)])
  names = [label for label, _ in curves.curves(scores.tidy(frame))]
  assert names == ['copy · 0', 'copy · 4']
  mixed = pd.concat([table(architecture='encoder'), table(task='sort')])
  names = [label for label, _ in curves.curves(scores.tidy(mixed))]
  assert names == ['copy', 'sort']


def test_training_curves_of_two_models_are_not_seeds_of_one():
  frame = pd.concat([table(model='a', step=s, value=s / 9) for s in (1, 2, 3)])
  frame = pd.concat([frame.assign(model=m, scale=1e4) for m in 'ab'])
  frame = frame.drop_duplicates(['model', 'step'])
  names = [n for n, _ in curves.curves(scores.tidy(frame, 'step'))]
  assert names == ['copy · a', 'copy · b']


def test_a_results_table_of_a_study_is_a_score_table():
  frame = table().rename(columns={'model': 'run', 'scale': 'params'})
  frame = frame.assign(n=200, architecture='decoder', domain='all', flops=1e9)
  other = frame.assign(task='validation', metric='loss', value=3.0)
  found = scores.of_study(pd.concat([other, frame]))
  assert set(found['task']) == {'copy'}
  assert list(found['scale']) == [1e4, 1e5, 1e6, 1e7]
  assert set(found['n_items']) == {200}
  with pytest.raises(BadInput, match='no ability tasks'):
    scores.of_study(other)


@pytest.mark.parametrize(
  ('columns', 'settings', 'words'),
  [
    ({'value': ['0', 'x', '1', '1']}, {}, 'value=x must be a number'),
    ({'n_items': [0, 1, 2, 3]}, {}, 'n_items=0 must be'),
    ({'stderr': -0.1}, {}, 'stderr=-0.1 must be'),
    ({}, {'scale': 'flops'}, "no column 'flops'.*--scale"),
    ({}, {'where': {'model': 'z'}}, 'where=model=z leaves no row'),
    ({}, {'where': {'shots': '0'}}, 'no such column'),
    ({'model': 'a', 'scale': 1e4}, {}, 'twice for model a'),
    ({'value': np.nan}, {}, 'no row with a value'),
  ],
)
def test_what_is_wrong_is_said_in_one_line(columns, settings, words):
  with pytest.raises(BadInput, match=words) as error:
    scores.tidy(table(**columns), **settings)
  assert '\n' not in str(error.value)


def test_a_file_that_is_no_table_is_refused(tmp_path):
  path = tmp_path / 'scores.csv'
  path.write_text('')
  with pytest.raises(BadInput, match='is empty'):
    scores.read(path)
  path.write_text('a,b\n1,2,3\n1\n1,2,3,4,5\n')
  with pytest.raises(BadInput, match='no CSV table'):
    scores.read(path)
  table().drop(columns='metric').to_csv(path)
  with pytest.raises(BadInput, match="no column 'metric'"):
    scores.read(path)


@pytest.mark.parametrize(
  ('name', 'harsh'),
  [
    ('exact_match', True),
    ('acc', True),
    ('acc_norm', True),
    ('multiple_choice_per_byte', True),
    ('f1', True),  # Of an answer of one word, it is exact match.
    ('chrf', True),
    ('no such metric', True),
    ('token_accuracy', False),
    ('token_edit_distance', False),
    ('p_correct', False),
    ('brier', False),
    ('bits_per_byte', False),
    ('ppl', False),
    ('pass_until', False),
  ],
)
def test_metrics_are_harsh_unless_they_give_part_marks(name, harsh):
  assert metrics.of(name, np.array([0.1, 0.9])).harsh is harsh
  assert not metrics.of(name, np.array([0.1, 0.9]), [name]).harsh


def study(losses, architectures=('decoder',) * 4):
  """A results table of runs with an ability and the losses given."""
  runs = pd.DataFrame(
    {
      'run': ['a', 'b', 'c', 'd'],
      'params': [1e4, 1e5, 1e6, 1e7],
      'step': 9,
      'domain': 'all',
      'architecture': architectures,
    }
  )
  return pd.concat(
    [
      runs.assign(task='validation', metric='loss', value=losses),
      runs.assign(task='yardstick', metric='bits_per_byte', value=losses),
      runs.assign(task='copy', metric='exact_match', value=[0, 0.1, 0.5, 0.9]),
    ],
    ignore_index=True,
  )


def test_less_loss_is_further_on_and_models_of_one_loss_are_one_place():
  rows = scores.of_study(study([3.0, 2.5, 2.52, 1.5]), 'loss')
  ((_, (found,)),) = curves.curves(rows)
  assert list(found.scale) == pytest.approx([3.0, 2.51, 1.5])
  assert list(found.value) == pytest.approx([0, 0.3, 0.9])
  assert list(found.runs) == [1, 2, 1]
  assert np.all(np.diff(found.x) > 0) and found.beyond == 'below'


def test_many_losses_close_to_each_other_are_not_one_place():
  frame = table(loss=[2.0, 1.97, 1.94, 1.91])
  found = curve(frame, scale='loss')
  assert list(found.runs) == [2, 2]


def test_bits_per_byte_of_the_yardstick_hold_across_architectures():
  frame = study([3.0, 2.5, 2.0, 1.5], ['decoder', 'encoder'] * 2)
  apart = {n for n, _ in curves.curves(scores.of_study(frame, 'loss'))}
  assert apart == {'copy · decoder', 'copy · encoder'}
  ((name, (found,)),) = curves.curves(scores.of_study(frame, 'bits_per_byte'))
  assert name == 'copy' and list(found.scale) == [3.0, 2.5, 2.0, 1.5]


def test_checkpoints_of_several_models_lie_on_one_curve_over_loss():
  frame = pd.concat(
    [table(step=s, loss=3 - s / 10, value=s / 20) for s in (2, 6, 10)]
  )
  (name,) = {n for n, _ in curves.curves(scores.tidy(frame, 'loss'))}
  assert name == 'copy'


def test_a_study_without_validation_has_no_loss_to_judge_by():
  frame = study([3.0, 2.5, 2.0, 1.5])
  with pytest.raises(BadInput, match='positive loss'):
    scores.of_study(frame[frame['task'] == 'copy'], 'loss')
