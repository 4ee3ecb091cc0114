"""Tables of the report: cells, their measures, minima, sweeps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from research.plots import style
from research.scaling.sweep import Slice
from research.study.blocks import (
  Facts,
  Row,
  Table,
  listed,
  missing,
  number,
  plain,
)


def runs(frame: pd.DataFrame, plan: Sequence[Facts]) -> list[dict[str, Any]]:
  """What is known of every cell: plan, labels and last measures.

  A measure's key is `task metric`, or `task metric domain` where the domain is
  not `all`; its standard error's key ends in ` ±`.
  """
  known = {str(cell['run']): dict(cell) for cell in plan}
  for run in frame['run']:
    known.setdefault(str(run), {'run': run})
  rows = frame.sort_values(by='step', kind='stable')
  for row in rows.to_dict('records'):
    cell = known[str(row['run'])]
    whole = missing(row['domain']) or row['domain'] == 'all'
    key = f'{row["task"]} {row["metric"]}'
    key += '' if whole else f' {row["domain"]}'
    measure = {key: row['value'], f'{key} ±': row['stderr']}
    labels = {k: v for k, v in row.items() if not missing(v)}
    cell |= {'state': 'done'} | labels | measure
  return list(known.values())


def cells(known: Sequence[Facts], fields: Sequence[str]) -> Table:
  """Every cell with what it cost and what it reached.

  Args:
    known: What `runs` returns.
    fields: Swept columns, shown too.
  """
  swept = [f for f in fields if f not in ('size', 'params', 'seed')]
  seeds = len({c.get('seed') for c in known if not missing(c.get('seed'))}) > 1
  states = any(c.get('state') != 'done' for c in known)
  extra = swept + ['seed'] * seeds + ['state'] * states
  columns = [
    ('architecture', 'text'),
    ('size', 'text'),
    *((f.replace('_', ' '), 'text' if f == 'state' else '') for f in extra),
    ('parameters', ''),
    ('tokens', ''),
    ('epochs', ''),
    ('FLOPs', ''),
    ('native loss, nats/token', ''),
    ('native bits/byte', ''),
    ('yardstick bits/byte', ''),
    ('seconds', ''),
    ('tokens/s', ''),
    ('MFU', ''),
    ('run folder', 'text code'),
  ]
  return Table(
    columns,
    [_cell(cell, extra) for cell in known],
    note='Native loss and bits per byte are those of the architecture’s own '
    'objective and do not compare across architectures; yardstick bits per '
    'byte do. ± is one standard error. MFU: model FLOPs a second over the '
    'machine’s peak.',
  )


def _cell(cell: Facts, extra: Iterable[str]) -> Row:
  bits = number(cell.get('yardstick bits_per_byte'))
  error = cell.get('yardstick bits_per_byte ±')
  if not missing(error):
    bits += f' ± {number(error)}'
  return Row(
    (
      style.title(str(cell.get('architecture', '–'))),
      str(cell.get('size', '–')),
      *(plain(cell.get(field)) for field in extra),
      _count(cell.get('params')),
      _count(cell.get('tokens')),
      number(cell.get('epochs'), '.3g'),
      _flops(cell.get('flops')),
      number(cell.get('validation loss')),
      number(cell.get('validation bits_per_byte')),
      bits,
      _seconds(cell.get('training seconds')),
      _count(cell.get('training tokens_per_second')),
      number(cell.get('training mfu'), '.1%'),
      str(cell.get('folder') or cell['run']),
    ),
    flag=cell.get('state') == 'failed',
  )


def measures(known: Sequence[Facts]) -> Table | None:
  """Every measure of every cell by domain; None if nothing was measured.

  Args:
    known: What `runs` returns.
  """
  titles = {
    'loss': 'loss, nats/token',
    'perplexity': 'perplexity per token',
    'word_perplexity': 'perplexity per word',
    'bits_per_byte': 'bits/byte',
  }
  keys = [
    key
    for key in dict.fromkeys(key for cell in known for key in cell)
    if _is_measure(key)
  ]
  if not keys:
    return None
  columns = [('run', 'text code')]
  for key in keys:
    task, metric, *domain = key.split()
    words = [task.replace('_', ' '), *domain, titles.get(metric, metric)]
    columns.append((' '.join(words), ''))
  rows = [
    Row((str(cell['run']), *(_value(key, cell.get(key)) for key in keys)))
    for cell in known
    if not all(missing(cell.get(key)) for key in keys)
  ]
  return Table(columns, rows, folded='Every measure of every cell, by domain')


def _is_measure(key: str) -> bool:
  task, *rest = key.split()
  return bool(rest) and task != 'training' and not key.endswith('±')


def _value(key: str, value: Any) -> str:
  return number(value, '.1f' if 'perplexity' in key else '.3f')


def minima(tables: Mapping[str, pd.DataFrame]) -> Table:
  """The minima of isoFLOP curves, by several measures side by side.

  Args:
    tables: What `isoflop.minima` returns, by the measure's name.
  """
  columns = [('architecture', 'text'), ('budget, FLOPs', ''), ('sizes', '')]
  groups = [('', 3)]
  rows: dict[tuple[str, float], dict[str, Facts]] = {}
  for measure, table in tables.items():
    groups.append((f'by {measure}', 5))
    columns += [
      ('best tried', ''),
      ('N*', ''),
      ('value at N*', ''),
      ('rms residual', ''),
      ('minimum is', 'text'),
    ]
    for row in table.to_dict('records'):
      key = row['architecture'], row['budget']
      rows.setdefault(key, {})[measure] = row
  return Table(
    columns,
    [
      Row(
        (
          style.title(name),
          style.power(budget),
          str(max(row['points'] for row in found.values())),
          *(t for measure in tables for t in _minimum(found.get(measure))),
        ),
        flag=not all(row['inside'] for row in found.values()),
      )
      for (name, budget), found in rows.items()
    ],
    groups=groups,
    note='N* counts all parameters. “Inside” means strictly between the '
    'smallest and the largest size tried at that budget; a minimum elsewhere '
    'would be an extrapolation and is not shown.',
  )


def _minimum(row: Facts | None) -> list[str]:
  if row is None:
    return ['–'] * 5
  return [
    style.short(row['best']),
    style.short(row['params']) if row['inside'] else '–',
    number(row['loss']) if row['inside'] else '–',
    number(row['residual'], '.4f'),
    row['verdict'],
  ]


def sweep(slices: Sequence[Slice]) -> Table:
  """The best of every swept field and whether worse ones bound it."""
  columns = [
    ('architecture', 'text'),
    ('model', 'text'),
    ('field', 'text'),
    ('values tried', 'text long'),
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
        ', '.join(plain(v) for v in s.values),
        plain(s.best),
        number(min(s.losses)),
        _bounds(s),
      ),
      flag=s.bracket is not None and not s.bracket.both,
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
  words += [f'{k.replace("_", " ")} {plain(v)}' for k, v in s.held.items()]
  return ', '.join(words)


def _bounds(s: Slice) -> str:
  if s.bracket is None:
    return 'has no order'
  if s.bracket.both:
    return 'yes'
  sides = {'below': s.bracket.below, 'above': s.bracket.above}
  open_ = [side for side, bounded in sides.items() if not bounded]
  return f'no: nothing worse {listed(open_)}'


def _count(value: Any) -> str:
  return '–' if missing(value) else style.short(float(value))


def _flops(value: Any) -> str:
  return style.power(float(value)) if not missing(value) and value else '–'


def _seconds(value: Any) -> str:
  return number(value, '.1f' if not missing(value) and value < 10 else '.0f')
