"""Allocation: how parameters, tokens and least loss go with compute."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from research.config import BadInput
from research.scaling import backtest, descent, floored
from research.scaling.certificate import Certificate
from research.scaling.cost import Cost
from research.scaling.laws.law import Law, Named, Solution
from research.scaling.points import Points

if TYPE_CHECKING:
  from research.scaling.fit import Fit


COORDINATES = 7


class Optima(NamedTuple):
  """Compute-optimal cells that points themselves show, [optima] each.

  Attributes:
    compute: C*.
    params: N*.
    tokens: D*.
    loss: L*.
  """

  compute: np.ndarray
  params: np.ndarray
  tokens: np.ndarray
  loss: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Allocation(Law):
  """N*(C) = k_N C^a, D*(C) = k_D C^b and L*(C) = E + A/C^γ, through optima.

  Two straight lines, least squares of ln N* and ln D* on ln C*, and a power law
  with a floor (Henighan et al. 2020, eq. 1.1), least squares of ln L*: along
  the frontier of Chinchilla's surface both forms are exact, with
  γ = αβ/(α + β). Coordinates: ln k_N, a, ln k_D, b, E, A, γ; the last three
  are NaN for fewer than three optima.
  """

  of_compute: ClassVar[str] = 'fewer than three optima show no floor'

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
    if np.ptp(points.weight) > 0:
      raise BadInput(
        f'law={self.name} does not weigh points: leave out the column weight, '
        'and the rows that are to count for nothing'
      )
    found = self.optima(points, points.loss)
    theta = through(found)
    faults, count = self.faults(points), len(found.compute)
    if count < 2:
      faults.append(f'{count} optima: a line needs two')
    misfit = np.log(found.params) - theta[0] - theta[1] * np.log(found.compute)
    return Solution(
      theta,
      float(descent.rho(misfit, None).sum()),
      Certificate(faults=tuple(faults), warnings=_warnings(count, theta)),
    )

  def again(
    self, points: Points, theta: np.ndarray, loss: np.ndarray
  ) -> np.ndarray:
    fits = [through(self.optima(points, one)) for one in loss]
    return np.array(fits).reshape(-1, COORDINATES)

  def backtest(self, before: 'Fit', held: Points) -> list[dict[str, Any]]:
    return backtest.optima(before, self, held)

  def luck(self, before: 'Fit', held: Points) -> list[dict[str, float]]:
    """Factors by which the largest held-out optimum might have come otherwise.

    One dict, of `params` and `loss`, for each fit of the bootstrap; none where
    the noise is not known.
    """
    theta, count = before.solution.theta, len(before.samples)
    found = self.optima(held, held.loss)
    again = self.imagined(held, theta, count, before.seed + 1)
    return [_nearest(self.optima(held, loss), found) for loss in again]

  def curves(
    self, theta: np.ndarray, compute: np.ndarray
  ) -> dict[str, np.ndarray]:
    """N*(C) and L*(C), [fits, compute], by the names that `Optima` has."""
    n, a = theta.T[:2, :, None]
    floor, fall, gamma = theta.T[4:, :, None]
    params = np.exp(n + a * np.log(compute))
    return {'params': params, 'loss': floor + fall * compute**-gamma}

  def parameters(self, theta: np.ndarray) -> Named:
    n, a, d, b, floor, fall, gamma = theta.T
    with np.errstate(over='ignore'):
      lines = {'k_N': np.exp(n), 'a': a, 'k_D': np.exp(d), 'b': b}
    return {**lines, 'E': floor, 'A': fall, 'gamma': gamma}

  def loss(self, theta: np.ndarray, points: Points) -> np.ndarray:
    """Unknown: optima say nothing of other cells."""
    return np.full((len(theta), len(points)), np.nan)

  def known(self, points: Points) -> np.ndarray:
    return self.optima(points, points.loss).compute

  def exponents(self, theta: np.ndarray, cost: Cost) -> Named:
    return {'a': theta[:, 1], 'b': theta[:, 3]}

  def optimum(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> tuple[np.ndarray, np.ndarray]:
    n, a, d, b = theta.T[:4, :, None]
    c = np.log(compute)
    return np.exp(n + a * c), np.exp(d + b * c)

  def frontier(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> np.ndarray:
    return self.curves(theta, compute)['loss']

  def text(self, parameters: dict[str, float]) -> str:
    text = 'N* = {k_N:.4g} C^{a:.4f}, D* = {k_D:.4g} C^{b:.4f}'
    if np.isfinite(parameters['E']):
      text += ', L* = {E:.4g} + {A:.4g} / C^{gamma:.4f}'
    return text.format(**parameters)


def through(optima: Optima) -> np.ndarray:
  """The lines and the power law through optima, [7].

  NaN for one size or none, the power law's for fewer than three optima.
  """
  if len(np.unique(optima.params)) < 2:
    return np.full(COORDINATES, np.nan)
  c, n, d = np.log(optima[:3])
  design = np.stack([np.ones_like(c), c], axis=1)
  found = np.linalg.lstsq(design, np.stack([n, d], axis=1), rcond=None)[0]
  return np.append(found.T, floored.fit(optima.compute, optima.loss))


def _nearest(again: Optima, found: Optima) -> dict[str, float]:
  """The optimum nearest to the largest found, over it; NaN if none is."""
  if not len(again.compute):
    return {'params': np.nan, 'loss': np.nan}
  i = np.abs(np.log(again.compute / found.compute[-1])).argmin()
  return {
    'params': again.params[i] / found.params[-1],
    'loss': again.loss[i] / found.loss[-1],
  }


def _warnings(count: int, theta: np.ndarray) -> tuple[str, ...]:
  """What a reader should know of curves through `count` optima."""
  if count == 2:
    return (
      'two optima: the lines meet them exactly, and no floor of the loss is '
      'known',
    )
  floor, fall, _ = theta[4:]
  exact = ('three optima: L* meets them exactly',) if count == 3 else ()
  if fall == 0:
    return (*exact, 'L* does not fall with compute: A = 0')
  return (*exact, 'L* shows no floor: E = 0') if floor == 0 else exact
