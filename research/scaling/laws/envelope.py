"""Envelope: the run that is best at each compute, along training curves."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from research.scaling.laws.allocation import (
  COORDINATES,
  Allocation,
  Optima,
  through,
)
from research.scaling.points import Points

if TYPE_CHECKING:
  from research.scaling.fit import Fit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Envelope(Allocation):
  """The allocation along the minimum over training curves.

  Approach 1 of Hoffmann et al. 2022 (sec. 3.1). Points are evaluations along
  training; those of one size and budget are one curve, joined by straight
  lines of ln L over ln C. At each of `values` compute values, evenly spaced in
  log C, the curve of least loss gives N* and D*.

  Where the smallest or the largest size is best, one beyond the grid might be
  better. Which sizes won is chance, and to leave out just what the ends have
  won keeps the lucky winners next to them, which flattens the line: it moved a
  by 1.5 of its deviations (BUILD.md). So compute decides: left out is where the
  line through the other winners comes as near to an end of the grid as they
  scatter about it.

  Attributes:
    values: How many compute values.
  """

  name: ClassVar[str] = 'envelope'
  values: int = 1500
  of_cells: ClassVar[str] = 'it knows the best cells only; ask by --compute'

  @property
  def least(self) -> int:
    return 6  # Three sizes with two evaluations each.

  def optima(self, points: Points, loss: np.ndarray) -> Optima:
    curves = _curves(points)
    compute = np.geomspace(points.flops.min(), points.flops.max(), self.values)
    losses, tokens = (
      np.array([_along(points, column, curve, compute) for curve in curves])
      for column in (loss, points.tokens)
    )
    sizes = points.params[[curve[0] for curve in curves]]
    tried = np.asarray(np.isfinite(losses).any(axis=0))
    best = np.argmin(np.where(np.isfinite(losses), losses, np.inf), axis=0)
    n = sizes[best]
    inner = tried & _inner(np.log(compute), np.log(n), tried)
    d, least = (x[best, np.arange(self.values)] for x in (tokens, losses))
    return Optima(compute[inner], n[inner], d[inner], least[inner])

  def held_out(self, points: Points) -> tuple[np.ndarray, np.ndarray] | None:
    """What two thirds of the largest optimum's compute had bought, and all."""
    found = self.optima(points, points.loss)
    if not len(found.compute):
      return None
    before = points.flops < found.compute[-1] / 1.5
    return (before, np.ones_like(before)) if before.any() else None

  def luck(self, before: 'Fit', held: Points) -> list[dict[str, float]]:
    """By how much optima miss the curves through them, drawn anew."""
    seen = self.optima(before.points, before.points.loss)
    if not len(seen.compute):
      return []
    expected = self.curves(before.theta, seen.compute)
    rng = np.random.default_rng(before.seed + 1)
    drawn = rng.integers(len(seen.compute), size=len(before.samples))
    return [
      {
        name: getattr(seen, name)[i] / value[0, i]
        for name, value in expected.items()
      }
      for i in drawn
    ]

  def faults(self, points: Points) -> list[str]:
    sizes = len(np.unique(self.optima(points, points.loss).params))
    if sizes >= 2:
      return []
    return [
      f'{sizes} sizes are best where neither the smallest nor the largest may '
      'be: the envelope needs two'
    ]

  def resample(
    self, points: Points, theta: np.ndarray, count: int, seed: int
  ) -> np.ndarray:
    """Fits of curves drawn with replacement: a curve's noise is its own."""
    rng = np.random.default_rng(seed)
    curves = _curves(points)
    fits = []
    for _ in range(count):
      drawn = np.unique(rng.integers(len(curves), size=len(curves)))
      some = points.take(np.concatenate([curves[i] for i in drawn]))
      fits.append(through(self.optima(some, some.loss)))
    return np.array(fits).reshape(-1, COORDINATES)

  def leverage(self, theta: np.ndarray, points: Points) -> np.ndarray:
    return np.ones(len(points))

  def fitted(self, theta: np.ndarray, points: Points) -> np.ndarray:
    return points.loss

  def details(self, points: Points) -> list[dict[str, Any]]:
    """One entry a size on the envelope: from which compute to which."""
    found = self.optima(points, points.loss)
    sizes = np.unique(found.params)
    spans = [found.compute[found.params == n][[0, -1]].tolist() for n in sizes]
    return [
      {'params': float(n), 'compute': span}
      for n, span in zip(sizes, spans, strict=True)
    ]


def _curves(points: Points) -> list[np.ndarray]:
  """Indices of each curve's points, in order of compute."""
  budgets = np.nan_to_num(points.budget, nan=-1)
  keys = np.stack([points.params, budgets], axis=1)
  which = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
  order = np.lexsort((points.flops, which))
  starts = np.flatnonzero(np.diff(which[order])) + 1
  return np.split(order, starts)


def _inner(x: np.ndarray, y: np.ndarray, tried: np.ndarray) -> np.ndarray:
  """Where the best ln N, `y`, is safe from the ends of the grid, by ln C."""
  low, high = y[tried].min(), y[tried].max()
  inner = tried & (y > low) & (y < high)
  for _ in range(2):
    # The line through what is left tells better what to leave.
    if len(np.unique(y[inner])) < 2:
      break
    line = np.polyval(np.polyfit(x[inner], y[inner], 1), x)
    scatter = np.sqrt(np.mean((y[inner] - line[inner]) ** 2))
    inner = tried & (line > low + scatter) & (line < high - scatter)
  return inner


def _along(
  points: Points, column: np.ndarray, curve: np.ndarray, compute: np.ndarray
) -> np.ndarray:
  """A column along one curve at each compute; NaN beyond its ends."""
  c, y = np.log(points.flops[curve]), np.log(column[curve])
  return np.exp(np.interp(np.log(compute), c, y, left=np.nan, right=np.nan))
