"""Broken: a power law whose slope changes, and whether there is a change."""

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from research.scaling.laws.law import Curve, Named
from research.scaling.points import Points

_SHARP = (0.05, 0.3, 1.0)
"""Widths f at which starts begin; beyond one a break spans decades."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Broken(Curve):
  """y = a + b x^(−c0) (1 + (x/d)^(1/f))^(−c1 f), one break at x = d.

  Caballero et al. 2023 (eq. 1, n = 1): the slope in log-log turns from −c0 to
  −(c0 + c1) around d, over about f decades of e. Six coordinates ask for at
  least nine points, on both sides of the break; with the seven sizes of a
  usual family `change_point` is the model to use. A good fit is no evidence of
  a break: ask `evidence`, which sets it against the law without one.

  Attributes:
    column: Column of the points that is x.
  """

  name: ClassVar[str] = 'broken'
  column: str = 'flops'

  @property
  def coordinates(self) -> tuple[str, ...]:
    return ('ln a', 'ln b', 'c0', 'c1', 'ln d', 'ln f')

  @property
  def least(self) -> int:
    return len(self.coordinates) + 3

  def evaluate(
    self, theta: np.ndarray, points: Points
  ) -> tuple[np.ndarray, np.ndarray]:
    a, b, c0, c1, d, f = theta.T[:, :, None]
    width = np.exp(f)
    x = np.log(getattr(points, self.column))
    along = (x - d) / width
    bend = np.logaddexp(0, along)
    past = np.exp(along - bend)
    power = b - c0 * x - c1 * width * bend
    value = np.logaddexp(a, power)
    share = np.exp(power - value)
    slopes = [
      1 - share,
      share,
      -share * x,
      -share * width * bend,
      share * c1 * past,
      -share * c1 * width * (bend - past * along),
    ]
    return value, np.stack(np.broadcast_arrays(*slopes), axis=-1)

  def starts(self, points: Points, count: int, seed: int) -> np.ndarray:
    """Change points at every place and width, with and without a floor."""
    x, y = np.log(getattr(points, self.column)), np.log(points.loss)
    places = np.quantile(x, np.linspace(0.1, 0.9, max(3, count // 12)))
    rows = []
    for floor in (1e-3, 0.1, 0.5, 0.9):
      level = y.min() + np.log(floor)
      above = np.log(points.loss - np.exp(level))
      for place in places:
        line = _two_lines(x, above, place)
        for width in _SHARP:
          rows.append((level, *line, place, np.log(width)))
    return np.array(rows)

  def bounds(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.log(getattr(points, self.column)), np.log(points.loss)
    steep = 10 * max(np.ptp(y), 1e-6) / max(np.ptp(x), 1e-6) + 3
    low = [y.min() - 14, -np.inf, -steep, -steep, x.min(), np.log(1e-3)]
    high = [y.max(), np.inf, steep, steep, x.max(), np.log(30)]
    return np.array(low), np.array(high)

  def parameters(self, theta: np.ndarray) -> Named:
    a, b, c0, c1, d, f = theta.T
    with np.errstate(over='ignore'):
      a, b, d, f = np.exp(a), np.exp(b), np.exp(d), np.exp(f)
    return {'a': a, 'b': b, 'c0': c0, 'c1': c1, 'd': d, 'f': f}

  def text(self, parameters: dict[str, float]) -> str:
    return (
      'y = {a:.4g} + {b:.4g} x^(−{c0:.4f})'
      ' (1 + (x / {d:.4g})^(1/{f:.4f}))^(−{c1:.4f}·{f:.4f})'
    ).format(**parameters)


class ChangePoint(NamedTuple):
  """Two power laws that meet: ln y is two straight lines over ln x.

  Attributes:
    at: x where they meet; None for one line.
    slopes: Of ln y before and after it.
    squares: Sum of the squared residuals of ln y.
    aicc: Akaike's criterion for small samples; infinite where the points are
      too few for the model.
  """

  at: float | None
  slopes: tuple[float, float]
  squares: float
  aicc: float


def change_point(x: ArrayLike, y: ArrayLike) -> ChangePoint:
  """The least-squares change point, at least two points on either side.

  Four coordinates: level, two slopes, and where they meet.

  Raises:
    ValueError: fewer than four different x, or a value that is not positive.
  """
  u, v = _logs(x, y)
  places = _places(u)
  squares = _squares(u, v[None])[0]
  best = int(np.argmin(squares))
  _, c0, c1 = _two_lines(u, v, places[best])
  return ChangePoint(
    at=float(np.exp(places[best])),
    slopes=(-float(c0), -float(c0 + c1)),
    squares=float(squares[best]),
    aicc=aicc(squares[best], len(u), 4),
  )


def no_change(x: ArrayLike, y: ArrayLike) -> ChangePoint:
  """One power law without a floor, as a change point that is nowhere."""
  u, v = _logs(x, y)
  slope, level = np.polyfit(u, v, 1)
  squares = float(np.sum((v - level - slope * u) ** 2))
  both = (float(slope), float(slope))
  return ChangePoint(None, both, squares, aicc(squares, len(u), 2))


def evidence(
  x: ArrayLike, y: ArrayLike, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
  """How much a change point explains beyond one line.

  The place of a change is unknown, so that twice the gain in log likelihood
  has no χ² distribution: it is set against its own values on noise about one
  line (a parametric bootstrap; the gain is the same for every line and scale).
  With seven points AICc all but forbids four coordinates; the bootstrap is
  then the one to read.

  Returns:
    AICc without a change less AICc with one (positive speaks for a change;
    infinitely negative with too few points), and the bootstrap's p value.
  """
  u, v = _logs(x, y)
  noise = np.random.default_rng(seed).standard_normal((draws, len(u)))
  sets = np.concatenate([v[None], noise])
  straight = _left(sets, np.stack([np.ones_like(u), u], axis=1))
  bent = _squares(u, sets).min(axis=1)
  gains = np.maximum(straight, 1e-300) / np.maximum(bent, 1e-300)
  above = int(np.sum(gains[1:] >= gains[0]))
  criteria = aicc(straight[0], len(u), 2), aicc(bent[0], len(u), 4)
  return criteria[0] - criteria[1], (1 + above) / (1 + draws)


def aicc(squares: float, points: int, coordinates: int) -> float:
  """AIC corrected for small samples (Hurvich and Tsai 1989), normal errors.

  The variance counts as one coordinate more; infinite where the correction
  has no meaning.
  """
  k = coordinates + 1
  if points <= k + 1:
    return np.inf
  likelihood = points * np.log(max(squares, 1e-300) / points)
  return float(likelihood + 2 * k + 2 * k * (k + 1) / (points - k - 1))


def _squares(u: np.ndarray, v: np.ndarray) -> np.ndarray:
  """Squares that two lines leave of each data set, [data sets, places]."""
  columns = [_left(v, _design(u, place)) for place in _places(u)]
  return np.stack(columns, axis=1)


def _left(v: np.ndarray, design: np.ndarray) -> np.ndarray:
  """Squares that least squares leaves of each data set, [data sets]."""
  basis = np.linalg.qr(design)[0]
  return ((v - v @ basis @ basis.T) ** 2).sum(axis=1)


def _places(u: np.ndarray) -> np.ndarray:
  """Where lines may meet: 25 places between each two inner points."""
  inner = np.unique(u)[1:-1]
  return np.concatenate(
    [
      np.linspace(left, right, 25)
      for left, right in zip(inner[:-1], inner[1:], strict=True)
    ]
  )


def _logs(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
  x, y = np.asarray(x, float), np.asarray(y, float)
  if not ((x > 0) & (y > 0)).all():
    raise ValueError('a change point needs positive x and y')
  order = np.argsort(x, kind='stable')
  if len(np.unique(x)) < 4:
    raise ValueError('a change point needs four different x')
  return np.log(x[order]), np.log(y[order])


def _two_lines(u: np.ndarray, v: np.ndarray, place: float) -> np.ndarray:
  """Level, c0 and c1 of v = level − c0 u − c1 max(u − place, 0)."""
  return np.linalg.lstsq(_design(u, place), v, rcond=None)[0]


def _design(u: np.ndarray, place: float) -> np.ndarray:
  return np.stack([np.ones_like(u), -u, -np.maximum(u - place, 0)], axis=1)
