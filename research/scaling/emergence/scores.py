"""The score table: rows of model, scale, task, metric and value, checked.

It is read from a CSV file or from a study's results table, and split into
curves, one a task and metric.
"""

from collections.abc import Collection, Iterator, Mapping
import dataclasses
import os
import pathlib
from typing import Any, cast

import numpy as np
import pandas as pd

from research.config import BadInput
from research.scaling.emergence import metrics

NEEDED = ('model', 'task', 'metric', 'value')
NUMBERS = (
  'scale',
  'value',
  'stderr',
  'n_items',
  'chance',
  'step',
  'answer_length',
)
_SCALES = ('scale', 'params', 'flops')
_ALIASES = {
  'run': 'model',
  'n': 'n_items',
  'length': 'answer_length',
  'Model': 'model',
}
VARIANTS = ('architecture', 'shots', 'prompting', 'domain')
"""Columns that make a task several, where they differ within it."""

NOT_ABILITIES = (
  'training',
  'validation',
  'yardstick',
  'pseudo_log_likelihood',
)
"""Tasks of a study's results table that are no abilities."""

_SAME = 0.02
"""Scales that differ by less than this share are one size."""

_GUESS = 0.02
"""Where nothing tells a metric's error: this share of its range."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
  """One metric of one task over n sizes, on the scale its law lives on.

  Attributes:
    metric: What the values are.
    scale: Parameters, FLOPs or steps, ascending, [n].
    value: Means over runs, [n]; logarithms where the metric says so.
    item: Standard errors over items, [n].
    runs: Runs of each size, [n].
    deviation: Standard deviation between runs of one size, pooled; 0 where
      no size has two.
    points: Every run's scale and value, [r, 2].
    chance: Value of a guess, if it is known.
    n_items: Items of the test, if known or told by the errors.
    assumed: Whether `item` is a guess.
  """

  metric: metrics.Metric
  scale: np.ndarray
  value: np.ndarray
  item: np.ndarray
  runs: np.ndarray
  deviation: float
  points: np.ndarray
  chance: float | None
  n_items: int | None
  assumed: bool

  @property
  def x(self) -> np.ndarray:
    """Natural logarithm of the scale."""
    return np.log(self.scale)

  @property
  def error(self) -> np.ndarray:
    """Standard error of each mean over items and runs, [n].

    Runs read the same items, so that only their own deviation shrinks.
    """
    return np.hypot(self.item, self.deviation / np.sqrt(self.runs))

  @property
  def floor(self) -> float | None:
    """The value of a model that knows nothing, if it is known."""
    return self.metric.floor if self.chance is None else self.chance


def read(
  path: str | os.PathLike[str],
  scale: str | None = None,
  where: Mapping[str, str] | None = None,
) -> pd.DataFrame:
  """The score table of a CSV file.

  Args:
    path: With a line of column names.
    scale: The column that holds the scale; by default the first there is of
      `scale`, `params` and `flops`.
    where: Values that columns must have for a row to be read.

  Raises:
    BadInput: It cannot be read, lacks a column, or a value is not a number.
  """
  path = pathlib.Path(path)
  try:
    frame = pd.read_csv(path)
  except (UnicodeDecodeError, pd.errors.ParserError) as error:
    raise BadInput(f'data={path} is no CSV table: {error}') from None
  except pd.errors.EmptyDataError:
    raise BadInput(f'data={path} is empty; it needs a line of names') from None
  return tidy(frame, scale, where, str(path))


def of_study(
  frame: pd.DataFrame,
  scale: str | None = None,
  where: Mapping[str, str] | None = None,
) -> pd.DataFrame:
  """The score table of a study's results table; every row is kept.

  Raises:
    BadInput: As `read`; or no row is of an ability.
  """
  frame = cast(pd.DataFrame, frame[~frame['task'].isin(NOT_ABILITIES)])
  if frame.empty:
    raise BadInput('workdir: its results have no ability tasks; evaluate some')
  return tidy(frame, scale, where, 'the results table')


def tidy(
  frame: pd.DataFrame,
  scale: str | None = None,
  where: Mapping[str, str] | None = None,
  name: str = 'the score table',
) -> pd.DataFrame:
  """The rows as a score table: `model`, `scale`, `task`, `metric`, `value`,
  `stderr`, `n_items`, `chance`, `step`, `seed`, `answer_length`.

  Rows without a value, and of scale 0 (a training step before the first),
  have no place on the axes and are left out.

  Raises:
    BadInput: A column is not there, or not of numbers.
  """
  there = set(frame.columns)
  rename = {a: b for a, b in _ALIASES.items() if a in there and b not in there}
  frame = _chosen(frame.rename(columns=rename), where or {}, name)
  column = scale or next((s for s in _SCALES if s in frame), 'scale')
  for needed in (*NEEDED, column):
    if needed not in frame:
      raise BadInput(
        f'{name} has no column {needed!r}, only {", ".join(frame.columns)};'
        + (' name the scale with --scale' if needed == column else ' add it')
      )
  # A column that is the scale may have another use beside it, as `step`.
  frame = frame.assign(scale=frame[column])
  for number in NUMBERS:
    frame[number] = _numbers(frame, number, name)
  seed = frame['seed'] if 'seed' in frame else 0
  frame = frame.assign(seed=seed, label=_labels(frame))
  there = np.isfinite(frame['value']) & (frame['scale'] > 0)
  frame = cast(pd.DataFrame, frame[there])
  if frame.empty:
    raise BadInput(f'{name} has no row with a value and a positive {column}')
  return _unique(frame.reset_index(drop=True), name)


def curves(
  frame: pd.DataFrame, graded: Collection[str] = ()
) -> Iterator[tuple[str, list[Curve]]]:
  """Each task's curves, tasks and metrics in order of appearance.

  Of several steps of a run at one scale, the last counts.
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
  values = rows['value'].to_numpy(float)
  metric = metrics.of(str(rows['metric'].iloc[0]), values, graded)
  rows = rows.assign(n_items=_items(rows, metric))
  item, assumed = _item_errors(rows, metric)
  if metric.logarithm:
    values, item = np.log(values), item / values
  order = np.argsort(rows['scale'].to_numpy(float), kind='stable')
  scale = rows['scale'].to_numpy(float)[order]
  values, item = values[order], item[order]
  new = np.diff(np.log(scale), prepend=-np.inf) > _SAME
  size = np.cumsum(new) - 1
  runs = np.bincount(size)
  mean = np.bincount(size, values) / runs
  within = ((values - mean[size]) ** 2).sum()
  free = len(values) - len(runs)
  chance = rows['chance'].dropna().unique()
  items: Any = rows['n_items'].dropna()
  return Curve(
    metric=metric,
    scale=scale[new],
    value=mean,
    item=np.sqrt(np.bincount(size, item**2) / runs),
    runs=runs,
    deviation=float(np.sqrt(within / free)) if free else 0.0,
    points=np.stack([scale, values], axis=1),
    chance=float(chance[0]) if len(chance) else None,
    n_items=int(items.median()) if len(items) else None,
    assumed=assumed,
  )


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
  """Standard errors over items, never zero, and whether they are a guess.

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
  return np.where(good, error, fallback), not good.any()


def _chosen(frame, where: Mapping[str, str], name: str) -> pd.DataFrame:
  for column, value in where.items():
    if column not in frame:
      raise BadInput(f'where={column}={value}: {name} has no such column')
    rows = frame[column].astype(str) == value
    if not rows.any():
      some = ', '.join(map(str, frame[column].unique()[:5]))
      raise BadInput(f'where={column}={value} leaves no row; there are {some}')
    frame = frame[rows]
  return cast(pd.DataFrame, frame.copy())


def _numbers(frame: pd.DataFrame, column: str, name: str) -> Any:
  if column not in frame:
    return np.nan
  numbers: Any = pd.to_numeric(frame[column], errors='coerce')
  numbers = numbers.astype(float)
  wrong: Any = numbers.isna() & frame[column].notna()
  wrong |= (numbers < 0) & (column in ('stderr', 'scale'))
  wrong |= (numbers <= 0) & (column == 'n_items')
  if wrong.any():
    value = list(frame[column][wrong])[0]
    raise BadInput(f'{name}: {column}={value} must be a number above 0')
  return numbers


def _labels(frame: pd.DataFrame) -> pd.Series:
  """Tasks by name; by name and variant where a task has several."""
  label: Any = frame['task'].astype(str)
  # Training curves of several models are several tasks, not seeds of one.
  steps: Any = frame.groupby('model')['scale'].nunique()
  variants = [c for c in VARIANTS if c in frame]
  if (steps > 1).any() and len(steps) > 1:
    variants.append('model')
  for column in variants:
    values: Any = frame[column]
    several: Any = frame.groupby('task')[column].nunique(dropna=False) > 1
    mark = frame['task'].map(several.to_dict()) & values.notna()
    label = label.where(~mark, label + ' · ' + values.map(_word))
  return label


def _word(value: Any) -> str:
  if isinstance(value, float) and value.is_integer():
    return str(int(value))
  return str(value)


def _unique(frame: pd.DataFrame, name: str) -> pd.DataFrame:
  keys = ['label', 'metric', 'model', 'seed', 'scale', 'step']
  twice = frame.duplicated(keys)
  if twice.any():
    row = frame[twice].iloc[0]
    raise BadInput(
      f'{name} has {row["metric"]} of {row["label"]} twice for model'
      f' {row["model"]}; tell the rows apart by seed or choose with --where'
    )
  return frame
