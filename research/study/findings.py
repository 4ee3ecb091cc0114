"""Findings: one sentence for each thing the data say, computed from them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
import math
from typing import Any

import pandas as pd

from research.plots import style
from research.scaling import frontier
from research.scaling.sweep import Slice
from research.study.blocks import listed

Cell = dict[Any, Any]


def gains(cells: pd.DataFrame, measure: str) -> list[str]:
  """How each architecture's best moves with the budget.

  Args:
    cells: The ladder's cells (`architecture`, `budget`, `value`, `params`).
    measure: What `value` is, in words.
  """
  return [
    _gain(name, list(line.values()), measure)
    for name, line in _best(cells).items()
  ]


def _gain(name: str, line: list[Cell], measure: str) -> str:
  who = f'The {style.title(name)}’s best {measure}'
  first, last = line[0], line[-1]
  at = f'{style.power(last["budget"])} FLOPs'
  if len(line) == 1:
    size = style.short(last['params'])
    return f'{who} at {at} is {last["value"]:.3f}, with {size} parameters.'
  worse = [
    f'{style.power(a["budget"])} to {style.power(b["budget"])}'
    for a, b in pairwise(line)
    if b['value'] >= a['value']
  ]
  verb = 'falls' if last['value'] < first['value'] else 'does not fall'
  along = f', but not from {listed(worse)}' if worse else ', at every step'
  return (
    f'{who} {verb} from {first["value"]:.3f} to {last["value"]:.3f} as the '
    f'budget rises from {style.power(first["budget"])} to {at}{along}.'
  )


def order(
  cells: pd.DataFrame,
  measure: str,
  errors: Mapping[tuple[str, str, float], float] | None = None,
) -> list[str]:
  """Which architecture is best at the largest budget that all of them have.

  Args:
    cells: The ladder's cells.
    measure: What `value` is, in words.
    errors: Of the difference between two architectures at a budget, where it
      is known better than from each one's own (`scores.errors`).
  """
  best = _best(cells)
  shared = set.intersection(*map(set, best.values())) if best else set()
  if len(best) < 2 or not shared:
    return []
  top = max(shared)
  there = sorted((line[top] for line in best.values()), key=_value)
  first = there[0]
  rest = [
    f'the {style.title(cell["architecture"])} '
    f'{_apart(first, cell, errors or {})}'
    for cell in there[1:]
  ]
  return [
    f'At {style.power(top)} FLOPs, the largest budget they share, the '
    f'{style.title(first["architecture"])} is best with '
    f'{first["value"]:.3f} {measure}; {listed(rest)}.'
  ]


def _apart(first: Cell, cell: Cell, errors: Mapping) -> str:
  gap = cell['value'] - first['value']
  pair = first['architecture'], cell['architecture'], cell['budget']
  error = errors.get(pair, math.hypot(cell['stderr'], first['stderr']))
  if not math.isfinite(error):
    return f'is {gap:.3f} above it'
  close = ' (within two standard errors)' if gap < 2 * error else ''
  return f'is {gap:.3f} ± {error:.3f} above it{close}'


def insides(minima: pd.DataFrame, measure: str) -> list[str]:
  """For how many budgets the isoFLOP minimum lies inside the grid.

  Args:
    minima: A table of `isoflop.minima`.
    measure: What was fitted, in words.
  """
  parts = []
  for name, rows in _records(minima).items():
    good = sum(row['inside'] for row in rows)
    why = [
      f'{style.power(row["budget"])}: {row["verdict"]}'
      for row in rows
      if not row['inside']
    ]
    noted = f' ({"; ".join(why)})' if why else ''
    budgets = 'budget' if len(rows) == 1 else 'budgets'
    parts.append(
      f'{good} of {len(rows)} {budgets} of the {style.title(name)}{noted}'
    )
  if not parts:
    return []
  return [
    f'By {measure}, isoFLOP minima lie inside the grid for {listed(parts)}.'
  ]


def against_baselines(
  cells: pd.DataFrame, baselines: pd.DataFrame, measure: str
) -> list[str]:
  """Where each architecture stands to each baseline.

  A baseline with budgets is compared at the largest one it shares with the
  architecture; one without is a mark to get below.
  """
  best, budgeted = _best(cells), _best(baselines)
  sentences = []
  for name, rows in _records(baselines).items():
    if not best:
      continue
    mark = min(map(_value, rows))
    parts = [
      f'the {style.title(other)} '
      f'{_stands(line, budgeted.get(name) or {}, mark)}'
      for other, line in best.items()
    ]
    sentences.append(
      f'Against the {style.title(name)} baseline, whose best is {mark:.3f} '
      f'{measure}: {listed(parts)}.'
    )
  return sentences


def _stands(
  line: dict[float, Cell], baseline: dict[float, Cell], mark: float
) -> str:
  shared = line.keys() & baseline.keys()
  if shared:
    top = max(shared)
    gap = line[top]['value'] - baseline[top]['value']
    side = 'below' if gap < 0 else 'above'
    return f'is {abs(gap):.3f} {side} it at {style.power(top)} FLOPs'
  under = [budget for budget, cell in line.items() if cell['value'] < mark]
  if not under:
    return 'stays above it'
  return f'gets below it at {style.power(under[0])} FLOPs'


def domains(cells: pd.DataFrame, measure: str) -> list[str]:
  """Which domain is easiest and which hardest for the best of each.

  Args:
    cells: The ladder's cells of every domain.
    measure: What `value` is, in words.
  """
  ends = {}
  for name, rows in _records(cells.dropna(subset=['budget'])).items():
    top = max(row['budget'] for row in rows)
    best = {}
    for row in sorted(rows, key=_value):
      if row['budget'] == top:
        best.setdefault(row['domain'], row['value'])
    if len(best) > 1:
      ends[name] = (*list(best.items())[:1], *list(best.items())[-1:])
  if not ends:
    return []
  pairs = {(easy[0], hard[0]) for easy, hard in ends.values()}
  if len(pairs) == 1 and len(ends) > 1:
    easy, hard = pairs.pop()
    return [f'For every architecture {easy} is easiest and {hard} hardest.']
  parts = [
    f'for the {style.title(name)} {easy[0]} is easiest ({easy[1]:.3f}) and '
    f'{hard[0]} hardest ({hard[1]:.3f})'
    for name, (easy, hard) in ends.items()
  ]
  return [f'At the largest budget, {listed(parts)}, in {measure}.']


def brackets(slices: Sequence[Slice]) -> list[str]:
  """How many models' best value of each swept field is bracketed."""
  sentences = []
  for field in dict.fromkeys(s.field for s in slices):
    found = [s.bracket for s in slices if s.field == field and s.bracket]
    if found:
      good = sum(bracket.both for bracket in found)
      models = 'model' if len(found) == 1 else 'models'
      sentences.append(
        f'The best {field.replace("_", " ")} has a worse one on both sides '
        f'for {good} of {len(found)} {models}.'
      )
  return sentences


def failures(plan: Sequence[Mapping]) -> list[str]:
  """How many planned cells have no results."""
  states = [str(cell.get('state', 'done')) for cell in plan]
  lacking = {s: states.count(s) for s in dict.fromkeys(states) if s != 'done'}
  if not lacking:
    return []
  counts = listed(f'{count} {state}' for state, count in lacking.items())
  return [f'Of {len(plan)} planned cells, {counts}.']


def _value(cell: Cell) -> float:
  return cell['value']


def _budget(cell: Cell) -> float:
  return cell['budget']


def _records(cells: pd.DataFrame) -> dict[str, list[Cell]]:
  """The rows of each architecture, in order of appearance."""
  found: dict[str, list[Cell]] = {}
  for cell in cells.to_dict('records'):
    found.setdefault(cell['architecture'], []).append(cell)
  return found


def _best(cells: pd.DataFrame) -> dict[str, dict[float, Cell]]:
  """The best cell of each architecture by budget, budgets ascending."""
  best = frontier.best_by(cells, 'architecture', 'budget')
  return {
    name: {cell['budget']: cell for cell in sorted(rows, key=_budget)}
    for name, rows in _records(best).items()
  }
