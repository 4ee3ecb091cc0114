"""Akima: the minimum of an isoFLOP curve by interpolation, without a form.

Porian et al. 2024 (appendix) interpolate log loss over log N with Akima's
splines, which follow lopsided curves where a parabola does not.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike
from scipy import interpolate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Akima:
  """Akima's spline of log loss over log N at one budget.

  Attributes:
    spline: ln loss as a piecewise cubic of ln N.
    smallest: Smallest N among the points.
    largest: Largest N among the points.
    points: Number of different sizes.
    params: The size of least loss, N*, an end of the grid if it lies there.
  """

  spline: interpolate.Akima1DInterpolator = dataclasses.field(repr=False)
  smallest: float
  largest: float
  points: int
  params: float

  def __call__(self, params: ArrayLike) -> np.ndarray:
    """Loss at each size; NaN outside the grid."""
    return np.asarray(np.exp(self.spline(np.log(np.asarray(params, float)))))

  @property
  def loss(self) -> float:
    """The loss at `params`."""
    return float(self(self.params))

  @property
  def inside(self) -> bool:
    """Whether the minimum lies strictly between the sizes that were tried."""
    return self.smallest < self.params < self.largest

  @property
  def verdict(self) -> str:
    """One of: inside, below the grid, above the grid."""
    if self.inside:
      return 'inside'
    below = self.params <= self.smallest
    return 'below the grid' if below else 'above the grid'


def fit(params: ArrayLike, loss: ArrayLike) -> Akima:
  """Akima's spline through one budget's points.

  Of points of one size the lowest loss stands for it; losses that are not
  finite are left out. The minimum is exact: the least of the spline's
  stationary points and its ends.

  Args:
    params: Sizes N.
    loss: Positive loss of each.

  Raises:
    ValueError: fewer than three different sizes.
  """
  params, loss = np.asarray(params, float), np.asarray(loss, float)
  there = np.isfinite(loss)
  sizes, which = np.unique(params[there], return_inverse=True)
  if len(sizes) < 3:
    raise ValueError(
      f'a curve with a minimum needs three different sizes, not {len(sizes)}'
    )
  lowest = np.full(len(sizes), np.inf)
  np.minimum.at(lowest, which, loss[there])
  x = np.log(sizes)
  spline = interpolate.Akima1DInterpolator(x, np.log(lowest))
  roots = spline.derivative().roots(extrapolate=False)
  # The knots are among the candidates: a flat stretch has no root of its own.
  candidates = np.concatenate([x, roots[np.isfinite(roots)]])
  best = int(np.argmin(spline(candidates)))
  ends = {0: sizes[0], len(sizes) - 1: sizes[-1]}
  return Akima(
    spline=spline,
    smallest=float(sizes[0]),
    largest=float(sizes[-1]),
    points=len(sizes),
    params=float(ends.get(best, np.exp(candidates[best]))),
  )
