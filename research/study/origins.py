"""Origins: tables that say where rows come from, and what is missing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from research.plots import style
from research.scaling import frontier
from research.study.blocks import Facts, Row, Table, listed, plain

_ONE = (
  'revision',
  'clean',
  'python',
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'numpy',
  'device',
  'tokenizer',
  'tokenizer_hash',
  'flop_convention',
)
"""Provenance that the rows of one table should share."""


def failures(plan: Sequence[Facts]) -> Table | None:
  """Planned cells without results, with the reason; None if there are none."""
  lacking = [c for c in plan if c.get('state', 'done') != 'done']
  if not lacking:
    return None
  columns = [
    ('cell', 'text code'),
    ('state', 'text'),
    ('reason', 'text long'),
  ]
  rows = [
    Row(
      (str(c['run']), str(c['state']), str(c.get('reason') or '–')),
      flag=c['state'] == 'failed',
    )
    for c in lacking
  ]
  return Table(columns, rows)


def provenance(
  frame: pd.DataFrame, facts: Facts, fields: Sequence[str]
) -> Table:
  """Where the rows come from; what should be one and is several is flagged."""
  known = {str(k): [v] for k, v in facts.items()}
  for name in frame.columns:
    if name not in (*frontier.COLUMNS, *fields, 'fitted', 'rule'):
      values = frame[name].dropna().to_list()
      known[str(name)] = list({plain(v): v for v in values}.values())
  rows = []
  for name, values in known.items():
    shown = ', '.join(plain(v) for v in values[:4]) or '–'
    if len(values) > 4:
      shown += f', … ({len(values)} different)'
    mixed = len(values) > 1 and name in _ONE
    dirty = name == 'clean' and False in values
    rows.append(Row((name.replace('_', ' '), shown), flag=mixed or dirty))
  return Table([('what', 'text'), ('value', 'text long')], rows)


def rules(frame: pd.DataFrame) -> Table | None:
  """By what rule each measure was taken; None if the rows do not say."""
  if 'rule' not in frame:
    return None
  told = frame.dropna(subset=['rule'])
  found: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
  for row in told.drop_duplicates(
    ['task', 'metric', 'rule', 'architecture']
  ).to_dict('records'):
    unit, _, rule = row['rule'].rpartition(': ')
    metric = row['metric'].replace('_', ' ') + (f' ({unit})' if unit else '')
    metrics, names = found.setdefault((row['task'], rule), ([], []))
    metrics.append(metric)
    names.append(style.title(row['architecture']))
  rows = [
    Row(
      (
        task.replace('_', ' '),
        ', '.join(dict.fromkeys(metrics)),
        listed(dict.fromkeys(names)),
        rule,
      )
    )
    for (task, rule), (metrics, names) in found.items()
  ]
  columns = [
    ('task', 'text'),
    ('measures', 'text long'),
    ('architectures', 'text long'),
    ('rule', 'text long'),
  ]
  return Table(columns, rows, caption='How the numbers were made')


def facts(known: Facts, caption: str = '', folded: str = '') -> Table:
  """Names and values; nested ones by dotted name."""
  rows = [Row((name, plain(value))) for name, value in _flat(known)]
  columns = [('what', 'text code'), ('value', 'text long')]
  return Table(columns, rows, caption=caption, folded=folded)


def _flat(known: Facts, prefix: str = '') -> Iterator[tuple[str, Any]]:
  for name, value in known.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f'{prefix}{name}.')
    elif isinstance(value, list | tuple) and any(
      isinstance(v, Mapping) for v in value
    ):
      yield from _flat(dict(enumerate(value)), f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value
