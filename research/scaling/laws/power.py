"""Power: loss over one quantity, with or without a floor."""

import dataclasses
import itertools
from typing import ClassVar, Literal

import numpy as np

from research.scaling.cost import Cost
from research.scaling.laws.chinchilla import NEGLIGIBLE
from research.scaling.laws.law import Curve, Named
from research.scaling.points import Points, at

_LETTERS = {'flops': 'C', 'params': 'N', 'tokens': 'D'}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Power(Curve):
  """L(x) = E + A/x^α, or A/x^α (Hestness et al. 2017; Kaplan et al. 2020).

  Minimised as for `Chinchilla`: Huber's loss of ln L, with a = ln A, e = ln E.

  Attributes:
    x: The column that the loss is a function of.
    floor: Whether there is an E.
  """

  name: ClassVar[str] = 'power'
  x: Literal['flops', 'params', 'tokens'] = 'flops'
  floor: bool = True

  @property
  def columns(self) -> tuple[str, ...]:
    return (self.x,)

  @property
  def coordinates(self) -> tuple[str, ...]:
    return ('a', 'alpha', 'e') if self.floor else ('a', 'alpha')

  def evaluate(
    self, theta: np.ndarray, points: Points
  ) -> tuple[np.ndarray, np.ndarray]:
    a, alpha = theta.T[:2, :, None]
    x = np.log(getattr(points, self.x))
    fall = a - alpha * x
    if not self.floor:
      return fall, np.stack([np.ones_like(fall), 0 * fall - x], axis=-1)
    value = np.logaddexp(fall, theta[:, 2:])
    share = np.exp(fall - value)
    return value, np.stack([share, -share * x, 1 - share], axis=-1)

  def starts(self, points: Points, count: int, seed: int) -> np.ndarray:
    """A grid of exponents and of the fall's share of the typical loss."""
    shares = (0.02, 0.05, 0.1, 0.2, 0.5, 0.8) if self.floor else (1.0,)
    exponents = np.geomspace(0.01, 2, max(2, count // len(shares)))
    x, y = (np.log(getattr(points, name)).mean() for name in (self.x, 'loss'))
    rows = [
      (np.log(share) + y + alpha * x, alpha, np.log1p(-min(share, 0.99)) + y)
      for share, alpha in itertools.product(shares, exponents)
    ]
    return np.array(rows)[:, : len(self.coordinates)]

  def bounds(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
    least = np.log(points.loss.min()) - NEGLIGIBLE
    low, high = np.array([least, 0, least]), np.array([np.inf, 5, np.inf])
    count = len(self.coordinates)
    return low[:count], high[:count]

  def parameters(self, theta: np.ndarray) -> Named:
    with np.errstate(over='ignore'):
      floor = {'E': np.exp(theta[:, 2])} if self.floor else {}
      return {**floor, 'A': np.exp(theta[:, 0]), 'alpha': theta[:, 1]}

  def frontier(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> np.ndarray | None:
    if self.x != 'flops':
      return None
    one = np.ones_like(compute)
    return self.loss(theta, at(one, one, flops=compute))

  def text(self, parameters: dict[str, float]) -> str:
    floor = f'{parameters["E"]:.4g} + ' if self.floor else ''
    a, alpha = parameters['A'], parameters['alpha']
    return f'L = {floor}{a:.4g} / {_LETTERS[self.x]}^{alpha:.4f}'
