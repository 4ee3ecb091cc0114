"""Sweeps: a hyperparameter's losses, and whether its best is bracketed."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import pandas as pd

from research.scaling import compute, frontier

USUAL = ('learning_rate', 'batch_size')
"""Fields that every results row holds, so that a sweep of them shows itself."""

_MODEL = ['architecture', 'size', 'budget']


class Slice(NamedTuple):
  """The losses of one model over one swept field, the others at their best.

  Attributes:
    architecture: Of the model.
    model: Its size, budget and parameters, as the table's columns name them.
    field: The swept column.
    held: The other swept columns' values.
    values: What the field took: numbers ascending, or words in order of
      appearance.
    losses: The loss of each.
    best: The value whose loss is lowest.
    bracket: On which sides worse values bound it; None for words, which have
      no order.
  """

  architecture: str
  model: dict[str, Any]
  field: str
  held: dict[str, Any]
  values: list[float | str]
  losses: list[float]
  best: float | str
  bracket: compute.Bracket | None


def swept(frame: pd.DataFrame, fields: Sequence[str] = USUAL) -> list[str]:
  """The fields that vary within some model (architecture, size, budget)."""
  models = frame.groupby(_MODEL, dropna=False)
  return [
    f for f in fields if f in frame and bool((models[f].nunique() > 1).any())
  ]


def slices(
  frame: pd.DataFrame,
  fields: Sequence[str],
  task: str = 'validation',
  metric: str = 'loss',
) -> list[Slice]:
  """Every model's losses over every swept field, through its best cell.

  A field that sets the size itself (a sweep over widths) is followed across
  sizes.

  Args:
    frame: A results table.
    fields: The swept columns; `swept` finds the usual ones.
    task: Rows of this task are compared.
    metric: And of this metric.
  """
  cells = frontier.over_seeds(frontier.final(frame, task, metric), *fields)
  found = []
  for field in fields:
    there = cells.dropna(subset=[field])
    keys = _models(there, field)
    others = [f for f in fields if f != field and f not in keys]
    for _, group in there.groupby(keys, dropna=False, sort=False):
      line, held = _through_best(group, others)
      if len(set(line[field])) > 1:
        found.append(_slice(keys, field, held, line))
  return found


def _models(cells: pd.DataFrame, field: str) -> list[str]:
  """Columns that tell the models apart between which `field` is compared."""
  within = cells.groupby(_MODEL, dropna=False)[field].nunique()
  varies = bool((within > 1).any())
  return _MODEL if varies else ['architecture', 'budget']


def _through_best(
  cells: pd.DataFrame, others: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
  """The cells that share the best cell's other fields, and what those are."""
  best = cells.sort_values(by='value').to_dict('records')[0]
  held = {other: best[other] for other in others}
  for other, value in held.items():
    cells = cast(pd.DataFrame, cells[cells[other] == value])
  return cells, held


def _slice(
  keys: Sequence[str], field: str, held: dict[str, Any], line: pd.DataFrame
) -> Slice:
  records = line.to_dict('records')
  losses: dict[Any, list[float]] = {}
  for record in records:
    losses.setdefault(record[field], []).append(record['value'])
  ordered = not any(isinstance(v, str | bool) for v in losses)
  values = sorted(losses) if ordered else list(losses)
  means = [sum(losses[v]) / len(losses[v]) for v in values]
  values = [float(v) if ordered else str(v) for v in values]
  names = [*keys, 'params'] if 'size' in keys else keys
  return Slice(
    architecture=str(records[0]['architecture']),
    model={str(k): records[0][k] for k in names if k != 'architecture'},
    field=field,
    held=held,
    values=values,
    losses=means,
    best=values[means.index(min(means))],
    bracket=compute.bracket(values, means) if ordered else None,
  )
