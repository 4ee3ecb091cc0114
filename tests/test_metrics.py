"""Each metric is its definition, and all are of the same outputs."""

import functools
import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from research.evals import metrics

WORDS = st.lists(st.integers(0, 3), max_size=6)


def output(said='12', answer='12', **fields):
  """An output as `outputs.py` stores it."""
  return {
    'said': said,
    'answer': answer,
    'others': [],
    'choices': [],
    'said_ids': [ord(c) for c in said],
    'answer_ids': [ord(c) for c in answer],
    'log_p': [-0.5, -0.25],
    'best': [True, False],
    'bytes': 3,
    **fields,
  }


def closed(log_p, right=0, free=None, n_bytes=None, **fields):
  """An output with choices a, b, c …, of which one is right."""
  choices = [chr(97 + i) for i in range(len(log_p))]
  return output(
    answer=choices[right],
    choices=choices,
    choice_log_p=list(log_p),
    choice_free=free or [0.0] * len(log_p),
    choice_bytes=n_bytes or [1] * len(log_p),
    **fields,
  )


def measured(outputs, **how):
  return {m.metric: m for m in metrics.measures(outputs, **how)}


def levenshtein(a, b):
  """The recursion of its definition."""

  @functools.cache
  def far(i, j):
    if i == 0 or j == 0:
      return i + j
    return min(
      far(i - 1, j) + 1,
      far(i, j - 1) + 1,
      far(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
    )

  return far(len(a), len(b))


@given(WORDS, WORDS)
def test_edit_distance_is_that_of_its_recursion(said, right):
  one = output(said_ids=said, answer_ids=right)
  assert metrics.edit_distance(one) == levenshtein(said, right)


@pytest.mark.parametrize(
  ('said', 'answer', 'others', 'expected'),
  [
    ('the white whale', 'the white whale', [], 1),
    ('white whale', 'the whale', [], 0.5),  # precision 1/2, recall 1/2
    (
      'whale whale',
      'whale',
      [],
      2 / 3,
    ),  # a word counts as often as it is there
    ('sea', 'whale', [], 0),
    ('', 'whale', [], 0),
    ('The Whale', 'whale', ['the whale'], 1),
  ],
)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(
  said, answer, others, expected
):
  one = output(said=said, answer=answer, others=others)
  assert metrics.f1(one) == pytest.approx(expected)


@pytest.mark.parametrize(
  ('said', 'right'),
  [(' 12', 1), ('12 ', 1), ('12.', 1), ('13', 0), ('012', 0), ('', 0)],
)
def test_exact_match_overlooks_only_space_and_a_full_stop(said, right):
  assert metrics.exact(output(said=said)) == right
  assert metrics.exact(output(said=said, answer='9', others=['12'])) == right


def test_probability_and_bits_are_those_of_all_tokens():
  found = measured([output(), output(log_p=[-2.0], bytes=2)])
  assert found['p_correct'].value == pytest.approx(
    (math.exp(-0.75) + math.exp(-2)) / 2
  )
  assert found['bits_per_byte'].value == pytest.approx(
    (0.75 + 2) / math.log(2) / 5
  )
  assert found['token_accuracy'].value == 0.5


def test_exact_match_is_a_power_of_token_accuracy_when_tokens_are_independent():
  draw, n, length, p = np.random.default_rng(0), 4000, 5, 0.8
  best = draw.random((n, length)) < p
  made = [
    output(said='1' if row.all() else '2', answer='1', best=row.tolist())
    for row in best
  ]
  found = measured(made)
  for name, expected in (('token_accuracy', p), ('exact_match', p**length)):
    measure = found[name]
    assert abs(measure.value - expected) < 4 * measure.stderr
  assert found['exact_match'].stderr == pytest.approx(
    math.sqrt(p**length * (1 - p**length) / n), rel=0.05
  )


def test_choices_are_judged_raw_by_byte_and_against_none():
  one = closed(
    [-2.0, -3.0, -4.0], right=1, free=[-1.0, -4.0, -1.0], n_bytes=[1, 2, 4]
  )
  found = measured([one])
  assert found['multiple_choice'].value == 0
  assert found['multiple_choice_per_byte'].value == 0  # -2, -1.5, -1
  assert found['multiple_choice_unconditional'].value == 1  # -1, 1, -3
  per_byte = closed([-2.0, -3.0, -4.0], right=2, n_bytes=[1, 2, 4])
  assert measured([per_byte])['multiple_choice_per_byte'].value == 1


def test_ties_among_choices_are_shared():
  assert measured([closed([-1.0, -1.0])])['multiple_choice'].value == 0.5


def test_brier_is_the_squared_distance_from_the_truth():
  one = closed(np.log([0.2, 0.3, 0.1]), right=1)  # 1/3, 1/2, 1/6
  expected = (1 / 3) ** 2 + (1 / 2) ** 2 + (1 / 6) ** 2
  assert measured([one])['brier'].value == pytest.approx(expected)


def test_chance_is_what_an_ignorant_model_gets():
  made = [closed([0.0] * k, right=i % k) for k in (2, 4) for i in range(40)]
  found = measured(made, guess=0.1)
  for name in ('multiple_choice', 'brier'):
    assert found[name].value == pytest.approx(found[name].chance)
  assert found['multiple_choice'].chance == pytest.approx(3 / 8)
  assert found['exact_match'].chance == 0.1
  assert found['bits_per_byte'].chance is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_calibration_error_is_the_mean_gap_of_its_bins(pairs):
  total = 0.0
  for low in range(10):
    mine = [(p, right) for p, right in pairs if low == min(int(p * 10), 9)]
    if mine:
      gap = np.mean([p for p, _ in mine]) - np.mean([r for _, r in mine])
      total += len(mine) / len(pairs) * abs(gap)
  sure, right = (np.array(column, float) for column in zip(*pairs, strict=True))
  assert metrics.calibration_error(sure, right) == pytest.approx(total)


def test_a_calibrated_model_has_no_calibration_error_and_a_boaster_has():
  half = [closed([0.0, 0.0, -50.0], right=i % 2) for i in range(100)]
  assert measured(half)['calibration_error'].value == pytest.approx(0)
  boast = [closed([0.0, -50.0], right=1)] * 10
  assert measured(boast)['calibration_error'].value == pytest.approx(1)


def test_pass_until_has_the_mean_of_the_pass_probability():
  draw, p, most, n = np.random.default_rng(1), 0.3, 8, 5000
  made = [
    output(samples=['12' if x < p else '' for x in draw.random(most)])
    for _ in range(n)
  ]
  measure = measured(made)['pass_until']
  # Stopped at the first pass, r/K would have a mean of .51.
  assert abs(measure.value - p) < 4 * measure.stderr < 0.02


def test_prose_is_told_by_chrf_and_bleu_of_sacrebleu():
  text = 'Y dijo Dios: Sea la luz: y fué la luz.'
  same = measured([output(said=text, answer=text)] * 2, prose=True)
  assert same['chrf'].value == pytest.approx(100)
  assert same['bleu'].value == pytest.approx(100)
  # No common n-gram of characters.
  other = measured([output(said='xxxx', answer=text)] * 2, prose=True)
  assert other['chrf'].value == 0
  assert 'version:' in same['chrf'].rule
  assert 'chrf' not in measured([output()])


def test_open_answers_have_no_metrics_of_choices_nor_undrawn_samples():
  names = set(measured([output(), output(said='x')]))
  assert names == {
    'exact_match',
    'token_accuracy',
    'token_edit_distance',
    'f1',
    'p_correct',
    'bits_per_byte',
  }
