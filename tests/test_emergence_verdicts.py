"""Controls whose truth is known get the verdict that is true of them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from research.scaling.emergence import kinds, scores, simulate, verdict

SIZES = np.geomspace(1e4, 1e7, 7)
ITEMS = 500


def rows(metric, values, rng=None, task='task', **columns):
  """A row a size; shares are counted over items where `rng` is given."""
  values = np.asarray(values, float)
  if rng is not None:
    values = rng.binomial(ITEMS, np.clip(values, 0, 1)) / ITEMS
  table = {
    'model': [f'm{i}' for i in range(len(values))],
    'scale': np.geomspace(1e4, 1e7, len(values)),
    'task': task,
    'metric': metric,
    'value': values,
    'n_items': ITEMS,
    **columns,
  }
  return pd.DataFrame(table)


def judged(*tables, **settings):
  (only,) = verdict.verdicts(scores.tidy(pd.concat(tables)), **settings)
  return only


@pytest.mark.parametrize('length', [2, 3, 4, 5, 6, 7, 8])
def test_a_smooth_per_token_probability_makes_an_artefact(length):
  rng = np.random.default_rng(length)
  p = np.linspace(0.3, 0.95, 7)
  found = judged(
    rows('exact_match', p**length, rng, answer_length=length),
    rows('token_accuracy', p, rng, answer_length=length),
  )
  assert found.verdict == kinds.ARTEFACT, found.evidence
  assert found.to_dict()['scale'] is None
  assert f'token_accuracy^{length} foretells exact_match' in found.evidence


def test_answers_of_one_token_have_no_artefact():
  rng = np.random.default_rng(0)
  p = np.linspace(0.3, 0.95, 7)
  found = judged(
    rows('exact_match', p, rng, answer_length=1),
    rows('token_accuracy', p, rng, answer_length=1),
  )
  assert found.verdict == kinds.SMOOTH


def test_lengths_of_one_to_eight_in_one_task_make_an_artefact():
  rng = np.random.default_rng(0)
  p = np.linspace(0.3, 0.95, 7)
  whole = np.mean([p**length for length in range(1, 9)], axis=0)
  found = judged(rows('exact_match', whole, rng), rows('p_token', p, rng))
  assert found.verdict == kinds.ARTEFACT


@pytest.mark.parametrize('gap', [1, 2, 3, 4])
def test_a_step_in_both_metrics_is_a_break_at_its_place(gap):
  rng = np.random.default_rng(gap)
  p = np.linspace(0.3, 0.4, 7) + 0.4 * (np.arange(7) > gap)
  found = judged(
    rows('exact_match', p - 0.2, rng), rows('token_accuracy', p, rng)
  )
  assert found.verdict == kinds.BREAK, found.evidence
  report = found.to_dict()
  low, high = report['interval95']
  assert low <= SIZES[gap] < report['scale'] < SIZES[gap + 1] <= high
  assert report['metrics']['exact_match']['p_value'] <= 0.025


def test_a_step_of_bits_is_seen_whatever_their_unit():
  rng = np.random.default_rng(0)
  jump = np.arange(7) > 3
  bits = 3 - 0.1 * np.arange(7) - 1.5 * jump
  for unit in (1, 1000):
    found = judged(
      rows('exact_match', 0.05 + 0.6 * jump, rng),
      rows('bits_per_byte', unit * bits, stderr=0.05 * unit),
    )
    assert found.verdict == kinds.BREAK


def test_one_harsh_metric_says_break_in_this_metric_and_no_more():
  rng = np.random.default_rng(0)
  p = 0.1 + 0.5 * (np.arange(7) > 2)
  found = judged(rows('exact_match', p, rng))
  assert found.verdict == kinds.ONE_METRIC
  low, high = found.to_dict()['interval95']
  assert low <= SIZES[2] and high >= SIZES[3]


def test_a_step_in_exact_match_alone_is_the_metrics():
  rng = np.random.default_rng(0)
  p = np.linspace(0.2, 0.9, 7)
  found = judged(
    rows('exact_match', 0.1 + 0.5 * (np.arange(7) > 2), rng),
    rows('token_accuracy', p, rng),
  )
  assert found.verdict == kinds.ARTEFACT


@pytest.mark.parametrize('seed', range(4))
def test_scores_that_jump_without_trend_are_noise(seed):
  rng = np.random.default_rng(seed)
  jumps = np.array([0.62, 0.55, 0.66, 0.56, 0.64, 0.54, 0.61])
  found = judged(rows('accuracy', rng.permutation(jumps)))
  assert found.verdict == kinds.NOISE
  assert found.to_dict()['interval95'] is None
  excluded = judged(rows('accuracy', rng.permutation(jumps), chance=0.25))
  assert excluded.verdict == kinds.NOISE


@pytest.mark.parametrize('chance', [0.0, 0.25, 0.5])
def test_a_task_at_chance_everywhere_is_not_measurable(chance):
  rng = np.random.default_rng(0)
  found = judged(
    rows('accuracy', np.full(7, chance), rng, chance=chance),
    rows('p_correct', np.full(7, chance), rng, chance=chance),
  )
  assert found.verdict == kinds.UNMEASURABLE
  assert 'chance' in found.evidence


def test_bits_of_form_alone_do_not_make_a_task_measurable():
  rng = np.random.default_rng(0)
  found = judged(
    rows('accuracy', np.full(7, 0.5), rng, chance=0.5),
    rows('bits_per_byte', np.linspace(5, 1, 7), stderr=0.05),
  )
  assert found.verdict == kinds.UNMEASURABLE


@pytest.mark.parametrize('seed', range(4))
def test_a_smooth_concave_curve_is_smooth(seed):
  rng = np.random.default_rng(seed)
  p = 0.8 - 0.6 * np.exp(-np.arange(7) / 2)
  found = judged(rows('accuracy', p, rng), rows('token_accuracy', p, rng))
  assert found.verdict == kinds.SMOOTH
  assert judged(rows('accuracy', p, rng)).verdict == kinds.SMOOTH


def test_too_few_items_are_told_with_how_many_would_do():
  p = 0.3 * 2.5 ** np.arange(-6.0, 1)
  rng = np.random.default_rng(3)
  found = judged(rows('exact_match', p, rng))
  assert found.verdict == kinds.FLOOR
  seen = found.findings[0].hidden
  assert found.items_needed > ITEMS and seen >= 2
  # 2.9 standard errors of a share as small as the truth at that size.
  needed = 2.9**2 * (1 - p[seen - 1]) / p[seen - 1]
  assert needed / 4 < found.items_needed < 4 * needed


def test_exact_match_that_sees_nothing_of_a_smooth_rise_is_the_floor():
  rng = np.random.default_rng(0)
  p = np.linspace(0.1, 0.3, 7)
  found = judged(
    rows('exact_match', p**8, rng, answer_length=8),
    rows('token_accuracy', p, rng, answer_length=8),
  )
  assert found.verdict == kinds.FLOOR
  # 2.9 standard errors of p^8, with the p that was measured.
  (p,) = (f.curve.value[-1] for f in found.findings if 'token' in f.name)
  assert found.items_needed == pytest.approx(2.9**2 / p**8, rel=0.02)


def test_seeds_that_differ_by_more_than_items_do_not_make_a_break():
  rng = np.random.default_rng(0)
  tables = []
  for seed in range(3):
    luck = rng.choice([0.1, 0.8], 7)
    tables += [
      rows(metric, luck, rng, seed=seed)
      for metric in ('exact_match', 'token_accuracy')
    ]
  assert judged(*tables).verdict == kinds.NOISE


def test_the_order_of_rows_changes_nothing():
  frame, _ = simulate.step_table(simulate.Design(), np.random.default_rng(0))
  mixed = frame.sample(frac=1, random_state=0)
  mixed = mixed.sort_values('metric', key=lambda m: -(m == 'token_accuracy'))
  one, other = judged(frame).to_dict(), judged(mixed).to_dict()
  assert one['metrics'] == other['metrics'] and one['scale'] == other['scale']


def test_the_unit_of_scale_changes_nothing_but_the_place():
  frame, _ = simulate.step_table(simulate.Design(), np.random.default_rng(1))
  one = judged(frame).to_dict()
  other = judged(frame.assign(scale=6e9 * frame['scale'])).to_dict()
  for metric, told in one['metrics'].items():
    assert other['metrics'][metric] == pytest.approx(told)
  assert other['scale'] == pytest.approx(6e9 * one['scale'])


def test_two_sizes_are_too_few():
  rng = np.random.default_rng(0)
  found = judged(rows('accuracy', [0.1, 0.9], rng))
  assert found.verdict == kinds.UNMEASURABLE and 'sizes' in found.evidence


def test_verdicts_are_the_same_again():
  rng = np.random.default_rng(0)
  frame = simulate.smooth_table(simulate.Design(length=4), rng)
  assert judged(frame).to_dict() == judged(frame).to_dict()


def test_a_design_is_what_it_says():
  design = simulate.Design(length=3, seeds=2, items=400)
  frame = simulate.smooth_table(design, np.random.default_rng(0))
  assert len(frame) == 2 * 2 * design.sizes
  assert set(frame['n_items']) == {400}
  assert dataclasses.replace(design, seeds=1) != design


def test_a_certificate_names_every_reason_for_doubt():
  rng = np.random.default_rng(0)
  p = 0.1 + 0.6 * (np.arange(5) > 2)
  found = judged(rows('exact_match', p, rng).assign(n_items=50))
  assert found.to_dict()['certificate']['certified'] is False
  assert found.certificate.faults == (
    '5 sizes, fewer than 6',
    'one run a size: its deviation is told from the residuals',
    'chance is not known',
    '50 items, fewer than 200',
    'one metric only',
  )


def test_sizes_seeds_items_chance_and_two_metrics_make_a_certificate():
  rng = np.random.default_rng(0)
  p = np.linspace(0.2, 0.8, 7)
  found = judged(
    *(
      rows(metric, p, rng, seed=seed, chance=0.0)
      for metric in ('exact_match', 'token_accuracy')
      for seed in range(3)
    )
  )
  assert found.certificate.faults == () and found.certificate.certified


def test_an_ability_may_jump_with_size_and_be_smooth_in_loss():
  """Loss falls at once where size passes a bound, and the score with it."""
  rng = np.random.default_rng(0)
  tables = []
  for seed in range(3):
    loss = 3 - 0.05 * np.arange(7) - 0.8 * (np.arange(7) > 3)
    p = (3.5 - loss) / 2
    tables += [
      rows(metric, p, rng, seed=seed, loss=loss)
      for metric in ('exact_match', 'token_accuracy')
    ]
  frame = pd.concat(tables)
  (by_size,) = verdict.verdicts(scores.tidy(frame))
  (by_loss,) = verdict.verdicts(scores.tidy(frame, 'loss'))
  assert by_loss.verdict == kinds.SMOOTH, by_loss.evidence
  assert by_size.verdict == kinds.BREAK


def test_a_break_in_loss_lies_between_losses_in_ascending_order():
  rng = np.random.default_rng(0)
  p = np.linspace(0.1, 0.2, 7) + 0.5 * (np.arange(7) > 3)
  loss = 4 - 0.4 * np.arange(7)
  frame = pd.concat(
    rows(metric, p, rng, loss=loss)
    for metric in ('exact_match', 'token_accuracy')
  )
  (found,) = verdict.verdicts(scores.tidy(frame, 'loss'))
  assert found.verdict == kinds.BREAK, found.evidence
  low, high = found.to_dict()['interval95']
  assert low <= loss[4] < found.to_dict()['scale'] < loss[3] <= high


def test_drawn_answers_are_held_to_the_task_law():
  z = np.arange(7) - 3.0
  pu = np.exp(-np.exp(0.3 - 0.3 * z))
  found = judged(
    rows('exact_match', pu),
    rows('pass_until', pu, stderr=0.01 * pu),
  ).to_dict()
  assert found['task_law']['verdict'] == 'task law'
  # Seven sizes over three decades.
  gap = np.log(1e3) / 6
  assert found['task_law']['slope'] == pytest.approx(-0.3 / gap, rel=0.01)
  assert judged(rows('exact_match', pu)).to_dict()['task_law'] is None


def test_four_sizes_that_scatter_are_too_few_for_any_trend():
  values = [0.1, 0.6, 0.55, 0.9]
  found = judged(rows('accuracy', values, n_items=5000))
  assert found.verdict == kinds.UNMEASURABLE
  assert '4 sizes that scatter' in found.evidence
