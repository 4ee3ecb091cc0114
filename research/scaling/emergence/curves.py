"""Curves: a metric of a task over sizes, and what is known of its errors."""

from collections.abc import Collection, Iterator
import dataclasses
from typing import Any, cast

import numpy as np
import pandas as pd

from research.scaling.emergence import items, metrics

_SAME = 0.02
"""Scales that differ by less than this share are one size."""

_GUESS = 0.02
"""Where nothing tells a metric's error: this share of its range."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
  """One metric of one task over n sizes, on the scale its law lives on.

  Attributes:
    metric: What the values are.
    scale: Parameters, FLOPs or steps, ascending; or losses, descending, [n].
    falls: Whether it is a loss, so that less is further on.
    value: Means over runs, [n]; logarithms where the metric says so.
    item: Standard errors over items, [n].
    likeness: Correlation of these errors between sizes, [n, n], since all read
      the same items; None where the single items are not known, or no size has
      two runs.
    runs: Runs of each size, [n].
    deviation: Standard deviation between runs of one size, pooled; 0 where
      no size has two.
    points: Every run's scale and value, [r, 2].
    chance: Value of a guess, if it is known.
    n_items: Items of the test, if known or told by the errors.
    errors: Where `item` is from: `items` (stored, one by one), `stated` (in the
      table) or `guessed`.
  """

  metric: metrics.Metric
  scale: np.ndarray
  falls: bool
  value: np.ndarray
  item: np.ndarray
  likeness: np.ndarray | None
  runs: np.ndarray
  deviation: float
  points: np.ndarray
  chance: float | None
  n_items: int | None
  errors: str

  @property
  def x(self) -> np.ndarray:
    """Natural logarithm of the scale, or of one over the loss; ascending."""
    return _places(self.scale, self.falls)

  @property
  def beyond(self) -> str:
    """How one says that a scale is further on."""
    return 'below' if self.falls else 'above'

  @property
  def error(self) -> np.ndarray:
    """Standard error of each mean over items and runs, [n].

    Runs read the same items, so that only their own deviation shrinks.
    """
    return np.hypot(self.item, self.deviation / np.sqrt(self.runs))

  @property
  def covariance(self) -> np.ndarray:
    """Of the means' errors over items and runs, [n, n]."""
    own = np.diag(self.deviation**2 / self.runs)
    if self.likeness is None:
      return own + np.diag(self.item**2)
    return own + self.likeness * np.outer(self.item, self.item)

  @property
  def root(self) -> np.ndarray:
    """The lower triangle L with LLᵀ the errors' covariance, [n, n]."""
    return np.linalg.cholesky(self.covariance)

  @property
  def floor(self) -> float | None:
    """The value of a model that knows nothing, if it is known."""
    return self.metric.floor if self.chance is None else self.chance


def curves(
  frame: pd.DataFrame, graded: Collection[str] = ()
) -> Iterator[tuple[str, list[Curve]]]:
  """Each task's curves, tasks and metrics in order of appearance.

  Of several steps of a run at one scale, the last counts.

  Args:
    frame: As `scores.tidy` returns it.
    graded: As in `metrics.of`.
  """
  frame = frame.sort_values(by='step', kind='stable', na_position='first')
  keys = ['label', 'metric', 'model', 'seed', 'scale']
  last = frame.groupby(keys, sort=False, dropna=False).tail(1).sort_index()
  for label, rows in last.groupby('label', sort=False):
    yield (
      str(label),
      [
        curve(cast(pd.DataFrame, part), graded)
        for _, part in rows.groupby('metric', sort=False)
      ],
    )


def curve(rows: pd.DataFrame, graded: Collection[str] = ()) -> Curve:
  """The curve of one task and metric, from one row a run."""
  falls = bool(rows['falls'].iloc[0])
  rows = rows.sort_values(by='scale', ascending=not falls, kind='stable')
  values = rows['value'].to_numpy(float)
  metric = metrics.of(str(rows['metric'].iloc[0]), values, graded)
  rows = rows.assign(n_items=_items(rows, metric))
  stated, known = _item_errors(rows, metric)
  if metric.logarithm:
    values, stated = np.log(values), stated / values
  scale = rows['scale'].to_numpy(float)
  size = _sizes(_places(scale, falls))
  runs = np.bincount(size)
  mean = np.bincount(size, values) / runs
  within = ((values - mean[size]) ** 2).sum()
  free = len(values) - len(runs)
  item = np.sqrt(np.bincount(size, stated**2) / runs)
  likeness, errors = None, 'stated' if known else 'guessed'
  # With one run a size nothing tells the runs' own deviation. What sizes share
  # is left in then, lest the luck of a run look like a step.
  marks = items.together(rows, size) if free else None
  if marks is not None and not metric.logarithm:
    item, likeness = items.errors(marks, item, metric.bounded and metric.harsh)
    errors = 'items'
  chance = rows['chance'].dropna().unique()
  count: Any = rows['n_items'].dropna()
  return Curve(
    metric=metric,
    scale=np.bincount(size, scale) / runs,
    falls=falls,
    value=mean,
    item=item,
    likeness=likeness,
    runs=runs,
    deviation=float(np.sqrt(within / free)) if free else 0.0,
    points=np.stack([scale, values], axis=1),
    chance=float(chance[0]) if len(chance) else None,
    n_items=int(count.median()) if len(count) else None,
    errors=errors,
  )


def _places(scale: np.ndarray, falls: bool) -> np.ndarray:
  return -np.log(scale) if falls else np.log(scale)


def _sizes(x: np.ndarray) -> np.ndarray:
  """Number of each run's size, [r]: all that are as good as its first."""
  number, first, found = -1, -np.inf, []
  for place in x:
    if place - first > _SAME:
      number, first = number + 1, place
    found.append(number)
  return np.array(found)


def _items(rows: pd.DataFrame, metric: metrics.Metric) -> pd.Series:
  """Items of each row; of a share, told by its standard error if need be.

  A share's standard error is √(v(1−v)/(n−1)).
  """
  known: Any = rows['n_items']
  if not (metric.bounded and metric.harsh) or known.notna().all():
    return known
  told: Any = rows['value'] * (1 - rows['value']) / rows['stderr'] ** 2 + 1
  told = told.where((rows['stderr'] > 0) & (rows['value'] > 0)).round()
  # All runs read the same items: one that scored nothing tells no number.
  return known.fillna(told).fillna(told.median())


def _item_errors(rows: pd.DataFrame, metric: metrics.Metric):
  """Standard errors over items, never zero, and whether any was known.

  A share of n items has the error of Agresti and Coull (1998), which stays
  open at 0 and 1; of part marks between 0 and 1 that error is an upper bound.
  """
  value = rows['value'].to_numpy(float)
  n = rows['n_items'].to_numpy(float)
  given = rows['stderr'].to_numpy(float)
  middle = (value * n + 2) / (n + 4)
  shares = np.sqrt(np.clip(middle * (1 - middle), 0, None) / (n + 4))
  if metric.bounded and metric.harsh:
    error = np.where(np.isfinite(shares), shares, given)
  elif metric.bounded:
    error = np.where(given > 0, given, shares)
  else:
    error = given
  good = np.isfinite(error) & (error > 0)
  span = np.ptp(np.log(value)) * value if metric.logarithm else np.ptp(value)
  guess = np.broadcast_to(_GUESS * span, value.shape)
  guess = np.where(guess > 0, guess, 1e-6)
  fallback = np.median(error[good]) if good.any() else guess
  return np.where(good, error, fallback), bool(good.any())
