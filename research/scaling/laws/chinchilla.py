"""Chinchilla: loss over parameters and tokens, each with its own power law."""

import dataclasses
import itertools
from typing import ClassVar

import numpy as np

from research.scaling import projection
from research.scaling.cost import Cost
from research.scaling.laws.law import Alternative, Curve, Named
from research.scaling.points import Points

SHARES = ((0.2, 0.2), (0.1, 0.4), (0.4, 0.1), (0.4, 0.4), (0.05, 0.05))
"""Of the typical loss, what a start gives to parameters and to tokens."""

NEGLIGIBLE = 14.0
"""A term below exp(−14) of the loss is nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chinchilla(Curve):
  """L(N, D) = E + A/N^α + B/D^β (Hoffmann et al. 2022, approach 3, eq. 10).

  Minimised is Σ Huber_δ(LSE(a − α ln N, b − β ln D, e) − ln L), δ = 1e-3, with
  a = ln A, b = ln B, e = ln E; the sum over points, not their mean, which with
  customary tolerances stops early (Besiroglu et al. 2024).
  """

  name: ClassVar[str] = 'chinchilla'

  @property
  def coordinates(self) -> tuple[str, ...]:
    return ('a', 'b', 'e', 'alpha', 'beta')

  def evaluate(
    self, theta: np.ndarray, points: Points
  ) -> tuple[np.ndarray, np.ndarray]:
    a, b, e, alpha, beta = theta.T[:, :, None]
    n, d = np.log(points.params), np.log(points.tokens)
    terms = np.stack(np.broadcast_arrays(a - alpha * n, b - beta * d, e))
    most = terms.max(axis=0)
    shares = np.exp(terms - most)
    total = shares.sum(axis=0)
    shares /= total
    slopes = [*shares, -shares[0] * n, -shares[1] * d]
    return most + np.log(total), np.stack(slopes, axis=-1)

  def starts(self, points: Points, count: int, seed: int) -> np.ndarray:
    """A grid of exponents and of what the terms share of the typical loss."""
    side = max(2, round((count / len(SHARES)) ** 0.5))
    exponents = np.geomspace(0.05, 1.5, side)
    n, d, y = (
      np.log(column).mean()
      for column in (points.params, points.tokens, points.loss)
    )
    rows = [
      (
        np.log(for_n) + y + alpha * n,
        np.log(for_d) + y + beta * d,
        np.log(1 - for_n - for_d) + y,
        alpha,
        beta,
      )
      for (for_n, for_d), alpha, beta in itertools.product(
        SHARES, exponents, exponents
      )
    ]
    return np.array(rows)

  def bounds(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
    least = np.log(points.loss.min()) - NEGLIGIBLE
    low = np.array([least, least, least, 0, 0])
    return low, np.array([np.inf, np.inf, np.inf, 3, 3])

  def parameters(self, theta: np.ndarray) -> Named:
    a, b, e, alpha, beta = theta.T
    with np.errstate(over='ignore'):
      a, b, e = np.exp(a), np.exp(b), np.exp(e)
    return {'E': e, 'A': a, 'B': b, 'alpha': alpha, 'beta': beta}

  def exponents(self, theta: np.ndarray, cost: Cost) -> Named:
    return cost.exponents(theta[:, 3], theta[:, 4])

  def optimum(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> tuple[np.ndarray, np.ndarray]:
    a, b, _, alpha, beta = theta.T
    return cost.optimum(a - b, alpha, beta, compute)

  def alternative(self, points: Points) -> Alternative:
    """Least squares of relative residuals, by variable projection."""
    found = projection.solve(points)
    e, a, b, alpha, beta = found.parameters.values()
    with np.errstate(divide='ignore'):
      theta = np.array([*np.log([a, b, e]), alpha, beta])
    return Alternative(
      'variable projection', theta, found.value, found.condition
    )

  def text(self, parameters: dict[str, float]) -> str:
    return (
      'L = {E:.4g} + {A:.4g} / N^{alpha:.4f} + {B:.4g} / D^{beta:.4f}'
    ).format(**parameters)
