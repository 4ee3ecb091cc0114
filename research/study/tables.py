"""Tables of the report: cells, minima, sweeps, failures, provenance."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from research.plots import style
from research.scaling.sweep import Slice
from research.study.blocks import Row, Table, missing, number

_RESULT = {
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
}
"""Columns that say what was measured; the others say where it comes from."""

_PER_RUN = {'fingerprint', 'config', 'workdir', 'folder'}


def cells(
  frame: pd.DataFrame, plan: Sequence[Mapping[str, Any]], fields: Sequence[str]
) -> Table:
  """Every cell of the plan and of the frame, with what it cost and reached."""
  known = {str(cell['run']): dict(cell) for cell in plan}
  for run, rows in frame.groupby('run', sort=False):
    first = rows.iloc[0].to_dict()
    known.setdefault(str(run), {'run': run})
    known[str(run)] |= {
      k: v for k, v in first.items() if k in _RESULT or k in fields
    }
    known[str(run)] |= _measures(rows) | {'state': 'done'}
  extra = [f for f in fields if f not in ('size', 'params')]
  columns = [
    ('architecture', 'text'),
    ('size', 'text'),
    ('budget, FLOPs', ''),
    *((f.replace('_', ' '), '') for f in extra),
    ('parameters', ''),
    ('tokens', ''),
    ('epochs', ''),
    ('FLOPs', ''),
    ('loss, nats/token', ''),
    ('perplexity', ''),
    ('native bits/byte', ''),
    ('yardstick bits/byte', ''),
    ('time, s', ''),
    ('tokens/s', ''),
    ('MFU', ''),
    ('seed', ''),
    ('state', 'text'),
    ('run folder', 'text'),
  ]
  rows = [_cell(cell, extra) for cell in known.values()]
  return Table(
    columns,
    rows,
    note='Loss, perplexity and native bits per byte are those of the '
    'architecture’s own objective and do not compare across architectures; '
    'yardstick bits per byte do. ± is one standard error.',
  )


def _measures(rows: pd.DataFrame) -> dict[str, Any]:
  """The last value of each measure of one run, by task and metric."""
  rows = rows[rows['domain'].isna() | (rows['domain'] == 'all')]
  rows = rows.sort_values('step', kind='stable')
  found = {}
  for row in rows.itertuples():
    found[f'{row.task} {row.metric}'] = row.value
    found[f'{row.task} {row.metric} stderr'] = row.stderr
  return found


def _cell(cell: Mapping[str, Any], extra: Sequence[str]) -> Row:
  def value(name, form='.3f'):
    return number(cell.get(name), form)

  def count(name, form=style.short):
    held = cell.get(name)
    return '–' if missing(held) else form(float(held))

  bits = value('yardstick bits_per_byte')
  error = cell.get('yardstick bits_per_byte stderr')
  if not missing(error):
    bits += f' ± {number(error)}'
  state = str(cell.get('state', 'done'))
  return Row(
    (
      style.title(str(cell.get('architecture', '–'))),
      str(cell.get('size', '–')),
      count('budget', style.power),
      *(_plain(cell.get(f)) for f in extra),
      count('params'),
      count('tokens'),
      value('epochs', '.2f'),
      count('flops', style.power),
      value('validation loss'),
      value('validation perplexity', '.2f'),
      value('validation bits_per_byte'),
      bits,
      value('training seconds', '.0f'),
      count('training tokens_per_second'),
      value('training mfu', '.1%'),
      value('seed', '.0f'),
      state,
      str(cell.get('folder') or cell['run']),
    ),
    flag=state == 'failed',
  )


def minima(table: pd.DataFrame, measure: str) -> Table:
  """The minima of isoFLOP curves."""
  rows = [
    Row(
      (
        style.title(row.architecture),
        style.power(row.budget),
        str(row.points),
        style.short(row.best),
        style.short(row.params),
        number(row.loss),
        number(row.residual, '.4f'),
        row.verdict,
      ),
      flag=not row.inside,
    )
    for row in table.itertuples()
  ]
  columns = [
    ('architecture', 'text'),
    ('budget, FLOPs', ''),
    ('points', ''),
    ('best size tried', ''),
    ('minimum N*', ''),
    (f'{measure} there', ''),
    ('residual, rms', ''),
    ('minimum', 'text'),
  ]
  return Table(columns, rows)


def sweep(slices: Sequence[Slice]) -> Table:
  """The best of every swept field and whether worse ones bound it."""
  columns = [
    ('architecture', 'text'),
    ('model', 'text'),
    ('field', 'text'),
    ('values tried', 'text'),
    ('best', ''),
    ('loss there', ''),
    ('bracketed', 'text'),
  ]
  rows = [
    Row(
      (
        style.title(s.architecture),
        described(s),
        s.field,
        ', '.join(f'{v:g}' for v in s.values),
        f'{s.bracket.value:g}',
        number(s.bracket.loss),
        _bounds(s),
      ),
      flag=not s.bracket.both,
    )
    for s in slices
  ]
  return Table(columns, rows)


def described(s: Slice) -> str:
  """The model of a slice and what was held, in a few words."""
  words = []
  if not missing(s.model.get('params')):
    words.append(style.short(s.model['params']))
  if not missing(s.model.get('budget')):
    words.append(f'{style.power(s.model["budget"])} FLOPs')
  words += [f'{k}={_plain(v)}' for k, v in s.held.items()]
  return ', '.join(words)


def _bounds(s: Slice) -> str:
  if s.bracket.both:
    return 'yes'
  sides = [
    side
    for side, bound in (('below', s.bracket.below), ('above', s.bracket.above))
    if not bound
  ]
  return f'no: nothing worse {" or ".join(sides)}'


def failures(plan: Sequence[Mapping[str, Any]]) -> Table | None:
  """Planned cells without results, with the reason; None if there are none."""
  lacking = [c for c in plan if c.get('state', 'done') != 'done']
  if not lacking:
    return None
  columns = [('cell', 'text'), ('state', 'text'), ('reason', 'text long')]
  rows = [
    Row(
      (str(c['run']), str(c['state']), str(c.get('reason') or '–')),
      flag=c['state'] == 'failed',
    )
    for c in lacking
  ]
  return Table(columns, rows)


def provenance(
  frame: pd.DataFrame, about: Mapping[str, Any], fields: Sequence[str]
) -> Table:
  """Where the rows come from; what differs between rows is flagged."""
  facts = {str(k): [v] for k, v in about.items()}
  for name in frame.columns:
    if name not in _RESULT and name not in fields:
      facts[str(name)] = list(pd.unique(frame[name].dropna()))
  rows = []
  for name, values in facts.items():
    shown = ', '.join(_plain(v) for v in values[:4]) or '–'
    if len(values) > 4:
      shown += f', … ({len(values)} different)'
    mixed = len(values) > 1 and name not in _PER_RUN
    rows.append(Row((name.replace('_', ' '), shown), flag=mixed))
  return Table([('what', 'text'), ('value', 'text long')], rows)


def _plain(value: Any) -> str:
  if missing(value):
    return '–'
  return f'{value:g}' if isinstance(value, float) else str(value)
