"""Law: what every scaling law says of itself, and how curves are solved."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from research.scaling import backtest, bootstrap, descent
from research.scaling.certificate import Certificate, certify
from research.scaling.cost import Cost
from research.scaling.points import Points, at, from_frame

if TYPE_CHECKING:
  from research.scaling.fit import Fit

Named = dict[str, np.ndarray]
"""Parameters or exponents by name, one value a fit, [fits]."""


class Solution(NamedTuple):
  """A law fitted to points once.

  Attributes:
    theta: Coordinates of the best minimum, [coordinates].
    value: The objective there.
    certificate: Why it can be trusted, or why not.
  """

  theta: np.ndarray
  value: float
  certificate: Certificate


class Alternative(NamedTuple):
  """A law fitted once more, by another method.

  Attributes:
    method: Its name.
    theta: Coordinates, [coordinates].
    value: What it minimised.
    condition: Condition number of the curvature that it searched.
  """

  method: str
  theta: np.ndarray
  value: float
  condition: float


class Law(abc.ABC):
  """A formula that can be fitted to points and asked for others.

  Coordinates `theta`, [fits, coordinates], are what is solved for; parameters
  are what the paper prints. All functions take many fits at once.

  Attributes:
    name: What `--law` calls it.
    columns: Columns of `Points` that it needs.
    inputs: Those that it needs where its loss is asked for.
    of_cells: Why it may not know the loss of a cell.
    of_compute: Why it may not know the loss that a compute buys.
  """

  name: ClassVar[str]
  of_cells: ClassVar[str] = 'the loss is not finite there'
  of_compute: ClassVar[str] = 'it knows no best cell of a compute'

  @property
  def columns(self) -> tuple[str, ...]:
    return ('params', 'tokens')

  @property
  def inputs(self) -> tuple[str, ...]:
    return self.columns

  def read(self, table: pd.DataFrame, where: str) -> tuple['Law', Points]:
    """The law, and the points of a table that it is fitted to.

    Args:
      table: One row a point.
      where: What an error calls it.

    Raises:
      BadInput: A column is missing, or a value is missing or out of range.
    """
    return self, from_frame(table, where)

  @property
  @abc.abstractmethod
  def objective(self) -> descent.Objective:
    """What is minimised."""

  @property
  @abc.abstractmethod
  def least(self) -> int:
    """The number of different points that it needs."""

  @abc.abstractmethod
  def solve(self, points: Points, starts: int, seed: int) -> Solution:
    """The best fit, with its certificate."""

  @abc.abstractmethod
  def again(
    self,
    points: Points,
    theta: np.ndarray,
    loss: np.ndarray,
  ) -> np.ndarray:
    """Fits of other losses at the same points, warm from `theta`.

    Args:
      points: Where; [n].
      theta: The fit of the points' own losses, [coordinates].
      loss: Losses of each fit, [fits, n].

    Returns:
      Coordinates, [fits, coordinates]; NaN where there is no fit.
    """

  def resample(
    self, points: Points, theta: np.ndarray, count: int, seed: int
  ) -> np.ndarray:
    """Fits of `count` imagined repetitions, [fits, coordinates].

    No fits where neither residuals nor errors tell of the noise.
    """
    losses = self.imagined(points, theta, count, seed)
    blocks = [losses[i : i + 250] for i in range(0, len(losses), 250)]
    fits = [self.again(points, theta, block) for block in blocks]
    return np.concatenate([np.empty((0, len(theta))), *fits])

  def imagined(
    self, points: Points, theta: np.ndarray, count: int, seed: int
  ) -> np.ndarray:
    """Losses of `count` repetitions, [count, n]; [0, n] without noise."""
    noise = self.noise(points, theta)
    if noise is None:
      return np.empty((0, len(points)))
    return bootstrap.losses(noise, self.fitted(theta, points), count, seed)

  def noise(self, points: Points, theta: np.ndarray) -> bootstrap.Noise | None:
    """What the fit leaves of its points; None if it leaves nothing."""
    leverage = self.leverage(theta, points)
    return bootstrap.noise(points, self.fitted(theta, points), leverage)

  def alternative(self, points: Points) -> 'Alternative | None':
    """The same law by another method, to be compared; None if there is none."""
    del points
    return None

  def held_out(self, points: Points) -> tuple[np.ndarray, np.ndarray] | None:
    """Masks of what a backtest fits and of what it compares with."""
    return backtest.split(points)

  def backtest(self, before: 'Fit', held: Points) -> list[dict[str, Any]]:
    """The held-out points beside what a fit of the others says of them."""
    return backtest.losses(before, held)

  @abc.abstractmethod
  def parameters(self, theta: np.ndarray) -> Named:
    """The parameters that the paper prints."""

  @abc.abstractmethod
  def loss(self, theta: np.ndarray, points: Points) -> np.ndarray:
    """The law's loss, [fits, n]."""

  def losses(self, fit: 'Fit', where: Points) -> tuple[np.ndarray, np.ndarray]:
    """A fit's loss, [n], and those of its bootstrap, [bootstrap, n]."""
    return self.loss(fit.theta, where)[0], self.loss(fit.samples, where)

  def fitted(self, theta: np.ndarray, points: Points) -> np.ndarray:
    """The loss that the fit gives its own points, [n]; NaN where none."""
    return self.loss(theta[None], points)[0]

  def known(self, points: Points) -> np.ndarray:
    """Computes at which points tell the best loss, [any]."""
    return points.flops

  @abc.abstractmethod
  def leverage(self, theta: np.ndarray, points: Points) -> np.ndarray:
    """How much of a point's own noise its fitted loss follows, [n]."""

  def details(self, points: Points) -> list[dict[str, Any]]:
    """What the law found on its way, for fit.json."""
    del points
    return []

  def exponents(self, theta: np.ndarray, cost: Cost) -> Named:
    """`a` and `b` of N* ∝ C^a, D* ∝ C^b; empty where the law has none."""
    del theta, cost
    return {}

  def optimum(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> tuple[np.ndarray, np.ndarray] | None:
    """N*(C) and D*(C), each [fits, compute]; None where the law has none."""
    del theta, compute, cost
    return None

  def frontier(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> np.ndarray | None:
    """The loss that compute C buys, [fits, compute]; None if not known.

    NaN where the optimum lies beyond all bounds, as in a degenerate fit.
    """
    best = self.optimum(theta, compute, cost)
    if best is None:
      return None
    known = np.logical_and(*((0 < x) & (x < np.inf) for x in best))
    n, d = (np.where(known, x, 1.0) for x in best)
    return np.where(known, self.loss(theta, at(n, d)), np.nan)

  def accuracy(self, theta: np.ndarray, points: Points) -> np.ndarray | None:
    """Share of right answers, [fits, n]; None where the law has none."""
    del theta, points
    return None

  @abc.abstractmethod
  def text(self, parameters: dict[str, float]) -> str:
    """The formula with its numbers, in one line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve(Law):
  """A law with a gradient, fitted by descent from many starts.

  Attributes:
    delta: Where the Huber loss turns from square to line, in the objective's
      space; None for least squares.
    space: `log`: residuals are differences of ln loss; `linear`: of loss.
  """

  delta: float | None = 1e-3
  space: str = 'log'

  @property
  @abc.abstractmethod
  def coordinates(self) -> tuple[str, ...]:
    """Names of what is solved for."""

  @property
  def objective(self) -> descent.Objective:
    return descent.Objective(delta=self.delta, space=self.space)

  @property
  def least(self) -> int:
    return len(self.coordinates) + 1

  @abc.abstractmethod
  def evaluate(
    self, theta: np.ndarray, points: Points
  ) -> tuple[np.ndarray, np.ndarray]:
    """Value, [fits, n], and gradient, [fits, n, coordinates], in `space`."""

  @abc.abstractmethod
  def starts(self, points: Points, count: int, seed: int) -> np.ndarray:
    """About `count` places to begin, [starts, coordinates]."""

  def bounds(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each coordinate."""
    del points
    free = np.full(len(self.coordinates), np.inf)
    return -free, free

  def loss(self, theta: np.ndarray, points: Points) -> np.ndarray:
    value = self.evaluate(np.asarray(theta, float), points)[0]
    return np.exp(value) if self.space == 'log' else value

  def solve(self, points: Points, starts: int, seed: int) -> Solution:
    minima = self.descend(points, self.starts(points, starts, seed))
    best = int(np.nanargmin(minima.value))
    theta = minima.theta[best]
    certificate = certify(
      minima,
      self.parameters,
      self.coordinates,
      self.bounds(points),
      self.curvature(theta, points),
      too_few(points, self.columns, self.least),
    )
    return Solution(theta, float(minima.value[best]), certificate)

  def leverage(self, theta: np.ndarray, points: Points) -> np.ndarray:
    root = np.sqrt(points.weight)
    slopes = root[:, None] * self.evaluate(theta[None], points)[1][0]
    return (np.linalg.qr(slopes)[0] ** 2).sum(axis=1)

  def curvature(self, theta: np.ndarray, points: Points) -> np.ndarray:
    """Of the objective's quadratic part at one fit, [k, k]."""
    slopes = self.evaluate(theta[None], points)[1][0]
    return slopes.T @ (points.weight[:, None] * slopes)

  def again(
    self, points: Points, theta: np.ndarray, loss: np.ndarray
  ) -> np.ndarray:
    starts = np.repeat(theta[None], len(loss), axis=0)
    return self.descend(points, starts, loss).theta

  def descend(
    self,
    points: Points,
    starts: np.ndarray,
    loss: np.ndarray | None = None,
  ) -> descent.Minima:
    """Where each start comes to rest."""
    low, high = self.bounds(points)
    return descent.descend(
      lambda theta: self.evaluate(theta, points),
      self.objective.target(points.loss if loss is None else loss),
      points.weight,
      np.clip(starts, low, high),
      delta=self.delta,
      bounds=(low, high),
    )


def too_few(
  points: Points, columns: tuple[str, ...], least: int
) -> tuple[str, ...]:
  """The fault of fewer different points than the law needs, if it is so."""
  places = np.stack([getattr(points, name) for name in columns], axis=1)
  places = places[points.weight > 0]
  different = len(np.unique(places, axis=0))
  if different >= least:
    return ()
  return (
    f'{different} different points in {len(points)}: the law needs {least} '
    f'that differ in {" or ".join(columns)}',
  )
