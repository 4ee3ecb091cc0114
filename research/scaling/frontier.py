"""Frontier: one value a run from the results table, and the best of them."""

import numpy as np
import pandas as pd

from research.scaling import compute

BASELINES = ('ngram', 'lstm')
"""Architectures that stand as lines beside the ladder, not in it."""

_CELL = (
  'architecture',
  'size',
  'params',
  'params_non_embedding',
  'budget',
  'learning_rate',
  'batch_size',
  'domain',
)


def final(
  frame: pd.DataFrame,
  task: str,
  metric: str,
  domain: str | None = 'all',
) -> pd.DataFrame:
  """The last step's value of one measure, one row a run (and domain).

  Args:
    frame: A results table (tidy: run, step, task, metric, value, …).
    task: Rows of this task.
    metric: Rows of this metric.
    domain: Rows of this domain; None for every domain but `all`.

  Returns:
    The rows chosen, with a finite `value`, numbers where the table may hold
    objects, and a fresh index.
  """
  chosen = (frame['task'] == task) & (frame['metric'] == metric)
  if domain is None:
    chosen &= frame['domain'] != 'all'
  else:
    chosen &= frame['domain'] == domain
  rows = frame[chosen].copy()
  for name in ('value', 'stderr', 'budget', 'flops', 'params', 'tokens'):
    rows[name] = pd.to_numeric(rows[name]).astype(float)
  rows = rows[np.isfinite(rows['value'])].sort_values('step', kind='stable')
  return (
    rows.groupby(['run', 'domain'], as_index=False)
    .tail(1)
    .reset_index(drop=True)
  )


def over_seeds(rows: pd.DataFrame, *fields: str) -> pd.DataFrame:
  """Means over the seeds of a cell, one row a cell.

  The error of a mean is the evaluation's own (the same spans for every seed,
  so it does not shrink) and the seeds' standard error, added in quadrature;
  NaN where neither is known.

  Args:
    rows: What `final` returns.
    *fields: Further columns that tell cells apart (swept fields).
  """
  keys = [k for k in dict.fromkeys(_CELL + fields) if k in rows]
  groups = rows.groupby(keys, dropna=False, sort=False)
  means = groups.agg(
    value=('value', 'mean'),
    own=('stderr', lambda x: np.sqrt((x**2).mean())),
    spread=('value', lambda x: x.std(ddof=1) / np.sqrt(len(x))),
    flops=('flops', 'mean'),
    tokens=('tokens', 'mean'),
    seeds=('value', 'size'),
  ).reset_index()
  own, spread = means.pop('own'), means.pop('spread')
  total = np.sqrt(own.fillna(0) ** 2 + spread.fillna(0) ** 2)
  means['stderr'] = total.where(own.notna() | spread.notna())
  return means


def best_by(rows: pd.DataFrame, *keys: str) -> pd.DataFrame:
  """The row of lowest value in each group, in the groups' order."""
  rows = rows.dropna(subset=list(keys))
  chosen = rows.groupby(list(keys))['value'].idxmin()
  return rows.loc[chosen].reset_index(drop=True)


def envelope(rows: pd.DataFrame, convention: str = 'model') -> pd.DataFrame:
  """The rows on their architecture's lower envelope over compute.

  Args:
    rows: One measure, one row a run or cell.
    convention: How FLOPs are counted; a key of `compute.CONVENTIONS`.

  Returns:
    Rows in order of architecture and compute, with a column `compute`.
  """
  rows = rows.assign(compute=compute.flops(rows, convention))
  parts = [
    group.iloc[compute.lower_envelope(group['compute'], group['value'])]
    for _, group in rows.groupby('architecture', sort=False)
  ]
  return pd.concat(parts) if parts else rows


def ladder(frame: pd.DataFrame) -> pd.DataFrame:
  """The rows of the study's own architectures."""
  return frame[~frame['architecture'].isin(BASELINES)]


def baselines(frame: pd.DataFrame) -> pd.DataFrame:
  """The rows of the models that came before transformers."""
  return frame[frame['architecture'].isin(BASELINES)]
