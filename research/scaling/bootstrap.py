"""Bootstrap: what a fit would have been with other noise."""

import numpy as np

from research.scaling.laws.law import Law
from research.scaling.points import Points

LEVEL = 0.95


def losses(
  law: Law, points: Points, theta: np.ndarray, count: int, seed: int
) -> np.ndarray:
  """Losses of `count` imagined repetitions at the same points, [count, n].

  The fit's own residuals of ln loss, drawn anew for every point. They are
  widened by √(n / (n − k)): a fit of k coordinates leaves too little.

  Args:
    law: The law.
    points: What it was fitted to.
    theta: The fit's coordinates.
    count: Repetitions.
    seed: Of the drawing.
  """
  rng = np.random.default_rng(seed)
  fitted = np.log(law.fitted(theta, points))
  residual = np.log(points.loss) - fitted
  free = max(1, len(points) - len(theta))
  residual = (residual - residual.mean()) * np.sqrt(len(points) / free)
  drawn = rng.integers(len(points), size=(count, len(points)))
  return np.exp(fitted + residual[drawn])


def resample(
  law: Law, points: Points, theta: np.ndarray, count: int, seed: int
) -> np.ndarray:
  """Coordinates of the law fitted to each repetition, [count, k]."""
  loss = losses(law, points, theta, count, seed)
  blocks = range(0, count, 250)
  samples = [law.again(points, theta, loss[i : i + 250]) for i in blocks]
  return np.concatenate(samples) if samples else np.empty((0, len(theta)))


def interval(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The middle 95 % of samples along the first axis; NaN without samples."""
  if not len(samples):
    empty = np.full(samples.shape[1:], np.nan)
    return empty, empty
  tail = (1 - LEVEL) / 2
  # No mean of two samples is taken, since one may be infinite.
  low, high = np.nanquantile(
    samples, [tail, 1 - tail], axis=0, method='inverted_cdf'
  )
  return np.asarray(low), np.asarray(high)
