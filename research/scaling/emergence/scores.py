"""The score table: rows of model, scale, task, metric and value, checked.

It is read from a CSV file or from a study's results table.
"""

from collections.abc import Mapping
import contextlib
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
LOSSES = {
  'loss': ('validation', 'loss'),
  'bits_per_byte': ('yardstick', 'bits_per_byte'),
}
"""Columns that a study's table gets, and of which task and metric they are."""

SHARED = 'bits_per_byte'
"""The scale that compares across architectures."""
_ALIASES = {
  'run': 'model',
  'n': 'n_items',
  'length': 'answer_length',
  'Model': 'model',
}
VARIANTS = ('architecture', 'suite', 'shots', 'prompting', 'domain')
"""Columns that make a task several, where they differ within it."""

NOT_ABILITIES = (
  'training',
  'validation',
  'yardstick',
  'pseudo_log_likelihood',
)
"""Tasks of a study's results table that are no abilities."""


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

  It has columns for the losses of each row's model: `loss`, native, in nats a
  token, and `bits_per_byte`, of the yardstick. Either may be the scale (Du et
  al. 2024): models of one loss stand at one place, whatever their size.

  The checkpoints of one training run (column `series`) are one model.

  Raises:
    BadInput: As `read`; or no row is of an ability.
  """
  frame = _with_losses(frame)
  frame = cast(pd.DataFrame, frame[~frame['task'].isin(NOT_ABILITIES)])
  if frame.empty:
    raise BadInput('workdir: its results have no ability tasks; evaluate some')
  if 'series' in frame:
    frame = frame.assign(model=frame['series'].fillna(frame['run']))
  return tidy(frame, scale, where, 'the results table')


def _with_losses(frame: pd.DataFrame) -> pd.DataFrame:
  """The table with the losses of each row's model beside it."""
  keys = ['run', 'step']
  if not {*keys, 'domain'} <= set(frame):
    return frame
  for name, (task, metric) in LOSSES.items():
    mine: Any = frame[
      (frame['task'] == task)
      & (frame['metric'] == metric)
      & (frame['domain'] == 'all')
    ]
    mine = mine.drop_duplicates(keys)[[*keys, 'value']]
    mine = mine.rename(columns={'value': name})
    frame = frame.drop(columns=name, errors='ignore').merge(
      mine, on=keys, how='left'
    )
  return frame


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
  label = _labels(frame, column)
  frame = frame.assign(seed=seed, label=label, falls=metrics.falls(column))
  there = np.isfinite(frame['value']) & (frame['scale'] > 0)
  frame = cast(pd.DataFrame, frame[there])
  if frame.empty:
    raise BadInput(f'{name} has no row with a value and a positive {column}')
  return _unique(frame.reset_index(drop=True), name)


def _chosen(frame, where: Mapping[str, str], name: str) -> pd.DataFrame:
  for column, value in where.items():
    if column not in frame:
      raise BadInput(f'where={column}={value}: {name} has no such column')
    rows = _is(frame[column], value)
    if not rows.any():
      some = ', '.join(map(str, frame[column].unique()[:5]))
      raise BadInput(f'where={column}={value} leaves no row; there are {some}')
    frame = frame[rows]
  return cast(pd.DataFrame, frame.copy())


def _is(column: pd.Series, value: str) -> Any:
  """Which entries are what `value` says, as numbers where both are."""
  if pd.api.types.is_numeric_dtype(column):
    with contextlib.suppress(ValueError):
      return column == float(value)
  return column.astype(str) == value


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


def _labels(frame: pd.DataFrame, scale: str) -> pd.Series:
  """Tasks by name; by name and variant where a task has several.

  Over a loss, models and their checkpoints are asked whether they lie on one
  curve; over bits per byte, architectures and suites are, too.
  """
  label: Any = frame['task'].astype(str)
  # Training curves of several models are several tasks, not seeds of one.
  steps: Any = frame.groupby('model')['scale'].nunique()
  shared = {'architecture', 'suite'} if scale == SHARED else set()
  variants = [c for c in VARIANTS if c in frame and c not in shared]
  if (steps > 1).any() and len(steps) > 1 and not metrics.falls(scale):
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
