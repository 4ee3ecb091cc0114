"""Floored: a power law with a floor through a handful of points."""

import numpy as np
from scipy import optimize

_STEEPEST = 3.0
_EXPONENTS = np.geomspace(1e-3, _STEEPEST, 60)


def fit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """(E, A, γ) of y = E + A x^−γ, none of them negative.

  Minimises the squares of relative residuals, which are those of ln y to first
  order. For a given γ both E and A follow in closed form, so that one dimension
  is left to search (variable projection, Golub and Pereyra 1973).

  Args:
    x: Positive.
    y: Positive.

  Returns:
    NaN for fewer than three different x.
  """
  if len(np.unique(x)) < 3:
    return np.full(3, np.nan)
  along = np.log(x) - np.log(x).mean()
  squares = _project(_EXPONENTS, along, y)[0]
  best = int(np.argmin(squares))
  around = _EXPONENTS[[max(best - 1, 0), min(best + 1, len(squares) - 1)]]
  found = optimize.minimize_scalar(
    lambda g: _project(np.exp([g]), along, y)[0][0],
    bounds=np.log(around),
    method='bounded',
    options={'xatol': 1e-10},
  )
  exponent = np.exp([float(found.x)])
  _, floor, fall = _project(exponent, along, y)
  scale = np.exp(exponent[0] * np.log(x).mean())
  return np.array([floor[0], fall[0] * scale, exponent[0]])


def _project(exponents: np.ndarray, along: np.ndarray, y: np.ndarray):
  """Squares left, E and A of each exponent, [exponents] each."""
  level, power = 1 / y, np.exp(-np.outer(exponents, along)) / y
  # With two columns, non-negative least squares are the free ones or an edge.
  ll, lp, pp = level @ level, power @ level, (power**2).sum(axis=1)
  l1, p1 = level.sum(), power.sum(axis=1)
  with np.errstate(divide='ignore', invalid='ignore'):
    floor = (l1 * pp - p1 * lp) / (ll * pp - lp**2)
  floor = np.clip(np.nan_to_num(floor), 0, l1 / ll)
  fall = np.maximum(p1 - floor * lp, 0) / pp
  left = 1 - floor[:, None] * level - fall[:, None] * power
  return (left**2).sum(axis=1), floor, fall
