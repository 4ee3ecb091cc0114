"""IsoFLOP: the best size of each budget, and how it grows with compute."""

from collections.abc import Iterator
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from research.config import BadInput
from research.scaling import akima, isoflop
from research.scaling.laws.allocation import Allocation, Optima
from research.scaling.points import Points

if TYPE_CHECKING:
  from research.scaling.fit import Fit

_WRONG = {
  'too few sizes': 'fewer than three sizes',
  'not convex': 'the parabola is not convex',
  'below the grid': 'the minimum lies below the grid',
  'above the grid': 'the minimum lies above the grid',
}


class Minimum(NamedTuple):
  """The best cell of one budget, by the curve through its points.

  Attributes:
    budget: The points' common budget.
    curve: Through their losses; None for fewer than three sizes.
    params: N*; NaN unless the minimum lies inside the grid.
    tokens: D*.
    compute: C*.
    loss: L*.
  """

  budget: float
  curve: isoflop.Parabola | akima.Akima | None
  params: float = np.nan
  tokens: float = np.nan
  compute: float = np.nan
  loss: float = np.nan

  @property
  def verdict(self) -> str:
    return 'too few sizes' if self.curve is None else self.curve.verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsoFlop(Allocation):
  """The allocation through the minima of isoFLOP curves.

  Approach 2 of Hoffmann et al. 2022 (sec. 3.2): each budget has a curve of loss
  over log N (or log D). Biased where the grid's centre drifts from the optimum
  as the budget grows, since a parabola is symmetric and the curves are not.

  Attributes:
    over: What the curves run over.
    curve: `parabola`, or `akima` for Akima's interpolation (Porian et al.
      2024), which need not be symmetric and does not smooth.
  """

  name: ClassVar[str] = 'isoflop'
  over: Literal['params', 'tokens'] = 'params'
  curve: Literal['parabola', 'akima'] = 'parabola'
  of_cells: ClassVar[str] = (
    'its curves are of its own budgets; --compute asks for the best of another'
  )

  @property
  def columns(self) -> tuple[str, ...]:
    return ('params', 'tokens', 'budget')

  @property
  def inputs(self) -> tuple[str, ...]:
    return ('params', 'tokens')

  @property
  def least(self) -> int:
    return 6  # Three sizes at each of two budgets.

  def optima(self, points: Points, loss: np.ndarray) -> Optima:
    rows = [
      (m.compute, m.params, m.tokens, m.loss)
      for m in self.minima(points, loss)
      if m.verdict == 'inside'
    ]
    return Optima(*np.array(rows).reshape(-1, 4).T)

  def faults(self, points: Points) -> list[str]:
    return [
      f'budget {m.budget:.3g}: {_WRONG[m.verdict]}'
      for m in self.minima(points, points.loss)
      if m.verdict != 'inside'
    ]

  def minima(self, points: Points, loss: np.ndarray) -> list[Minimum]:
    """The minimum of each budget, were the losses these; ascending."""
    return [
      self._minimum(points.take(mine), loss[mine]) for mine in _budgets(points)
    ]

  def losses(self, fit: 'Fit', where: Points) -> tuple[np.ndarray, np.ndarray]:
    """Those of the budgets' curves; NaN at cells of no budget.

    A cell is of a budget whose points' FLOPs it has, to one in a hundred.
    """
    points, count = fit.points, len(fit.samples)
    again = self.imagined(points, fit.solution.theta, count, fit.seed)
    value = np.full((1 + len(again), len(where)), np.nan)
    for mine in _budgets(points):
      own, x = points.take(mine), getattr(where, self.over)
      near = where.flops > own.flops.min() / 1.01
      near &= where.flops < own.flops.max() * 1.01
      for i, loss in enumerate([points.loss, *again] if near.any() else []):
        curve = self._minimum(own, loss[mine]).curve
        value[i, near] = np.nan if curve is None else curve(x[near])
    return value[0], value[1:]

  def fitted(self, theta: np.ndarray, points: Points) -> np.ndarray:
    """What parabolas say, for Akima's curve too: it leaves no residual."""
    values = np.array(points.loss)
    for mine in _budgets(points):
      x = getattr(points, self.over)[mine]
      if len(np.unique(x)) >= 3:
        values[mine] = isoflop.fit(x, points.loss[mine])(x)
    return values

  def leverage(self, theta: np.ndarray, points: Points) -> np.ndarray:
    values = np.ones(len(points))
    for mine in _budgets(points):
      x = np.log(getattr(points, self.over)[mine])
      if len(np.unique(x)) >= 3:
        q = np.linalg.qr(np.vander(x - x.mean(), 3))[0]
        values[mine] = (q**2).sum(axis=1)
    return values

  def details(self, points: Points) -> list[dict[str, Any]]:
    """One entry a budget: its minimum and verdict."""
    return [
      {
        **{k: v for k, v in m._asdict().items() if k != 'curve'},
        'verdict': m.verdict,
      }
      for m in self.minima(points, points.loss)
    ]

  def _minimum(self, mine: Points, loss: np.ndarray) -> Minimum:
    budget, x = float(mine.budget[0]), getattr(mine, self.over)
    if len(np.unique(x)) < 3:
      return Minimum(budget, None)
    make = isoflop.fit if self.curve == 'parabola' else akima.fit
    curve = make(x, loss)
    if not curve.inside or curve.params is None or curve.loss is None:
      return Minimum(budget, curve)
    n, d, c = (
      _between(x, y, curve.params)
      for y in (mine.params, mine.tokens, mine.flops)
    )
    return Minimum(budget, curve, n, d, c, curve.loss)


def _budgets(points: Points) -> Iterator[np.ndarray]:
  """The mask of each budget's points, ascending."""
  if np.isnan(points.budget).any():
    raise BadInput("law=isoflop needs the column 'budget' at every point")
  for budget in np.unique(points.budget):
    yield points.budget == budget


def _between(x: np.ndarray, y: np.ndarray, at: float) -> float:
  """The y at x = `at`, along straight lines in logarithms."""
  order = np.argsort(x, kind='stable')
  return float(np.exp(np.interp(np.log(at), *np.log([x[order], y[order]]))))
