"""Least squares with non-negative weights, for many right sides at once."""

import numpy as np

_RIDGE = 1e-10
_TOLERANCE = 1e-9


def solve(
  gram: np.ndarray, moments: np.ndarray, allowed: np.ndarray
) -> np.ndarray:
  """The weights w that minimise w·Gw − 2 c·w, all but the first non-negative.

  The active-set method of Lawson and Hanson (1974, ch. 23), in step for all
  right sides: bootstrap replicates share G, so that an iteration is one stacked
  solve of the few columns that are in use.

  Args:
    gram: G = AᵀA of the design's columns, [m, m]; the first column's weight is
      free in sign and always in use.
    moments: c = Aᵀy of each right side, [b, m].
    allowed: Columns that a right side may use, [b, m] of bool.

  Returns:
    Weights, [b, m].
  """
  scale = np.sqrt(np.diag(gram))
  weights = np.zeros_like(moments)
  weights[:, 0] = moments[:, 0] / gram[0, 0]
  used = np.zeros(moments.shape, bool)
  used[:, 0] = True
  live = np.arange(len(moments))
  # Each turn brings one column in; a turn that would cycle stops at the bound.
  for _ in range(3 * moments.shape[1]):
    gain = (moments[live] - weights[live] @ gram) / scale
    gain[used[live] | ~allowed[live]] = -np.inf
    best = gain.argmax(axis=1)
    going = gain[np.arange(len(live)), best] > _TOLERANCE
    live, best = live[going], best[going]
    if not len(live):
      break
    used[live, best] = True
    _descend(gram, moments, weights, used, live)
  return weights


def _descend(gram, moments, weights, used, rows) -> None:
  """Moves `rows` to the least squares of their used columns, in place.

  A column whose weight would turn negative is left on the way, at zero.
  """
  while len(rows):
    goal = _unbounded(gram, moments[rows], used[rows])
    below = used[rows] & (goal <= 0)
    below[:, 0] = False
    blocked = below.any(axis=1)
    weights[rows[~blocked]] = goal[~blocked]
    rows, goal, below = rows[blocked], goal[blocked], below[blocked]
    now = weights[rows]
    shares = np.full(now.shape, np.inf)
    np.divide(now, now - goal, out=shares, where=below)
    share = shares.min(axis=1, keepdims=True, initial=np.inf)
    moved = now + share * (goal - now)
    left = below & (shares <= share)
    moved[left] = 0
    weights[rows] = moved
    used[rows] &= ~left


def _unbounded(gram, moments, used) -> np.ndarray:
  """Least squares of each row's used columns, zero elsewhere, [b, m]."""
  count = int(used.sum(axis=1).max())
  columns = np.argsort(~used, axis=1, kind='stable')[:, :count]
  there = np.take_along_axis(used, columns, axis=1)
  part = gram[columns[:, :, None], columns[:, None, :]]
  part = part * (there[:, :, None] & there[:, None, :])
  # Sigmoids are close to each other: the ridge keeps their solves finite.
  diagonal = np.where(there, _RIDGE * gram.diagonal()[columns], 1.0)
  part[:, np.arange(count), np.arange(count)] += diagonal
  sides = np.take_along_axis(moments, columns, axis=1) * there
  solved = np.linalg.solve(part, sides[:, :, None])[:, :, 0] * there
  weights = np.zeros(moments.shape)
  np.put_along_axis(weights, columns, solved, axis=1)
  return weights
