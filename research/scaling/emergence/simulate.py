"""Simulated score tables of a truth that is known, and how verdicts meet it."""

import dataclasses

import numpy as np
import pandas as pd

from research.scaling.emergence import items, laws, scores, verdict

PER_TOKEN = 'token_accuracy'
EXACT = 'exact_match'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
  """What a simulated table consists of.

  Attributes:
    sizes: Models' sizes, about 10^.4 apart.
    items: Items of the test.
    length: Tokens of an answer.
    seeds: Runs of each size.
    deviation: Standard deviation between runs, in the per-token probability.
    contrast: How unlike items are, from 0 to 1: an item's probability is
      p ± contrast · min(p, 1 − p) at the most. All models read the same items.
    shared: Share of items on which all models have the same luck, so that what
      one gets right, every better one does.
    stored: Whether the table has the marks of the single items.
  """

  sizes: int = 7
  items: int = 500
  length: int = 1
  seeds: int = 1
  deviation: float = 0.0
  contrast: float = 0.5
  shared: float = 0.0
  stored: bool = False


def log_scale(design: Design, rng: np.random.Generator) -> np.ndarray:
  """Log sizes from about 10⁴ on, gaps 30 % wider or narrower than even."""
  gaps = 0.4 * np.log(10) * rng.uniform(0.7, 1.3, design.sizes - 1)
  return np.log(1e4) + np.concatenate([[0], np.cumsum(gaps)])


def smooth(
  x: np.ndarray, rng: np.random.Generator, sharp: bool = False
) -> np.ndarray:
  """A smooth per-token probability at log sizes x, [n].

  One of, with equal chance: a logistic curve; exp(−(N/N₀)^−a), the probability
  under a loss that is a power law (Gompertz in log N); a power law's concave
  approach to a ceiling; a straight line; two logistic rises; nothing. Floors,
  ceilings and centres are drawn at random; 10–90 % rises are log-uniform from
  `laws.GAPS` to 12 gaps of the grid. For `sharp`, a logistic or Gompertz curve
  of the quickest such rise: the hardest case.
  """
  gap = float(np.diff(x).mean())
  floor = rng.choice([0.0, 0.05, 0.25, rng.uniform(0, 0.5)])
  ceiling = rng.uniform(floor + 0.2, 1)
  # Gaps differ: the quickest rise is counted in gaps where it happens.
  middles = (x[1:] + x[:-1]) / 2

  def rise():
    centre = rng.uniform(x[0] - gap, x[-1] + gap)
    width = laws.GAPS if sharp else np.exp(rng.uniform(np.log(2), np.log(12)))
    return x - centre, width * float(np.interp(centre, middles, np.diff(x)))

  kind = rng.integers(2 if sharp else 6)
  z, width = rise()
  if kind == 1:
    share = np.exp(-np.exp(-z * 3.084 / width))
  elif kind == 2:
    share = 1 - np.exp(-(x - x[0] + gap / 2) / rng.uniform(gap, 6 * gap))
  elif kind == 3:
    share = (x - x[0]) / (x[-1] - x[0])
  elif kind == 4:
    part, (other, second) = rng.uniform(0.2, 0.8), rise()
    share = part * _logistic(z, width) + (1 - part) * _logistic(other, second)
  elif kind == 5:
    share = np.zeros_like(x)
  else:
    share = _logistic(z, width)
  return floor + (ceiling - floor) * share


def step(
  x: np.ndarray, rng: np.random.Generator, height: float = 0.3
) -> tuple[np.ndarray, float]:
  """A gentle line with a step, [n], and the log size where it stands.

  The step has two sizes or more on either side.
  """
  gap = rng.integers(1, len(x) - 2)
  place = rng.uniform(x[gap], x[gap + 1])
  line = rng.uniform(0.05, 0.4) + rng.uniform(0, 0.2) * (x - x[0]) / np.ptp(x)
  return line + height * (x > place), float(place)


def table(
  x: np.ndarray,
  per_token: np.ndarray,
  exact: np.ndarray | None,
  design: Design,
  rng: np.random.Generator,
  task: str = 'task',
) -> pd.DataFrame:
  """The score table of one task.

  Args:
    x: Log sizes, [n].
    per_token: Probability of a right token, [n].
    exact: Probability of a right answer, [n]; p^L if None.
    design: Items, answers and runs.
    rng: Source of items and runs.
    task: Name.
  """
  place = rng.uniform(-1, 1, design.items)
  same = _Luck(design, rng)
  rows = []
  for seed in range(design.seeds):
    for i, size in enumerate(np.exp(x)):
      luck = design.deviation * rng.standard_normal()
      p = _items(per_token[i] + luck, place, design)
      tokens = same.tokens(p)
      right = tokens == design.length
      if exact is not None:
        p = _items(exact[i] + luck, place, design)
        right = same.answers(p)
      for metric, marks in (
        (PER_TOKEN, tokens / design.length),
        (EXACT, right.astype(float)),
      ):
        rows.append(
          {
            'model': f'{size:.0f}',
            'scale': size,
            'seed': seed,
            'task': task,
            'metric': metric,
            'value': marks.mean(),
            'stderr': marks.std(ddof=1) / np.sqrt(design.items),
            'n_items': design.items,
            'answer_length': design.length,
            items.COLUMN: marks if design.stored else None,
          }
        )
  return pd.DataFrame(rows)


def smooth_table(
  design: Design, rng: np.random.Generator, sharp: bool = False
) -> pd.DataFrame:
  """A table whose truth is smooth."""
  x = log_scale(design, rng)
  return table(x, smooth(x, rng, sharp), None, design, rng)


def step_table(
  design: Design, rng: np.random.Generator, height: float = 0.3
) -> tuple[pd.DataFrame, float]:
  """A table with a step in both metrics, and the size where it stands."""
  x = log_scale(design, rng)
  curve, place = step(x, rng, height)
  return table(x, curve, curve, design, rng), float(np.exp(place))


def drawn_design(rng: np.random.Generator) -> Design:
  """A design as one meets them."""
  return Design(
    sizes=int(rng.integers(6, 9)),
    items=int(rng.choice([100, 250, 500, 1000])),
    length=int(rng.integers(1, 9)),
    seeds=int(rng.choice([1, 3])),
    deviation=float(rng.choice([0, 0.01, 0.02])),
    contrast=float(rng.uniform(0, 1)),
  )


def said(frame: pd.DataFrame, seed: int) -> verdict.Verdict:
  """The verdict on a table of one task."""
  (only,) = verdict.verdicts(scores.tidy(frame), seed=seed)
  return only


class _Luck:
  """What decides of tokens and answers; on shared items, for all alike."""

  def __init__(self, design: Design, rng: np.random.Generator):
    self._design, self._rng = design, rng
    (common,) = rng.spawn(1)  # It draws nothing from `rng` itself.
    self._shared = np.arange(design.items) < design.shared * design.items
    self._tokens = common.uniform(size=(design.items, design.length))
    self._answers = common.uniform(size=design.items)

  def tokens(self, p: np.ndarray) -> np.ndarray:
    """How many are right, of probability p [n]."""
    own = self._rng.binomial(self._design.length, p)
    same = (self._tokens < p[:, None]).sum(axis=1)
    return np.where(self._shared, same, own)

  def answers(self, p: np.ndarray) -> np.ndarray:
    """Whether each is right, of probability p [n]."""
    own = self._rng.uniform(size=len(p))
    return np.where(self._shared, self._answers, own) < p


def _items(p: float, place: np.ndarray, design: Design) -> np.ndarray:
  p = float(np.clip(p, 0, 1))
  return p + design.contrast * min(p, 1 - p) * place


def _logistic(z: np.ndarray, width: float) -> np.ndarray:
  return 1 / (1 + np.exp(-z * 2 * np.log(9) / width))
