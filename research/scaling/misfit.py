"""Misfit: whether a law leaves more than the noise of its points allows."""

import numpy as np
from scipy import stats

from research.scaling.points import Points

LEVEL = 0.01
"""Noise alone leads to a warning this often."""


def warning(
  points: Points, fitted: np.ndarray, leverage: np.ndarray
) -> str | None:
  """The warning of a lack of fit; None where there is none, or no telling.

  Where points have errors, their squared residuals over them are χ² on as many
  degrees of freedom as the fit leaves. Else, where cells are repeated (equal in
  every column but the loss), what the cells' means leave is set against the
  spread within cells (the F test of lack of fit; Draper and Smith 1998, sec.
  2.1). Residuals are of ln loss, those of Huber's fit a little larger than
  least squares would leave.

  Args:
    points: What the law was fitted to.
    fitted: What the law gives them, [n].
    leverage: How much of its own noise each fitted value follows, [n].
  """
  used = (points.weight > 0) & np.isfinite(fitted)
  residual = np.log(points.loss[used] / fitted[used])
  error = (points.stderr / points.loss)[used]
  leverage, cells = leverage[used], _cells(points.take(used))
  known = error > 0  # NaN is not.
  if known.any():
    free = float((1 - leverage[known]).sum())
    squares = float(((residual[known] / error[known]) ** 2).sum())
    return _chi_square(squares, free)
  means = np.bincount(cells, residual) / np.bincount(cells)
  within = float(((residual - means[cells]) ** 2).sum())
  between = float((means[cells] ** 2).sum())
  repeats = len(residual) - len(means)
  return _f(between, len(means) - float(leverage.sum()), within, repeats)


def _cells(points: Points) -> np.ndarray:
  """The number of each point's cell, [n]."""
  names = ('params', 'tokens', 'flops', 'budget', 'unique_tokens')
  columns = [np.nan_to_num(getattr(points, name)) for name in names]
  return np.unique(np.stack(columns), axis=1, return_inverse=True)[1].ravel()


def _chi_square(squares: float, free: float) -> str | None:
  if free < 1 or (p := stats.chi2.sf(squares, free)) >= LEVEL:
    return None
  return (
    f'lack of fit: residuals are {np.sqrt(squares / free):.2g} times what the '
    f"points' errors allow (χ² p = {p:.1g}); the law lacks something, or the "
    'errors do'
  )


def _f(between: float, free: float, within: float, repeats: int) -> str | None:
  if free < 1 or repeats < 1 or not within > 0:
    return None
  ratio = between / free / (within / repeats)
  if (p := stats.f.sf(ratio, free, repeats)) >= LEVEL:
    return None
  return (
    f'lack of fit: cells miss the law by {np.sqrt(ratio):.2g} times what their '
    f'repetitions allow (F test, p = {p:.1g}); the law lacks something'
  )
