"""Cost: what a model of N parameters and D tokens costs to train."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from research.scaling.points import Points


class Cost(NamedTuple):
  """C = `factor` · N^`params` · D^`tokens`; 6ND unless told otherwise.

  Attributes:
    factor: FLOPs per parameter and token, where both exponents are one.
    params: Exponent of N. Under an exact count it is below one for small
      models, whose attention and head are not in proportion to N.
    tokens: Exponent of D.
    misfit: Root mean square of what it leaves of ln C.
  """

  factor: float = 6.0
  params: float = 1.0
  tokens: float = 1.0
  misfit: float = 0.0

  def flops(self, params: ArrayLike, tokens: ArrayLike) -> np.ndarray:
    """C of cells."""
    n, d = np.asarray(params, float), np.asarray(tokens, float)
    return np.asarray(self.factor * n**self.params * d**self.tokens)

  def optimum(
    self, ratio: np.ndarray, alpha: np.ndarray, beta: np.ndarray, compute
  ) -> tuple[np.ndarray, np.ndarray]:
    """The N and D that minimise A/N^α + B/D^β at cost C, each [fits, compute].

    Where the gradients of loss and cost are parallel,
    (α A N^−α) / p = (β B D^−β) / q; with C = 6ND this is N* = G (C/6)^a of
    Hoffmann et al. 2022, eq. 4.

    Args:
      ratio: ln(A/B), [fits].
      alpha: [fits].
      beta: [fits].
      compute: C, [compute].
    """
    c = np.log(np.asarray(compute, float) / self.factor)
    with np.errstate(divide='ignore', invalid='ignore'):
      pull = ratio + np.log(alpha * self.tokens / (beta * self.params))
      slope = alpha + self.params * beta / self.tokens
      n = (pull[:, None] + (beta / self.tokens)[:, None] * c) / slope[:, None]
    d = (c - self.params * n) / self.tokens
    return np.exp(n), np.exp(d)

  def exponents(
    self, alpha: np.ndarray, beta: np.ndarray
  ) -> dict[str, np.ndarray]:
    """`a` of N* ∝ C^a and `b` of D* ∝ C^b of that minimum."""
    with np.errstate(divide='ignore', invalid='ignore'):
      a = beta / (self.tokens * alpha + self.params * beta)
    return {'a': a, 'b': (1 - self.params * a) / self.tokens}


def cost(points: Points) -> Cost:
  """The cost that the points' own FLOPs follow.

  Least squares of ln C on ln N and ln D. Where these do not vary apart from
  each other, C = factor · ND.
  """
  n, d, c = (np.log(x) for x in (points.params, points.tokens, points.flops))
  simple = float(np.exp(np.median(c - n - d)))
  if np.ptp(c - n - d) < 1e-6:
    return Cost(factor=simple)
  design = np.stack([n - n.mean(), d - d.mean()], axis=1)
  apart = np.linalg.svd(design, compute_uv=False)
  if apart[-1] < 1e-2 * apart[0] or len(n) < 4:
    return Cost(factor=simple, misfit=float(np.std(c - n - d)))
  (p, q), *_ = np.linalg.lstsq(design, c - c.mean(), rcond=None)
  rest = c - p * n - q * d
  return Cost(
    factor=float(np.exp(rest.mean())),
    params=float(p),
    tokens=float(q),
    misfit=float(rest.std()),
  )
