"""Descent: one smooth law, many starts or many resamples, all at once."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Coordinates [fits, k] to values [fits, n] and gradients [fits, n, k]."""

AT_REST = 1e-6
"""A fit is at rest where the points' pulls on every coordinate cancel to this
share of their sum of magnitudes."""

_STILL = 1e-10
"""Share at which descent stops."""

_EXACT = 1e-12
"""Root mean square residual below which only rounding is left to minimise."""


class Objective(NamedTuple):
  """What is minimised: the weighted sum over points of ρ(residual).

  Attributes:
    delta: ρ is r²/2 up to here and delta·(|r| − delta/2) beyond (Huber 1964);
      None: r²/2 everywhere.
    space: `log`: residuals are differences of ln loss; `linear`: of loss.
  """

  delta: float | None
  space: str

  @property
  def name(self) -> str:
    return 'least squares' if self.delta is None else 'huber'

  def target(self, loss: np.ndarray) -> np.ndarray:
    """Losses as the objective compares them."""
    return np.log(loss) if self.space == 'log' else loss


class Minima(NamedTuple):
  """Where each start came to rest.

  Attributes:
    theta: Coordinates, [fits, k].
    value: Objective, [fits]: the sum over points, never the mean.
    gradient: Largest component of the projected gradient, [fits].
    imbalance: The same as a share of the points' pulls, [fits]; 1 where they
      do not cancel at all, 0 in an exact minimum and in an exact fit.
  """

  theta: np.ndarray
  value: np.ndarray
  gradient: np.ndarray
  imbalance: np.ndarray

  @property
  def at_rest(self) -> np.ndarray:
    """Which have come to rest, [fits]."""
    return self.imbalance <= AT_REST


def rho(residual: np.ndarray, delta: float | None) -> np.ndarray:
  """Half the square, or Huber's loss."""
  if delta is None:
    return residual**2 / 2
  size = np.abs(residual)
  return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


def descend(
  evaluate: Evaluate,
  target: np.ndarray,
  weight: np.ndarray,
  starts: np.ndarray,
  *,
  delta: float | None,
  bounds: tuple[np.ndarray, np.ndarray],
  steps: int = 200,
) -> Minima:
  """Minimises Σ weight · ρ(value − target) from every start, within bounds.

  Newton steps with the residuals' own curvature left out, and damped by the
  matrix of iteratively reweighted least squares, which bounds Huber's loss
  from above: λ → 0 is Gauss and Newton's step on the points inside delta, a
  large λ a short step of reweighting that cannot go wrong. (Levenberg 1944,
  Marquardt 1963; Holland and Welsch 1977 for the weights.)

  Args:
    evaluate: The law.
    target: [n], or [fits, n] if each fit has its own.
    weight: [n] or [fits, n].
    starts: [fits, k].
    delta: Of Huber's loss; None for least squares.
    bounds: Least and greatest value of each coordinate, [k] each.
    steps: At most this many.
  """
  theta = np.array(starts, float)
  shape = len(theta), target.shape[-1]
  target, weight = (
    np.broadcast_to(target, shape),
    np.broadcast_to(weight, shape),
  )
  value = np.full(len(theta), np.inf)
  gradient, imbalance = np.full((2, len(theta)), np.inf)
  damping = np.full(len(theta), 0.1)
  left = np.arange(len(theta))
  for step in range(steps + 1):
    here = theta[left]
    model, slopes = evaluate(here)
    residual, w = model - target[left], weight[left]
    value[left] = (w * rho(residual, delta)).sum(axis=1)
    slope, balance, matrices = _local(residual, w, slopes, delta, here, bounds)
    gradient[left], imbalance[left] = np.abs(slope).max(axis=1), balance
    moving = (balance > _STILL) & (damping[left] < 1e12)
    left = left[moving]
    if step == steps or not len(left):
      break
    newton, bound = (matrix[moving] for matrix in matrices)
    moved = _step(slope[moving], newton, bound, damping[left])
    new = np.clip(theta[left] + moved, *bounds)
    after = evaluate(new)[0] - target[left]
    better = (weight[left] * rho(after, delta)).sum(axis=1) <= value[left]
    theta[left] = np.where(better[:, None], new, theta[left])
    damping[left] *= np.where(better, 0.2, 6.0)
    damping[left] = np.maximum(damping[left], 1e-12)
  return Minima(theta, value, gradient, imbalance)


def _local(residual, w, slopes, delta, here, bounds):
  """Projected gradient, imbalance, and the two matrices of the step."""
  size = np.abs(residual)
  inside = (
    np.ones_like(size) if delta is None else (size <= delta).astype(float)
  )
  shrink = 1.0 if delta is None else delta / np.maximum(size, delta)
  pulled = (w * shrink)[..., None] * slopes
  slope = np.einsum('bnk,bn->bk', pulled, residual)
  pulls = np.einsum('bnk,bn->bk', np.abs(pulled), size)
  low, high = bounds
  held = ((here <= low) & (slope > 0)) | ((here >= high) & (slope < 0))
  slope = np.where(held, 0.0, slope)
  # A coordinate that moves nothing has no balance to find.
  floor = 1e-10 * pulls.max(axis=1, keepdims=True) + 1e-300
  balance = (np.abs(slope) / np.maximum(pulls, floor)).max(axis=1)
  square = (w * size**2).sum(axis=1) / w.sum(axis=1)
  balance = np.where(square < _EXACT**2, 0.0, balance)
  turned = np.swapaxes(slopes, 1, 2)
  bound = turned @ pulled
  newton = turned @ ((w * inside)[..., None] * slopes)
  keep = ~(held[:, :, None] | held[:, None, :])
  return slope, balance, (newton * keep, bound * keep)


def _step(slope, newton, bound, damping) -> np.ndarray:
  """Solves for the step of each fit, in scaled coordinates."""
  diagonal = np.einsum('bkk->bk', bound)
  least = 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
  scale = 1 / np.sqrt(np.maximum(diagonal, least))
  damp = damping[:, None, None]
  matrix = (newton + damp * bound) * scale[:, :, None] * scale[:, None, :]
  matrix += np.eye(slope.shape[1]) * (1e-10 + 1e-3 * damp)
  return -np.linalg.solve(matrix, (slope * scale)[..., None])[..., 0] * scale
