"""Over-trained: loss along parameters and tokens per parameter."""

import dataclasses
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from research.scaling.cost import Cost
from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.laws.law import Curve, Named
from research.scaling.points import Points


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overtrained(Curve):
  """L(N, M) = E + a N^c + b 6^(c/2) (M N)^c, M = D/N.

  Gadre et al. 2024, eq. 4. As M N = D this is Chinchilla's law with one
  exponent for both, −c, and so, less E, a straight line over compute at each M
  in log-log. The paper minimises plain squares of the loss: `delta=None,
  space='linear'`.
  """

  name: ClassVar[str] = 'overtrained'

  @property
  def coordinates(self) -> tuple[str, ...]:
    return ('ln a', 'ln b', 'ln E', 'c')

  def evaluate(
    self, theta: np.ndarray, points: Points
  ) -> tuple[np.ndarray, np.ndarray]:
    value, slopes = Chinchilla().evaluate(_chinchilla(theta), points)
    a, b, e, alpha, beta = np.moveaxis(slopes, -1, 0)
    gradient = np.stack([a, b, e, b * np.log(6) / 2 - alpha - beta], axis=-1)
    if self.space == 'linear':
      value = np.exp(np.minimum(value, 100))  # A far step stays finite.
      gradient = gradient * value[..., None]
    return value, gradient

  def starts(self, points: Points, count: int, seed: int) -> np.ndarray:
    """Those of Chinchilla's whose exponents agree."""
    rows = Chinchilla().starts(points, count**2 // 5, seed)
    a, b, e, alpha, beta = rows[rows[:, 3] == rows[:, 4]].T
    return np.stack([a, b + alpha * np.log(6) / 2, e, -beta], axis=1)

  def bounds(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
    low, high = Chinchilla().bounds(points)
    return np.append(low[:3], -high[3]), np.append(high[:3], -low[3])

  def parameters(self, theta: np.ndarray) -> Named:
    a, b, e = np.exp(theta.T[:3])
    return {'E': e, 'a': a, 'b': b, 'c': theta[:, 3]}

  def exponents(self, theta: np.ndarray, cost: Cost) -> Named:
    return Chinchilla().exponents(_chinchilla(theta), cost)

  def optimum(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> tuple[np.ndarray, np.ndarray]:
    return Chinchilla().optimum(_chinchilla(theta), compute, cost)

  def text(self, parameters: dict[str, float]) -> str:
    return (
      'L = {E:.4g} + {a:.4g} N^{c:.4f} + {b:.4g} 6^({c:.4f}/2) (M N)^{c:.4f}'
    ).format(**parameters)


def downstream(loss: ArrayLike, error: ArrayLike) -> tuple[float, float, float]:
  """(ε, k, γ) of error = ε − k exp(−γ L), by least squares (eq. 5).

  Args:
    loss: Validation loss of each model.
    error: Its mean error over tasks.
  """

  def law(x, worst, k, gamma):
    return worst - k * np.exp(-gamma * x)

  # The paper begins at ones, too.
  (worst, k, gamma), _ = optimize.curve_fit(law, loss, error, p0=(1, 1, 1))
  return float(worst), float(k), float(gamma)


def _chinchilla(theta: np.ndarray) -> np.ndarray:
  """The same law in Chinchilla's coordinates."""
  a, b, e, c = theta.T
  return np.stack([a, b + c * np.log(6) / 2, e, -c, -c], axis=1)
