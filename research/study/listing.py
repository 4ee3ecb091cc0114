"""The study as lines of text: what is planned, how it stands, what came out."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from research.study import published, store
from research.study.calibration import Costs
from research.study.cells import Cell
from research.study.plan import StudyConfig, cells, groups
from research.study.published import GIB, Published


def plan(study: StudyConfig, costs: Costs | None = None) -> str:
  """Cells with parameters, tokens, FLOPs and estimated time, and the sums.

  Args:
    study: What is planned.
    costs: What was found by trying; None: time by the study's stated rate.
  """
  planned = [c for c in cells(study) if not isinstance(c.config, Published)]
  read = _suite(study)
  if not planned:
    return f'{study.title}\n{read}'
  rows = [
    (
      cell.name,
      _count(cell.params),
      _count(cell.tokens),
      f'{cell.flops:.2e}',
      *_cost(cell, study, costs),
    )
    for cell in planned
  ]
  flops = sum(cell.flops for cell in planned)
  shapes = len(groups(planned))
  if costs is None:
    seconds = flops / study.flops_per_second + shapes * study.seconds_per_shape
    basis = f'{study.flops_per_second:.1e} FLOP/s'
  else:
    seconds = costs.total(study)
    basis = (
      f'the speed of the {costs.tried} tried here, {costs.processes} at a time,'
    )
  total = (
    f'{len(planned)} cells of {shapes} shapes, {flops:.2e} model FLOPs,'
    f' about {_clock(seconds)} at {basis} and'
    f' {study.seconds_per_shape:.0f} s of compilation and evaluation a shape'
  )
  heads = ('cell', 'parameters', 'tokens', 'FLOPs', 'training')
  heads += () if costs is None else ('memory',)
  trained = f'{study.title}\n{_table(heads, rows)}\n{total}'
  return f'{trained}\n{read}' if read else trained


def _cost(
  cell: Cell, study: StudyConfig, costs: Costs | None
) -> tuple[str, ...]:
  """The cell's time of training and, if shapes were tried, its memory."""
  if costs is None:
    return (_clock(cell.flops / study.flops_per_second),)
  seconds, cost = costs.training(cell), costs.by_cell.get(cell.name)
  memory = None if cost is None or cost.memory is None else cost.memory / 1e6
  time = '–' if seconds is None else _clock(seconds)
  return time, '–' if memory is None else f'{memory:.3g} MB'


def _suite(study: StudyConfig) -> str:
  """Published models with the memory each takes; nothing if there are none."""
  rows, skipped = [], 0
  for cell in cells(study):
    if not isinstance(cell.config, Published):
      continue
    needed = published.memory(cell.config, study.evaluation)
    there = published.held(cell.config, study.executor.at_once)
    fits = needed <= there
    skipped += not fits
    rows.append(
      (
        cell.name,
        _count(cell.params),
        _count(cell.tokens),
        f'{cell.config.flops:.2e}',
        f'{needed / GIB:.3g} GiB',
        f'{there / GIB:.3g} GiB' + ('' if fits else ': skipped'),
      )
    )
  if not rows:
    return ''
  heads = ('cell', 'parameters', 'tokens', 'FLOPs', 'needs', 'there are')
  total = f'{len(rows)} published checkpoints, {skipped} too large'
  return f'{_table(heads, rows)}\n{total}'


def status(planned: Sequence[Cell], workdir: store.Path) -> str:
  """Each cell's state, with the reason of each failure."""
  found = [(cell.name, store.status(cell.folder(workdir))) for cell in planned]
  rows = [(name, s.state, s.reason) for name, s in found]
  states = pd.Series([s.state for _, s in found]).value_counts()
  total = ', '.join(f'{n} {state}' for state, n in states.items())
  return f'{_table(("cell", "state", "reason"), rows)}\n{total}'


def results(frame: pd.DataFrame) -> str:
  """One line a finished cell: its size, spending and losses."""
  if frame.empty:
    return 'no cell has results'
  rows = []
  for run, cell in frame.groupby('run', sort=False):
    first = cell.iloc[0]
    rows.append(
      (
        str(run),
        _count(first.get('params')),
        _count(first.get('tokens')),
        _number(first.get('flops'), '.2e'),
        _number(_value(cell, 'validation', 'loss'), '.4f'),
        _number(_value(cell, 'validation', 'bits_per_byte'), '.4f'),
        _number(_value(cell, 'yardstick', 'bits_per_byte'), '.4f'),
        _number(_value(cell, 'training', 'seconds'), '.1f'),
      )
    )
  heads = (
    'cell',
    'parameters',
    'tokens',
    'FLOPs',
    'loss',
    'bits/byte',
    'yardstick',
    'seconds',
  )
  return _table(heads, rows)


def measures(rows: Sequence[Mapping[str, Any]]) -> str:
  """One line a measure: task, domain, metric, value and standard error."""
  lines = [
    (
      _task(row),
      row['metric'],
      _number(row['value'], '.4f'),
      _number(row.get('stderr'), '.4f'),
      _count(row.get('n')),
    )
    for row in rows
  ]
  return _table(('task', 'metric', 'value', '±', 'n'), lines)


def _task(row: Mapping[str, Any]) -> str:
  """The task with its domain, or with the way in which it was asked."""
  if 'prompting' not in row:
    return f'{row["task"]} {row["domain"]}'
  return f'{row["task"]} {row["prompting"]} {row["shots"]}-shot'


def _value(cell: pd.DataFrame, task: str, metric: str) -> float | None:
  """The cell's value of a measure over all domains, if it was measured."""
  for row in cell.to_dict('records'):
    if (row['task'], row['metric'], row['domain']) == (task, metric, 'all'):
      return row['value']
  return None


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  columns = list(zip(heads, *rows, strict=True))
  widths = [max(len(text) for text in column) for column in columns]
  lines = []
  for row in [heads, *rows]:
    first, *rest = zip(row, widths, strict=True)
    aligned = [first[0].ljust(first[1])] + [t.rjust(w) for t, w in rest]
    lines.append('  '.join(aligned).rstrip())
  return '\n'.join(lines)


def _number(value, form: str) -> str:
  return '–' if value is None or pd.isna(value) else format(value, form)


def _count(value) -> str:
  """A count with a unit: 12.3k, 4.56M."""
  if value is None or pd.isna(value):
    return '–'
  for unit, scale in (('B', 1e9), ('M', 1e6), ('k', 1e3)):
    if value >= scale:
      return f'{value / scale:.3g}{unit}'
  return f'{value:.0f}'


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}h{minutes:02}m'
  return f'{minutes}m{seconds:02}s' if minutes else f'{seconds}s'
