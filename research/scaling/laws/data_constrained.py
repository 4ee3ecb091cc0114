"""Data-constrained: Chinchilla's law where tokens are repeated."""

import dataclasses
import itertools
from typing import ClassVar, NamedTuple

import numpy as np

from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.laws.law import Curve, Named
from research.scaling.points import Points

_STARTS = tuple(itertools.product((2.0, 10.0, 50.0), repeat=2))
"""Where (R_D*, R_N*) begin: a published pair is only a local minimum."""


class _Effective(NamedTuple):
  """ln of what excess is worth, and its slopes.

  Attributes:
    value: ln(U (1 + R* (1 − exp(−R/R*)))), R = X/U − 1, [fits, n].
    unique: Its derivative by ln U.
    scale: Its derivative by ln R*.
  """

  value: np.ndarray
  unique: np.ndarray
  scale: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConstrained(Curve):
  """L = E + A/N'^α + B/D'^β (Muennighoff et al. 2023, eqs. 5, 6 and 18).

  Of D tokens U_D = min(U, D) are unique and R_D = D/U_D − 1 times repeated;
  D' = U_D (1 + R_D* (1 − exp(−R_D/R_D*))). Parameters beyond the U_N that are
  compute-optimal for U_D lose their worth alike: U_N = min(N, G (G U_D)^(β/α)),
  G = (αA/βB)^(1/(α+β)), R_N = N/U_N − 1, N' as D' with R_N*.

  Where nothing is repeated R_D* is not determined, and where no model is
  larger than its U_N neither is R_N*: the certificate then refuses.
  """

  name: ClassVar[str] = 'data_constrained'
  columns: ClassVar[tuple[str, ...]] = ('params', 'tokens', 'unique_tokens')

  @property
  def coordinates(self) -> tuple[str, ...]:
    return ('a', 'b', 'e', 'alpha', 'beta', 'ln R_D*', 'ln R_N*')

  def evaluate(
    self, theta: np.ndarray, points: Points
  ) -> tuple[np.ndarray, np.ndarray]:
    a, b, e, alpha, beta, of_d, of_n = theta.T[:, :, None]
    n, d = np.log(points.params), np.log(points.tokens)
    u = np.minimum(np.log(points.unique_tokens), d)
    best, slopes = _optimal(a, b, alpha, beta, u)
    capped = best < n
    params = _effective(n, np.where(capped, best, n), of_n)
    tokens = _effective(d, u, of_d)
    terms = np.stack(
      np.broadcast_arrays(a - alpha * params.value, b - beta * tokens.value, e)
    )
    most = terms.max(axis=0)
    shares = np.exp(terms - most)
    total = shares.sum(axis=0)
    for_n, for_d, rest = shares / total
    # What reaches ln U_N, itself a function of the first five coordinates.
    through = np.where(capped, -alpha * for_n * params.unique, 0.0)
    gradient = [
      for_n + through * slopes[0],
      for_d + through * slopes[1],
      rest,
      -for_n * params.value + through * slopes[2],
      -for_d * tokens.value + through * slopes[3],
      -beta * for_d * tokens.scale,
      -alpha * for_n * params.scale,
    ]
    return most + np.log(total), np.stack(gradient, axis=-1)

  def starts(self, points: Points, count: int, seed: int) -> np.ndarray:
    """Chinchilla's, with each of nine (R_D*, R_N*)."""
    plain = Chinchilla().starts(points, count // len(_STARTS), seed)
    return np.array(
      [
        (*row, np.log(r_d), np.log(r_n))
        for row in plain
        for r_d, r_n in _STARTS
      ]
    )

  def bounds(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
    low, high = Chinchilla().bounds(points)
    low[3:] = 1e-3  # β/α must stay finite.
    scale = np.log([1e-2, 1e4])
    return np.append(low, scale[[0, 0]]), np.append(high, scale[[1, 1]])

  def parameters(self, theta: np.ndarray) -> Named:
    plain = Chinchilla().parameters(theta[:, :5])
    return {**plain, 'R_D*': np.exp(theta[:, 5]), 'R_N*': np.exp(theta[:, 6])}

  def text(self, parameters: dict[str, float]) -> str:
    text = Chinchilla().text(parameters).replace('N^', "N'^")
    repeated = ', R_D* = {R_D*:.4g}, R_N* = {R_N*:.4g}'.format(**parameters)
    return text.replace('D^', "D'^") + repeated


def _optimal(a, b, alpha, beta, u) -> tuple[np.ndarray, list[np.ndarray]]:
  """ln G (G U_D)^(β/α), and its slopes along a, b, α and β."""
  both = alpha + beta
  g = (np.log(alpha) + a - np.log(beta) - b) / both
  value = g + beta / alpha * (g + u)
  slopes = [
    1 / alpha,
    -1 / alpha,
    (1 / alpha - g) / alpha - beta / alpha**2 * (g + u),
    (-1 / beta - g) / alpha + (g + u) / alpha,
  ]
  return value, slopes


def _effective(x, u, scale) -> _Effective:
  """What exp(x), of which exp(u) are unique, is worth; `scale` is ln R*."""
  most = np.exp(scale)
  repeats = np.expm1(np.minimum(x - u, 300))
  lost = np.exp(-repeats / most)
  worth = 1 + most * (1 - lost)
  return _Effective(
    value=u + np.log(worth),
    unique=1 - lost * (repeats + 1) / worth,
    scale=(most * (1 - lost) - repeats * lost) / worth,
  )
