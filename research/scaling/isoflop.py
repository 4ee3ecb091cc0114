"""IsoFLOP curves: for one budget, the loss over sizes and its minimum."""

import dataclasses
from typing import cast

import numpy as np
from numpy.typing import ArrayLike
import pandas as pd

from research.scaling import frontier

_FAR = 700.0
"""A parabola that is all but straight has its minimum beyond any float."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parabola:
  """Least squares of loss on log N and its square, at one budget.

  Chinchilla's approach 2 (Hoffmann et al. 2022, sec. 3.2).

  Attributes:
    coefficients: Of 1, z and z², where z = ln N − `centre`.
    centre: Mean of ln N over the points.
    smallest: Smallest N among the points.
    largest: Largest N among the points.
    points: Number of points.
    residual: Root mean square of what the parabola leaves, in the loss's
      unit; None for three points, which it meets exactly.
  """

  coefficients: tuple[float, float, float]
  centre: float
  smallest: float
  largest: float
  points: int
  residual: float | None

  def __call__(self, params: ArrayLike) -> np.ndarray:
    """Loss at each size."""
    z = np.log(np.asarray(params, float)) - self.centre
    loss = np.polynomial.polynomial.polyval(z, self.coefficients)
    return np.asarray(loss)

  @property
  def convex(self) -> bool:
    return self.coefficients[2] > 0

  @property
  def params(self) -> float | None:
    """The size of least loss, N*; None if the parabola has no minimum."""
    if not self.convex:
      return None
    _, slope, curvature = self.coefficients
    z = self.centre - slope / (2 * curvature)
    return float(np.exp(np.clip(z, -_FAR, _FAR)))

  @property
  def loss(self) -> float | None:
    """The loss at `params`."""
    if not self.convex:
      return None
    level, slope, curvature = self.coefficients
    return level - slope**2 / (4 * curvature)

  @property
  def inside(self) -> bool:
    """Whether the minimum lies strictly between the sizes that were tried."""
    n = self.params
    return n is not None and self.smallest < n < self.largest

  @property
  def verdict(self) -> str:
    """One of: inside, not convex, below the grid, above the grid."""
    n = self.params
    if n is None:
      return 'not convex'
    if self.inside:
      return 'inside'
    return 'below the grid' if n <= self.smallest else 'above the grid'


def fit(
  params: ArrayLike, loss: ArrayLike, stderr: ArrayLike | None = None
) -> Parabola:
  """The parabola through one budget's points.

  Losses that are not finite are left out. The parabola is symmetric in log N
  and loss curves are not quite: on the published points of Porian et al. 2024
  its exponents of N*(C) lie within .075 of those of their interpolation.

  Args:
    params: Sizes N, of any kind that is counted alike for all.
    loss: Loss or bits per byte of each.
    stderr: Standard errors; the squares are weighted by 1/stderr² when every
      one is positive and finite, equally otherwise.

  Raises:
    ValueError: fewer than three different sizes.
  """
  x, y = np.log(np.asarray(params, float)), np.asarray(loss, float)
  there = np.isfinite(y)
  x, y = x[there], y[there]
  if len(np.unique(x)) < 3:
    raise ValueError(
      f'a parabola needs three different sizes, not {len(np.unique(x))}'
    )
  weights = np.ones_like(y)
  if stderr is not None:
    errors = np.asarray(stderr, float)[there]
    if (np.isfinite(errors) & (errors > 0)).all():
      weights = 1 / errors
  z = x - x.mean()
  design = np.stack([np.ones_like(z), z, z**2], axis=1)
  scaled = design * weights[:, None]
  solution = np.linalg.lstsq(scaled, y * weights, rcond=None)[0]
  level, slope, curvature = (float(c) for c in solution)
  misfit = y - design @ solution
  free = len(y) - 3
  return Parabola(
    coefficients=(level, slope, curvature),
    centre=float(x.mean()),
    smallest=float(np.exp(x.min())),
    largest=float(np.exp(x.max())),
    points=len(y),
    residual=float(np.sqrt((misfit**2).mean())) if free else None,
  )


def curves(
  frame: pd.DataFrame,
  metric: str = 'bits_per_byte',
  task: str = 'yardstick',
  domain: str = 'all',
  size: str = 'params',
  weighted: bool = False,
) -> dict[tuple[str, float], tuple[pd.DataFrame, Parabola | None]]:
  """Points and parabola of every (architecture, budget) of a results table.

  Seeds are averaged; of cells that differ in a swept field the best stands
  for its size. The parabola is None where fewer than three sizes have run.
  """
  rows = frontier.final(frontier.ladder(frame), task, metric, domain)
  cells = frontier.best_by(
    frontier.over_seeds(rows), 'architecture', 'budget', size
  )
  fits = {}
  for name, mine in cells.groupby('architecture', sort=False):
    for budget, points in mine.groupby('budget'):
      points = points.sort_values(by=size).reset_index(drop=True)
      parabola = None
      if len(set(points[size])) >= 3:
        errors = points['stderr'] if weighted else None
        parabola = fit(points[size], points['value'], errors)
      fits[str(name), float(cast(float, budget))] = points, parabola
  return fits


def minima(
  frame: pd.DataFrame,
  metric: str = 'bits_per_byte',
  task: str = 'yardstick',
  domain: str = 'all',
  size: str = 'params',
  weighted: bool = False,
) -> pd.DataFrame:
  """The minimum of each isoFLOP curve of a results table.

  Returns:
    One row an (architecture, budget): the number of `points`, the `best` size
    that was tried, `params` (N*) and `loss` at the minimum (NaN where there
    is none), `residual`, `convex`, `inside`, and the `verdict` in words: that
    of `Parabola.verdict`, or `too few sizes`.
  """
  fits = curves(frame, metric, task, domain, size, weighted)
  rows = [
    {
      'architecture': architecture,
      'budget': budget,
      'points': len(points),
      'best': points.sort_values(by='value')[size].iloc[0],
      **_minimum(parabola),
    }
    for (architecture, budget), (points, parabola) in fits.items()
  ]
  table = pd.DataFrame(rows, columns=list(_MINIMA))
  return table.astype(_MINIMA)


_MINIMA = {
  'architecture': object,
  'budget': float,
  'points': int,
  'best': float,
  'params': float,
  'loss': float,
  'residual': float,
  'convex': bool,
  'inside': bool,
  'verdict': object,
}


def _minimum(parabola: Parabola | None) -> dict[str, object]:
  if parabola is None:
    return {'convex': False, 'inside': False, 'verdict': 'too few sizes'}
  names = ('params', 'loss', 'residual', 'convex', 'inside', 'verdict')
  return {name: getattr(parabola, name) for name in names}
