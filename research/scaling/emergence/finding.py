"""A finding: what one metric's curve shows, whatever the other metrics say."""

import dataclasses
import math

import numpy as np
from scipy import stats

from research.scaling.emergence import laws, null
from research.scaling.emergence.curves import Curve

LEVEL = 0.025
"""Nominal level of every test."""

_CHI2 = float(stats.chi2.ppf(0.95, 1))

_SKETCH = 400
"""Replicates for the tests that only say which test comes next."""

FEWEST = 4
"""Sizes below which no law is fitted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
  """What a metric's curve shows.

  Attributes:
    curve: The curve.
    verdict: `not measurable` (every interval contains chance, or too few
      sizes), `noise` (no trend), `smooth`, `onset` (smooth, but it turns
      upwards, or leaves the floor only above a size) or `break` (a step that
      no smooth law of this grid can follow).
    sign: 1 for a curve that rises with scale, −1 for one that falls.
    hidden: How many of the smallest sizes cannot be told from the floor.
    turn: Number of the size from which the curve leaves the floor or turns.
    trend: A monotone law against none.
    step: The broken law against the smooth one.
    smooth: The smooth law, to draw.
    place: Scale of the step, the middle of its gap; None without a break.
    interval95: Between which scales it lies; None without a break.
  """

  curve: Curve
  verdict: str
  sign: float = 1.0
  hidden: int = 0
  turn: int | None = None
  trend: null.Ratio | None = None
  step: null.Ratio | None = None
  smooth: laws.Smooth | None = None
  place: float | None = None
  interval95: tuple[float, float] | None = None

  @property
  def name(self) -> str:
    return self.curve.metric.name

  @property
  def statistic(self) -> float | None:
    """Of the step where there is a trend, else of the trend."""
    test = self.step or self.trend
    return test and test.statistic

  @property
  def p_value(self) -> float | None:
    """Of the step where there is a trend, else of the trend."""
    test = self.step or self.trend
    return test and test.p_value


def find(curve: Curve, rng: np.random.Generator) -> Finding:
  """Tests one curve for chance, trend, step and turn, in this order."""
  if len(curve.scale) < FEWEST or at_chance(curve):
    return Finding(curve=curve, verdict='not measurable')
  x, value, error = curve.x, curve.value, curve.root
  trend = null.likelihood_ratio(
    value,
    error,
    laws.constant(x, error),
    laws.Monotone(x, error),
    rng,
    _SKETCH,
    loose=True,
  )
  if trend.p_value > LEVEL:
    flat = 'not measurable' if _too_few(curve, trend) else 'noise'
    return Finding(curve=curve, verdict=flat, trend=trend)
  fitted = trend.large.fitted[0]
  sign = 1.0 if fitted[-1] >= fitted[0] else -1.0
  smooth = laws.Smooth(x, error, sign)
  broken = laws.Broken(smooth, gaps(curve))
  # A step and its place.
  step = null.likelihood_ratio(value, error, smooth, broken, rng, added=2)
  known = {'curve': curve, 'sign': sign, 'trend': trend, 'step': step}
  known['smooth'] = smooth
  known['hidden'] = hidden = below_notice(curve)
  if step.p_value <= LEVEL:
    gap, low, high = _where(curve, broken, step)
    scale = curve.scale
    ends = sorted([float(scale[low]), float(scale[high + 1])])
    return Finding(
      **known,
      verdict='break',
      turn=gap,
      place=float(np.sqrt(scale[gap] * scale[gap + 1])),
      interval95=(ends[0], ends[1]),
    )
  turn = null.likelihood_ratio(
    value,
    error,
    laws.line(x, error),
    laws.corner(x, error, sign),
    rng,
    _SKETCH,
  )
  if turn.p_value <= LEVEL:
    corner = 1 + int(turn.large.place[0])
    return Finding(**known, verdict='onset', turn=max(corner, hidden - 1))
  if hidden > 1:
    return Finding(**known, verdict='onset', turn=hidden - 1)
  return Finding(**known, verdict='smooth')


def _too_few(curve: Curve, trend: null.Ratio) -> bool:
  """Whether not even perfect order of sizes that scatter would be a trend.

  n sizes rise or fall from end to end by chance in two of n! orders.
  """
  by_chance = 2 / math.factorial(min(len(curve.scale), 20))
  return trend.dispersion > 1 and by_chance > LEVEL


def gaps(curve: Curve) -> list[int]:
  """Gaps that may hold a step: two runs or more lie on either side.

  One run beyond a gap is one that went well or badly, not a break.
  """
  before = np.cumsum(curve.runs)[:-1]
  after = curve.runs.sum() - before
  return [int(g) for g in np.flatnonzero((before > 1) & (after > 1))]


def deviate(sizes: int) -> float:
  """Standard errors to either side that hold for all sizes at `LEVEL`.

  Šidák (1967): every one of n intervals at 1 − (1 − level)^(1/n).
  """
  return float(stats.norm.isf((1 - (1 - LEVEL) ** (1 / sizes)) / 2))


def interval(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
  """Simultaneous intervals of all sizes at `LEVEL`, lower and upper."""
  half = deviate(len(curve.scale)) * curve.error
  return curve.value - half, curve.value + half


def at_chance(curve: Curve) -> bool:
  """Whether chance is known and every interval contains it."""
  if curve.chance is None:
    return False
  low, high = interval(curve)
  return bool(np.all((low <= curve.chance) & (curve.chance <= high)))


def below_notice(curve: Curve) -> int:
  """How many of the smallest sizes cannot be told from the floor."""
  if curve.floor is None:
    return 0
  low, high = interval(curve)
  inside = (low <= curve.floor) & (curve.floor <= high)
  return int(np.argmin(inside)) if not inside.all() else len(inside)


def _where(curve: Curve, broken: laws.Broken, step: null.Ratio):
  """The best gap, and the first and last that fit nearly as well.

  They are those within the 95 % point of χ² of one degree of the best.
  """
  candidates = gaps(curve)
  rss = np.array([fit.rss[0] for fit in broken.each(curve.value[None])])
  near = np.flatnonzero(rss - rss.min() <= _CHI2 * step.dispersion)
  best = candidates[int(rss.argmin())]
  return best, candidates[near[0]], candidates[near[-1]]
