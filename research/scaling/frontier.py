"""Frontier: one value a run from the results table, and the best of them."""

import collections
from typing import cast

import numpy as np
import pandas as pd

from research.scaling import compute

BASELINES = ('lstm', 'ngram')
"""Architectures that stand as lines beside the ladder, not in it."""

COLUMNS = (
  'run',
  'architecture',
  'params',
  'params_non_embedding',
  'size',
  'budget',
  'flops',
  'tokens',
  'unique_tokens',
  'epochs',
  'step',
  'seed',
  'learning_rate',
  'batch_size',
  'task',
  'domain',
  'metric',
  'value',
  'stderr',
  'n',
)
"""What every results row says of its run and its measure; the columns beside
these are swept fields and provenance."""

_CELL = (
  'architecture',
  'size',
  'params',
  'params_non_embedding',
  'budget',
  'tokens',
  'learning_rate',
  'batch_size',
  'domain',
)

_NUMBERS = (
  'params',
  'params_non_embedding',
  'budget',
  'flops',
  'tokens',
  'value',
  'stderr',
)


def final(
  frame: pd.DataFrame,
  task: str,
  metric: str,
  domain: str | None = 'all',
) -> pd.DataFrame:
  """The last step's value of one measure, one row a run (and domain).

  Of an architecture that the table has from several suites, or from one and of
  our own, a suite's rows have the suite in `architecture`: they are no ladder.

  Args:
    frame: A results table (tidy: run, step, task, metric, value, …).
    task: Rows of this task.
    metric: Rows of this metric.
    domain: Rows of this domain; None for every domain but `all`.

  Returns:
    The rows with a finite value, in the table's order, numbers as floats.
  """
  frame = _by_suite(frame)
  wanted = (frame['task'] == task) & (frame['metric'] == metric)
  whole = frame['domain'] == (domain or 'all')
  wanted &= ~whole if domain is None else whole
  rows = where(frame, wanted).astype(dict.fromkeys(_NUMBERS, float))
  rows = where(rows, np.isfinite(rows['value'])).reset_index(drop=True)
  last = rows.sort_values(by='step', kind='stable')
  last = last.groupby(['run', 'domain'], sort=False).tail(1)
  return cast(pd.DataFrame, last.sort_index().reset_index(drop=True))


def _by_suite(frame: pd.DataFrame) -> pd.DataFrame:
  """The table, its suites told apart where an architecture has several."""
  if 'suite' not in frame:
    return frame
  name, suite = frame['architecture'], frame['suite']
  pairs = set(zip(name, suite.fillna(''), strict=True))
  counts = collections.Counter(architecture for architecture, _ in pairs)
  several = name.map(lambda one: counts[one] > 1) & suite.notna()
  named = name.astype(str) + ' of ' + suite.astype(str)
  return frame.assign(architecture=name.mask(several, named))


def over_seeds(rows: pd.DataFrame, *fields: str) -> pd.DataFrame:
  """Means over the seeds of a cell, one row a cell.

  `spread` is the seeds' standard error, NaN where no cell is repeated: the
  deviation between seeds is pooled over an architecture's repeated cells, so
  that a cell of one seed has one, too. `stderr` adds in quadrature the
  evaluation's own error (the same spans for every seed, so it does not
  shrink); NaN where neither is known. Runs that look alike and share a seed
  differ in something the table does not name: they stay apart.

  Args:
    rows: What `final` returns.
    *fields: Further columns that tell cells apart (swept fields).
  """
  keys = [k for k in dict.fromkeys(_CELL + fields) if k in rows]
  twins = rows.groupby([*keys, 'seed'], dropna=False, sort=False).cumcount()
  groups = rows.assign(_twin=twins).groupby(
    [*keys, '_twin'], dropna=False, sort=False
  )
  means = groups.agg(
    value=('value', 'mean'),
    own=('stderr', lambda x: np.sqrt((x**2).mean())),
    variance=('value', 'var'),
    flops=('flops', 'mean'),
    seeds=('value', 'size'),
  ).reset_index()
  means['spread'] = _pooled(means) / np.sqrt(means['seeds'])
  errors = means[['own', 'spread']].to_numpy(float)
  total = np.sqrt(np.nansum(errors**2, axis=1))
  total[np.isnan(errors).all(axis=1)] = np.nan
  return means.drop(columns=['own', 'variance', '_twin']).assign(stderr=total)


def _pooled(means: pd.DataFrame) -> pd.Series:
  """The deviation between seeds, pooled by architecture and domain."""
  free = (means['seeds'] - 1).astype(float)
  sums = pd.DataFrame({'squares': means['variance'] * free, 'free': free})
  keys = [means['architecture'], means['domain']]
  sums = sums.groupby(keys, dropna=False).transform('sum')
  mean = sums['squares'] / sums['free'].where(sums['free'] > 0)
  return cast(pd.Series, mean**0.5)


def best_by(rows: pd.DataFrame, *keys: str) -> pd.DataFrame:
  """The row of lowest value in each group, groups in order of appearance."""
  rows = rows.dropna(subset=list(keys)).sort_values(by='value', kind='stable')
  first = rows.groupby(list(keys), sort=False).head(1)
  return cast(pd.DataFrame, first.sort_index().reset_index(drop=True))


def envelope(rows: pd.DataFrame, convention: str = 'model') -> pd.DataFrame:
  """The rows on their architecture's lower envelope over compute.

  Cells of one budget spend it to within the rounding of a step: by model
  FLOPs only the best of them stands for the budget.

  Args:
    rows: One measure, one row a run or cell.
    convention: How FLOPs are counted; a key of `compute.CONVENTIONS`.

  Returns:
    Rows in order of architecture and compute, with a column `compute`.
  """
  rows = rows.assign(compute=compute.flops(rows, convention))
  if convention == 'model':
    best = best_by(rows, 'architecture', 'budget')
    rows = pd.concat([best, where(rows, rows['budget'].isna())])
  parts = [
    group.iloc[compute.lower_envelope(group['compute'], group['value'])]
    for _, group in rows.groupby('architecture', sort=False)
  ]
  return pd.concat(parts) if parts else rows


def ladder(frame: pd.DataFrame) -> pd.DataFrame:
  """The rows of the study's own architectures."""
  return where(frame, ~frame['architecture'].isin(list(BASELINES)))


def baselines(frame: pd.DataFrame) -> pd.DataFrame:
  """The rows of the models that came before transformers."""
  return where(frame, frame['architecture'].isin(list(BASELINES)))


def where(frame: pd.DataFrame, chosen) -> pd.DataFrame:
  """The rows of `frame` where the series `chosen` is true."""
  return cast(pd.DataFrame, frame[chosen])
