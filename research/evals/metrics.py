"""Metrics: every view of the same stored outputs (`outputs.py`).

Schaeffer et al. (2023) show that a break may be the metric's: exact match of an
answer of L tokens, each right with probability p, is p^L. So each metric here
is a function of outputs alone, and none needs the model again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from research.evals.likelihood import ratio
from research.evals.outputs import Output

_BINS = 10  # of the calibration error
_DRAWS = 200  # bootstrap samples of what is no mean over items


class Measure(NamedTuple):
  """One metric over items.

  Attributes:
    metric: Its name.
    value: Of all items.
    stderr: Over items; None for a single one.
    n: Items.
    chance: What guessing gets, where that is known.
    rule: What was counted.
    items: What each item adds, with `value` as its mean, [n]; None for what is
      no mean over items.
  """

  metric: str
  value: float
  stderr: float | None
  n: int
  chance: float | None
  rule: str
  items: np.ndarray | None = None

  def row(self) -> dict[str, Any]:
    """As in a table of results, which has no single items."""
    return {k: v for k, v in self._asdict().items() if k != 'items'}


def measures(
  found: Sequence[Output], guess: float | None = None, prose: bool = False
) -> list[Measure]:
  """Every metric that the outputs allow.

  Args:
    found: Outputs of one task asked in one way.
    guess: Share of answers that guessing gets right.
    prose: Whether to tell chrF and BLEU.
  """
  return [*_open(found, guess), *_closed(found), *_text(found, prose)]


def _open(found: Sequence[Output], guess) -> Iterator[Measure]:
  """Of the answer that was said, and of the probability of the right one."""
  for metric, one, chance, rule in (
    ('exact_match', exact, guess, 'greedy answer equals a right one'),
    (
      'token_accuracy',
      token_accuracy,
      None,
      'likeliest token is the right one'
      ' at each place of the answer and its end, the right ones before it read',
    ),
    (
      'token_edit_distance',
      edit_distance,
      None,
      'tokens inserted, deleted or'
      ' replaced to make the greedy answer the right one (lower is better)',
    ),
    ('f1', f1, None, 'of the words of greedy and right answer'),
    (
      'p_correct',
      p_correct,
      guess,
      'probability of the right answer with its end',
    ),
  ):
    yield _mean(metric, [one(output) for output in found], chance, rule)
  bits = np.array([-np.sum(output['log_p']) / np.log(2) for output in found])
  n_bytes = np.array([output['bytes'] for output in found])
  value, stderr = ratio(bits, n_bytes)
  yield Measure(
    'bits_per_byte',
    value,
    stderr,
    len(found),
    None,
    'of the right answer with its end (lower is better)',
    # A ratio of sums is, to first order, the mean of these.
    value + (bits - value * n_bytes) / n_bytes.mean(),
  )
  if 'samples' in found[0]:
    drawn = len(found[0]['samples'])
    yield _mean(
      'pass_until',
      [pass_until(output) for output in found],
      guess,
      f'passes over all of {drawn} answers drawn',
    )


def _closed(found: Sequence[Output]) -> Iterator[Measure]:
  """Of the choices, where every item has some."""
  if not all(output['choices'] for output in found):
    return
  n = np.array([len(output['choices']) for output in found])
  chance = float(np.mean(1 / n))
  for metric, by, rule in (
    ('multiple_choice', _raw, 'likeliest choice is right'),
    ('multiple_choice_per_byte', _per_byte, 'likeliest choice a byte is right'),
    (
      'multiple_choice_unconditional',
      _unconditional,
      'choice that the question makes likelier by the largest factor is right',
    ),
  ):
    yield _mean(metric, [chosen(output, by) for output in found], chance, rule)
  rule = 'squared distance of the choices’ probabilities from the truth'
  yield _mean(
    'brier',
    [brier(output) for output in found],
    float(np.mean(1 - 1 / n)),
    f'{rule} (lower is better)',
  )
  sure = np.array([probabilities(output).max() for output in found])
  right = np.array([chosen(output, _raw) for output in found])
  yield _resampled(
    'calibration_error',
    len(found),
    lambda rows: calibration_error(sure[rows], right[rows]),
    f'probability of the likeliest choice against its share right, {_BINS} bins'
    ' (lower is better)',
  )


def _text(found: Sequence[Output], prose: bool) -> Iterator[Measure]:
  """Of prose: chrF (Popović 2015) and BLEU (Papineni 2002) by sacrebleu."""
  if not prose:
    return
  import sacrebleu

  said = [output['said'].strip() for output in found]
  right = [output['answer'] for output in found]
  for metric, scorer in (
    ('chrf', sacrebleu.CHRF()),
    ('bleu', sacrebleu.BLEU()),
  ):

    def score(rows, scorer=scorer):
      return scorer.corpus_score(
        [said[i] for i in rows], [[right[i] for i in rows]]
      ).score

    whole = _resampled(metric, len(found), score, '')
    rule = str(scorer.get_signature())
    yield whole._replace(rule=f'of the corpus, from 0 to 100; {rule}')


# One item.


def exact(output: Output) -> float:
  """1 if what was said is a right answer, 0 if not."""
  return float(_passes(output['said'], output))


def _passes(said: str, output: Output) -> bool:
  # A chain of thought in prose ends its answer with a full stop.
  right = [text.strip() for text in (output['answer'], *output['others'])]
  return said.strip() in right or said.strip().removesuffix('.') in right


def token_accuracy(output: Output) -> float:
  """Share of the answer's tokens that are the likeliest at their place."""
  return float(np.mean(output['best']))


def edit_distance(output: Output) -> float:
  """Levenshtein's distance in tokens from what was said to the answer."""
  said, right = output['said_ids'], output['answer_ids']
  row = list(range(len(right) + 1))
  for i, token in enumerate(said, 1):
    before, row[0] = row[0], i
    for j, other in enumerate(right, 1):
      before, row[j] = (
        row[j],
        min(row[j] + 1, row[j - 1] + 1, before + (token != other)),
      )
  return float(row[-1])


def f1(output: Output) -> float:
  """Harmonic mean of precision and recall of words (Rajpurkar et al. 2016).

  Words are what white space parts, in lower case; the best of the right
  answers counts.
  """
  said = Counter(output['said'].lower().split())
  best = 0.0
  for text in (output['answer'], *output['others']):
    right = Counter(text.lower().split())
    both = sum((said & right).values())
    if both:
      best = max(best, 2 * both / (said.total() + right.total()))
  return best


def p_correct(output: Output) -> float:
  """Probability of the answer, its end included."""
  return float(np.exp(np.sum(output['log_p'])))


def pass_until(output: Output) -> float:
  """Passes r over samples K, of all that are stored.

  PassUntil (Hu et al. 2024) samples until r passes. With r = 1 the mean of r/K
  is not the pass probability p but -p ln p / (1 - p), which bends its law; a
  fixed number of samples has none of this. `p_correct` is p itself where one
  answer alone is right.
  """
  return float(np.mean([_passes(said, output) for said in output['samples']]))


Scores = Callable[[Output], np.ndarray]


def _raw(output: Output) -> np.ndarray:
  return np.array(output['choice_log_p'])


def _per_byte(output: Output) -> np.ndarray:
  return _raw(output) / np.array(output['choice_bytes'])


def _unconditional(output: Output) -> np.ndarray:
  return _raw(output) - np.array(output['choice_free'])


def chosen(output: Output, by: Scores) -> float:
  """1 if the choice of highest score is right; ties share it."""
  score = by(output)
  best = np.flatnonzero(score == score.max())
  right = {output['answer'], *output['others']}
  return float(np.mean([output['choices'][i] in right for i in best]))


def probabilities(output: Output) -> np.ndarray:
  """Of the choices among themselves."""
  score = _raw(output)
  p = np.exp(score - score.max())
  return p / p.sum()


def brier(output: Output) -> float:
  """Squared distance of the probabilities from 1 and 0 (Brier 1950)."""
  truth = np.array(output['choices']) == output['answer']
  return float(np.sum((probabilities(output) - truth) ** 2))


# All items.


def calibration_error(sure: np.ndarray, right: np.ndarray) -> float:
  """Mean gap of confidence and accuracy over bins (Naeini et al. 2015)."""
  bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
  gaps = np.bincount(bins, sure - right, _BINS)
  return float(np.abs(gaps).sum() / len(sure))


def _mean(metric: str, values: Sequence[float], chance, rule) -> Measure:
  n = len(values)
  error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
  marks = np.array(values, float)
  return Measure(metric, float(marks.mean()), error, n, chance, rule, marks)


def _resampled(
  metric: str, n: int, score: Callable[[Any], float], rule: str
) -> Measure:
  """A figure of all items, its error by the bootstrap over items."""
  rng = np.random.default_rng(0)
  drawn = [score(rng.integers(0, n, n)) for _ in range(_DRAWS * (n > 1))]
  error = float(np.std(drawn, ddof=1)) if drawn else None
  return Measure(metric, float(score(np.arange(n))), error, n, None, rule)
