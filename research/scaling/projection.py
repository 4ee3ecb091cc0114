"""Projection: the Chinchilla surface with its linear constants projected out.

For given exponents E, A and B follow by non-negative least squares, so that
two dimensions are left to search. Their curvature has a condition number of
ten or so where that of all five has millions.
"""

import itertools
from typing import NamedTuple

import numpy as np

from research.scaling import descent
from research.scaling.points import Points

MOST = 3.0
"""Largest exponent that is looked at."""


class Projected(NamedTuple):
  """The surface of least squares.

  Attributes:
    parameters: E, A, B, alpha, beta.
    value: Half the weighted sum of squares of relative residuals.
    at_rest: Whether its gradient vanishes.
    condition: Of the curvature in (alpha, beta).
  """

  parameters: dict[str, float]
  value: float
  at_rest: bool
  condition: float


def solve(points: Points, side: int = 20, refined: int = 20) -> Projected:
  """Minimises Σ w ((E + A/N^α + B/D^β − L) / L)² / 2 (Golub and Pereyra 1973).

  Relative residuals are those of ln L to first order, which Chinchilla's own
  objective compares.

  Args:
    points: What is fitted.
    side: The exponents' grid has this many values along each side.
    refined: How many of its best places are refined.
  """
  exponents = np.geomspace(0.02, 2, side)
  grid = np.array(list(itertools.product(exponents, exponents)))
  model, _ = _evaluate(grid, points)
  target = np.ones(len(points))
  values = (points.weight * (model - target) ** 2).sum(axis=1)
  minima = descent.descend(
    lambda theta: _evaluate(theta, points),
    target,
    points.weight,
    grid[np.argsort(values)[:refined]],
    delta=None,
    bounds=(np.full(2, 1e-4), np.full(2, MOST)),
  )
  best = int(np.nanargmin(minima.value))
  theta = minima.theta[best : best + 1]
  columns, scales = _columns(theta, points)
  e, a, b = _constants(columns, points.weight)[0] * scales[0]
  slopes = _evaluate(theta, points)[1][0]
  bent = np.linalg.eigvalsh(slopes.T @ (points.weight[:, None] * slopes))
  alpha, beta = theta[0]
  named = {'E': e, 'A': a, 'B': b, 'alpha': alpha, 'beta': beta}
  return Projected(
    {name: float(value) for name, value in named.items()},
    float(minima.value[best]),
    bool(minima.at_rest[best]),
    float(bent.max() / max(bent.min(), 1e-300)),
  )


def _columns(
  theta: np.ndarray, points: Points
) -> tuple[np.ndarray, np.ndarray]:
  """1/L, N^−α/L and D^−β/L, [fits, n, 3], and what scales their constants.

  N and D are taken relative to their geometric means, so that the columns
  are of one order.
  """
  n, d = np.log(points.params), np.log(points.tokens)
  alpha, beta = theta.T[:, :, None]
  columns = [0 * alpha + 0 * n, -alpha * (n - n.mean()), -beta * (d - d.mean())]
  scales = [0 * alpha, alpha * n.mean(), beta * d.mean()]
  stacked = np.exp(np.stack(columns, axis=-1)) / points.loss[:, None]
  return stacked, np.exp(np.concatenate(scales, axis=1))


def _constants(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Non-negative least squares of 1 on the columns, [fits, 3].

  With three columns the answer is the best of seven supports whose own least
  squares are not negative.
  """
  root = np.sqrt(weight)
  best = np.zeros((len(columns), 3))
  least = np.full(len(columns), np.inf)
  todo = np.arange(len(columns))
  for size in (3, 2, 1):
    for support in itertools.combinations(range(3), size):
      chosen = columns[todo][:, :, support]
      q, r = np.linalg.qr(root[:, None] * chosen)
      r = r + 1e-300 * np.eye(size)
      found = np.linalg.solve(r, (np.swapaxes(q, 1, 2) @ root)[..., None])
      rest = (root * (1 - (chosen @ found)[..., 0])) ** 2
      value = np.where((found >= 0).all(axis=(1, 2)), rest.sum(axis=1), np.inf)
      better = value < least[todo]
      least[todo[better]] = value[better]
      held = np.zeros((int(better.sum()), 3))
      held[:, support] = found[better, :, 0]
      best[todo[better]] = held
    if size == 3:
      todo = np.flatnonzero(~np.isfinite(least))
      if not len(todo):
        break
  return best


def _evaluate(
  theta: np.ndarray, points: Points
) -> tuple[np.ndarray, np.ndarray]:
  """Model over loss, [fits, n], and its slope in (α, β) (Kaufman 1975)."""
  columns, _ = _columns(theta, points)
  constants = _constants(columns, points.weight)
  terms = columns * constants[:, None, :]
  n, d = np.log(points.params), np.log(points.tokens)
  slopes = np.stack(
    [-terms[..., 1] * (n - n.mean()), -terms[..., 2] * (d - d.mean())], axis=-1
  )
  root = np.sqrt(points.weight)[:, None]
  used = columns * (constants > 0)[:, None, :]
  q, r = np.linalg.qr(root * used)
  q = q * (np.abs(np.einsum('bkk->bk', r)) > 1e-12)[:, None, :]
  turned = root * slopes
  turned = turned - q @ (np.swapaxes(q, 1, 2) @ turned)
  return terms.sum(axis=-1), turned / np.maximum(root, 1e-300)
