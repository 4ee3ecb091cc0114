"""Sweeps: a hyperparameter's losses, and whether its best is bracketed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from research.scaling import compute, frontier

USUAL = ('learning_rate', 'batch_size')
"""Fields that every results row holds, so that a sweep of them shows itself."""


class Slice(NamedTuple):
  """The losses of one model over one swept field, the others at their best.

  Attributes:
    architecture: Of the model.
    model: Its size, budget and parameters, as the table's columns name them.
    field: The swept column.
    held: The other swept columns' values.
    values: What the field took, ascending.
    losses: The loss of each, seeds averaged.
    bracket: The best value, and on which sides it is bounded.
  """

  architecture: str
  model: dict[str, Any]
  field: str
  held: dict[str, Any]
  values: list[float]
  losses: list[float]
  bracket: compute.Bracket


def swept(frame: pd.DataFrame, fields: Sequence[str] = USUAL) -> list[str]:
  """The fields that vary within some model (architecture, size, budget)."""
  rows = frontier.ladder(frame)
  models = rows.groupby(['architecture', 'size', 'budget'], dropna=False)
  return [f for f in fields if f in rows and (models[f].nunique() > 1).any()]


def slices(
  frame: pd.DataFrame,
  fields: Sequence[str],
  task: str = 'validation',
  metric: str = 'loss',
) -> list[Slice]:
  """Every model's losses over every swept field, through its best cell.

  A field that sets the size itself (a sweep over widths) is followed across
  sizes. Values that are not numbers have no order and so no slice.

  Args:
    frame: A results table.
    fields: The swept columns; `swept` finds the usual ones.
    task: Rows of this task are compared.
    metric: And of this metric.
  """
  rows = frontier.final(frontier.ladder(frame), task, metric)
  cells = frontier.over_seeds(rows, *fields)
  found = []
  for field in fields:
    if not pd.api.types.is_numeric_dtype(cells[field]):
      continue
    keys = _models(cells, field)
    for model, group in cells.groupby(keys, dropna=False, sort=False):
      best = group.loc[group['value'].idxmin()]
      held = {f: best[f] for f in fields if f != field and f not in keys}
      line = group
      for other, value in held.items():
        line = line[line[other] == value]
      if line[field].nunique() > 1:
        labels = dict(zip(keys, model, strict=True))
        found.append(_slice(labels, field, held, line.sort_values(field)))
  return found


def _models(cells: pd.DataFrame, field: str) -> list[str]:
  """Columns that tell the models apart between which `field` is compared."""
  keys = ['architecture', 'size', 'budget']
  within = cells.groupby(keys, dropna=False)[field].nunique()
  return keys if (within > 1).any() else ['architecture', 'budget']


def _slice(
  labels: dict[str, Any], field: str, held: dict[str, Any], line: pd.DataFrame
) -> Slice:
  losses = line.groupby(field)['value'].mean()
  model = {k: v for k, v in labels.items() if k != 'architecture'}
  if 'size' in model:
    model['params'] = float(line['params'].iloc[0])
  return Slice(
    str(labels['architecture']),
    model,
    field,
    held,
    [float(v) for v in losses.index],
    [float(v) for v in losses],
    compute.bracket(losses.index.to_numpy(), losses.to_numpy()),
  )
