"""Allocation: laws of how parameters and tokens grow with compute, only."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from research.scaling import backtest, descent
from research.scaling.certificate import Certificate
from research.scaling.cost import Cost
from research.scaling.laws.law import Law, Named, Solution
from research.scaling.points import Points

if TYPE_CHECKING:
  from research.scaling.fit import Fit


class Optima(NamedTuple):
  """Compute-optimal cells that points themselves show, [optima] each.

  Attributes:
    compute: C*.
    params: N*.
    tokens: D*.
  """

  compute: np.ndarray
  params: np.ndarray
  tokens: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Allocation(Law):
  """N*(C) = k_N C^a, D*(C) = k_D C^b: two straight lines through optima.

  Least squares of ln N* and ln D* on ln C*. Coordinates: ln k_N, a, ln k_D, b.
  """

  @abc.abstractmethod
  def optima(self, points: Points, loss: np.ndarray) -> Optima:
    """The optima, were the points' losses these, ascending in compute."""

  @abc.abstractmethod
  def faults(self, points: Points) -> list[str]:
    """Why the optima cannot be trusted."""

  @property
  def objective(self) -> descent.Objective:
    return descent.Objective(delta=None, space='log')

  def solve(self, points: Points, starts: int, seed: int) -> Solution:
    found = self.optima(points, points.loss)
    theta = lines(found)
    faults, count = self.faults(points), len(found.compute)
    if count < 2:
      faults.append(f'{count} optima: a line needs two')
    exact = ('two optima: the lines meet them exactly',) if count == 2 else ()
    misfit = np.log(found.params) - theta[0] - theta[1] * np.log(found.compute)
    return Solution(
      theta,
      float(descent.rho(misfit, None).sum()),
      Certificate(faults=tuple(faults), warnings=exact),
    )

  def again(
    self, points: Points, theta: np.ndarray, loss: np.ndarray
  ) -> np.ndarray:
    fits = [lines(self.optima(points, one)) for one in loss]
    return np.array(fits).reshape(-1, 4)

  def backtest(self, before: 'Fit', held: Points) -> list[dict[str, Any]]:
    return backtest.optima(before, self, held)

  def parameters(self, theta: np.ndarray) -> Named:
    n, a, d, b = theta.T
    with np.errstate(over='ignore'):
      return {'k_N': np.exp(n), 'a': a, 'k_D': np.exp(d), 'b': b}

  def loss(self, theta: np.ndarray, points: Points) -> np.ndarray:
    """Unknown: lines through optima say nothing of other cells."""
    return np.full((len(theta), len(points)), np.nan)

  def exponents(self, theta: np.ndarray, cost: Cost) -> Named:
    return {'a': theta[:, 1], 'b': theta[:, 3]}

  def optimum(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> tuple[np.ndarray, np.ndarray]:
    n, a, d, b = theta.T[:, :, None]
    c = np.log(compute)
    return np.exp(n + a * c), np.exp(d + b * c)

  def frontier(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> np.ndarray | None:
    return None

  def text(self, parameters: dict[str, float]) -> str:
    return 'N* = {k_N:.4g} C^{a:.4f}, D* = {k_D:.4g} C^{b:.4f}'.format(
      **parameters
    )


def lines(optima: Optima) -> np.ndarray:
  """Least squares of ln N* and ln D* on ln C*; NaN for one size or none."""
  if len(np.unique(optima.params)) < 2:
    return np.full(4, np.nan)
  c, n, d = np.log(optima)
  design = np.stack([np.ones_like(c), c], axis=1)
  found = np.linalg.lstsq(design, np.stack([n, d], axis=1), rcond=None)[0]
  return found.T.ravel()
