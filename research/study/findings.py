"""Findings: one sentence for each thing the data say, computed from them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from research.plots import style
from research.scaling import frontier
from research.scaling.sweep import Slice
from research.study.blocks import listed


def gains(cells: pd.DataFrame, measure: str) -> list[str]:
  """How each architecture's best moves with the budget.

  Args:
    cells: The ladder's cells (`architecture`, `budget`, `value`, `params`).
    measure: What `value` is, in words.
  """
  best = frontier.best_by(cells, 'architecture', 'budget')
  return [
    _gain(str(name), group.sort_values('budget'), measure)
    for name, group in best.groupby('architecture', sort=False)
  ]


def _gain(name: str, best: pd.DataFrame, measure: str) -> str:
  who = f'The {style.title(name)}’s best {measure}'
  first, last = best.iloc[0], best.iloc[-1]
  at = f'{style.power(last["budget"])} FLOPs'
  if len(best) == 1:
    size = style.short(last['params'])
    return f'{who} at {at} is {last["value"]:.3f}, with {size} parameters.'
  verb = 'fell' if last['value'] < first['value'] else 'did not fall'
  steps = np.diff(best['value'])
  worse = [
    f'{style.power(a)} to {style.power(b)}'
    for a, b, step in zip(
      best['budget'], best['budget'][1:], steps, strict=False
    )
    if step >= 0
  ]
  along = f'not from {listed(worse)}' if worse else 'at every step'
  return (
    f'{who} {verb} from {first["value"]:.3f} to {last["value"]:.3f} as the '
    f'budget rose from {style.power(first["budget"])} to {at}, {along}.'
  )


def order(cells: pd.DataFrame, measure: str) -> list[str]:
  """Which architecture is best at the largest budget that all of them have."""
  best = frontier.best_by(cells, 'architecture', 'budget')
  budgets = best.groupby('architecture')['budget'].agg(set)
  if len(budgets) < 2 or not (shared := set.intersection(*budgets)):
    return []
  top = max(shared)
  there = best[best['budget'] == top].sort_values('value')
  first = there.iloc[0]
  rest = [
    f'the {style.title(row.architecture)} {_apart(first, row)}'
    for row in there.iloc[1:].itertuples()
  ]
  return [
    f'At {style.power(top)} FLOPs, the largest budget they share, the '
    f'{style.title(first["architecture"])} is best with '
    f'{first["value"]:.3f} {measure}; {listed(rest)}.'
  ]


def _apart(first: pd.Series, row) -> str:
  gap = row.value - first['value']
  error = float(np.hypot(row.stderr, first['stderr']))
  if not np.isfinite(error):
    return f'is {gap:.3f} above it'
  close = ', within two standard errors' if gap < 2 * error else ''
  return f'is {gap:.3f} ± {error:.3f} above it{close}'


def insides(minima: Mapping[str, pd.DataFrame]) -> list[str]:
  """For how many budgets the isoFLOP minimum lies inside the grid.

  Args:
    minima: Tables of `isoflop.minima` by the name of their measure.
  """
  names = dict.fromkeys(
    name for table in minima.values() for name in table['architecture']
  )
  sentences = []
  for name in names:
    parts = [
      _inside(table[table['architecture'] == name], measure)
      for measure, table in minima.items()
      if (table['architecture'] == name).any()
    ]
    sentences.append(
      f'{style.title(name).capitalize()} isoFLOP minima lie inside the grid '
      f'for {listed(parts)}.'
    )
  return sentences


def _inside(table: pd.DataFrame, measure: str) -> str:
  count = f'{table["inside"].sum()} of {len(table)} budgets by {measure}'
  outside = table[~table['inside'].astype(bool)]
  why = [
    f'{style.power(row.budget)}: {row.verdict}' for row in outside.itertuples()
  ]
  return f'{count} ({"; ".join(why)})' if why else count


def against_baselines(
  cells: pd.DataFrame, baselines: pd.DataFrame, measure: str
) -> list[str]:
  """From which budget on each architecture beats each baseline's best."""
  best = frontier.best_by(cells, 'architecture', 'budget')
  sentences = []
  for name, group in baselines.groupby('architecture', sort=False):
    mark = group['value'].min()
    parts = [
      f'the {style.title(str(a))} {_beats(line.sort_values("budget"), mark)}'
      for a, line in best.groupby('architecture', sort=False)
    ]
    if parts:
      sentences.append(
        f'The {style.title(str(name))} baseline’s best is {mark:.3f} '
        f'{measure}: {listed(parts)}.'
      )
  return sentences


def _beats(line: pd.DataFrame, mark: float) -> str:
  below = line[line['value'] < mark]
  if below.empty:
    return 'never gets below it'
  return f'gets below it at {style.power(below["budget"].iloc[0])} FLOPs'


def domains(cells: pd.DataFrame, measure: str) -> list[str]:
  """Which domain is easiest and which hardest for the best of each."""
  parts = []
  for name, group in cells.groupby('architecture', sort=False):
    last = group[group['budget'] == group['budget'].max()]
    best = last.groupby('domain')['value'].min().sort_values()
    if len(best) > 1:
      parts.append(
        f'for the {style.title(str(name))} {best.index[0]} is easiest '
        f'({best.iloc[0]:.3f}) and {best.index[-1]} hardest '
        f'({best.iloc[-1]:.3f})'
      )
  if not parts:
    return []
  return [f'Of the domains at the largest budget, {listed(parts)} ({measure}).']


def brackets(slices: Sequence[Slice]) -> list[str]:
  """How many models' best value of each swept field is bracketed."""
  sentences = []
  for field in dict.fromkeys(s.field for s in slices):
    mine = [s for s in slices if s.field == field]
    good = sum(s.bracket.both for s in mine)
    sentences.append(
      f'The best {field.replace("_", " ")} has a worse one on both sides for '
      f'{good} of {len(mine)} models.'
    )
  return sentences


def failures(plan: Sequence[Mapping]) -> list[str]:
  """How many cells have no results."""
  states = [str(cell.get('state', 'done')) for cell in plan]
  lacking = {s: states.count(s) for s in dict.fromkeys(states) if s != 'done'}
  if not lacking:
    return []
  counts = listed(f'{count} {state}' for state, count in lacking.items())
  return [f'Of {len(plan)} planned cells, {counts}.']
