"""Schaeffer et al. 2023: a smooth ability that exact match turns into a jump.

Are Emergent Abilities of Large Language Models a Mirage? (arXiv 2304.15004,
section 2). A simulated family's loss per token is a power law of size, so the
probability of a right token is p(N) = exp(−(N/c)^−α), smooth in N. An answer
of L tokens is right with p^L, and its edit distance is L (1 − p): the one
jumps, the other does not, on the same outputs.
"""

import pathlib

import numpy as np
from numpy.typing import ArrayLike

from research.scaling.papers.reproduction import (
  Panel,
  Reproduction,
  Series,
  Target,
)

SCALE = 1e8
"""c: the size at which the loss is one nat a token."""

ALPHA = 0.3
SIZES = np.geomspace(1e7, 1e12, 11)
LENGTHS = (1, 2, 4, 8)
ITEMS = 4000


def reproduce(folder: pathlib.Path | None = None) -> Reproduction:
  """Samples outputs, scores them in both ways, and recovers the truth.

  Under the mechanism ln(−ln(exact match)) is a line in ln N whose slope is
  −α and whose intercept tells the length of the answer.
  """
  del folder
  rng = np.random.default_rng(0)
  p = token_probability(SIZES)
  targets, exact, edits = [], [], []
  for length in LENGTHS:
    right = outputs(rng, p, length)
    match, distance = exact_match(right), edit_distance(right)
    slope, tokens = recovered(SIZES, match)
    targets += [
      Target(f'{length} tokens: slope', slope, -ALPHA, 0.03),
      Target(f'{length} tokens: length', tokens, length, 0.15 * length),
      Target(
        f'{length} tokens: distance from p^L in deviations',
        _deviations(match, p**length),
        0,
        4,
      ),
    ]
    exact += _series(length, match, p**length)
    edits += _series(length, distance / length, 1 - p)
  return Reproduction(
    source=f'Schaeffer et al. 2023: simulated models, {ITEMS} items a size',
    targets=tuple(targets),
    panels=(
      Panel('exact match', 'parameters', 'share', tuple(exact), 'x'),
      Panel('edit distance', 'parameters', 'a token', tuple(edits), 'x'),
    ),
    notes=('Published: the truth that was simulated.',),
  )


def token_probability(params: ArrayLike) -> np.ndarray:
  """p(N) = exp(−(N/c)^−α)."""
  return np.exp(-((np.asarray(params, float) / SCALE) ** -ALPHA))


def outputs(rng: np.random.Generator, p: np.ndarray, length: int) -> np.ndarray:
  """Which tokens are right, [sizes, items, length], each with probability p."""
  return rng.random((len(p), ITEMS, length)) < p[:, None, None]


def exact_match(right: np.ndarray) -> np.ndarray:
  """Share of items of which every token is right, one for each size."""
  return right.all(axis=2).mean(axis=1)


def edit_distance(right: np.ndarray) -> np.ndarray:
  """Mean number of wrong tokens an item, one for each size.

  With substitutions only, the edit distance is the number of wrong tokens.
  """
  return (~right).sum(axis=2).mean(axis=1)


def recovered(params: ArrayLike, match: ArrayLike) -> tuple[float, float]:
  """Slope of ln(−ln match) over ln N, and the length its intercept tells.

  Each size is weighted by what sampling leaves of it; sizes at 0 or 1 tell
  nothing and are left out.
  """
  match = np.asarray(match, float)
  there = (match > 0) & (match < 1)
  match = match[there]
  x = np.log(np.asarray(params, float)[there] / SCALE)
  y = np.log(-np.log(match))
  # The delta method: dy = dm / (m ln m), dm² = m (1 − m) / items.
  errors = np.sqrt((1 - match) / (match * ITEMS)) / -np.log(match)
  slope, intercept = np.polyfit(x, y, 1, w=1 / errors)
  return float(slope), float(np.exp(intercept))


def _deviations(match: np.ndarray, truth: np.ndarray) -> float:
  errors = np.sqrt(truth * (1 - truth) / ITEMS)
  return float(np.max(np.abs(match - truth) / errors))


def _series(length: int, ours: np.ndarray, truth: np.ndarray) -> list[Series]:
  label = f'{length} token{"s" if length > 1 else ""}'
  return [
    Series('', SIZES, ours, 'points', length),
    Series(label, SIZES, truth, 'line', length),
  ]
