"""Bootstrap: what a fit would have been, had the noise fallen otherwise."""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from research.scaling.points import Points

LEVEL = 0.95


class Noise(NamedTuple):
  """By how much single losses differ from the law, in ln loss.

  Attributes:
    scale: Standard deviation at each point, [n].
    shape: Residuals of mean zero and standard deviation one, from which draws
      are made; empty where the fit leaves none.
    widening: What makes the middle 95 % of fits as wide as Student's interval
      for as few points.
  """

  scale: np.ndarray
  shape: np.ndarray
  widening: float

  def draw(
    self, rng: np.random.Generator, shape: tuple[int, ...]
  ) -> np.ndarray:
    """Deviations of standard deviation one, of any shape.

    A residual drawn at random and a normal one of Silverman's bandwidth, since
    Huber's fit passes through some points exactly: their zeros would be drawn
    too often (De Angelis, Hall and Young 1993 for least absolute deviations).
    """
    normal = rng.standard_normal(shape)
    if not len(self.shape):
      return normal
    width = 1.06 * len(self.shape) ** -0.2
    drawn = rng.choice(self.shape, size=shape)
    return (drawn + width * normal) / np.sqrt(1 + width**2)


def noise(
  points: Points, fitted: np.ndarray, leverage: np.ndarray
) -> Noise | None:
  """The noise that a fit's residuals and the points' own errors show.

  None where there are neither: a fit that follows every point, and points
  without errors.

  A residual is smaller than the noise, since the fit has followed it: by
  √(1 − leverage). A point's own standard error is a floor under its scale. A
  point without weight was not fitted and tells nothing of the noise.

  Args:
    points: What the law was fitted to.
    fitted: What the law gives them, [n].
    leverage: How much of its own noise each fitted value follows, [n].
  """
  used = points.weight > 0
  residual, leverage = np.log(points.loss / fitted)[used], leverage[used]
  own = np.nan_to_num(points.stderr / points.loss)
  free = len(residual) - round(float(leverage.sum()))
  if free < 1:
    return Noise(own, np.empty(0), 1.0) if own.any() else None
  residual = residual / np.sqrt(np.maximum(1 - leverage, 1 / len(residual)))
  residual = residual - residual.mean()
  scale = float(residual.std())
  upper = (1 + LEVEL) / 2
  widening = stats.t.ppf(upper, free) / stats.norm.ppf(upper)
  shape = residual / scale if scale > 0 else np.empty(0)
  return Noise(np.maximum(own, scale), shape, float(widening))


def losses(
  noise: Noise, fitted: np.ndarray, count: int, seed: int
) -> np.ndarray:
  """Losses of `count` imagined repetitions at the same points, [count, n]."""
  drawn = noise.draw(np.random.default_rng(seed), (count, len(fitted)))
  return fitted * np.exp(noise.widening * noise.scale * drawn)


def interval(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The middle 95 % of samples along the first axis; NaN without samples."""
  if not len(samples) or np.isnan(samples).all():
    empty = np.full(samples.shape[1:], np.nan)
    return empty, empty
  tail = (1 - LEVEL) / 2
  # No mean of two samples is taken, since one may be infinite.
  low, high = np.nanquantile(
    samples, [tail, 1 - tail], axis=0, method='inverted_cdf'
  )
  return np.asarray(low), np.asarray(high)


def ranged(value: float, samples: np.ndarray) -> dict[str, Any]:
  """A value with its standard error and interval; None without samples.

  Args:
    value: Of the best fit.
    samples: Of the bootstrap's fits, [fits]; NaN where there was no fit.
  """
  there = samples[~np.isnan(samples)]
  if len(there) < 2:
    return {'value': float(value), 'stderr': None, 'interval95': None}
  low, high = interval(there)
  finite = there[np.isfinite(there)]
  return {
    'value': float(value),
    'stderr': float(finite.std(ddof=1)) if len(finite) > 1 else None,
    'interval95': [float(low), float(high)],
  }
