"""Summary: a fit in a dozen lines, from what fit.json holds of it."""

from collections.abc import Mapping
from typing import Any


def summary(found: Mapping[str, Any]) -> str:
  """What a reader wants first: the law, its intervals, what is amiss."""
  objective, certificate = found['objective'], found['certificate']
  delta = f', delta {objective["delta"]:g}' if objective['delta'] else ''
  lines = [
    found['text'],
    f'  minimised: {objective["reduction"]} over {objective["points"]} points, '
    f'{objective["name"]} ({objective["space"]}{delta}): '
    f'{_number(objective["value"])}',
    f'  starts at the best minimum: {certificate["reached"]} of '
    f'{certificate["starts"]}; gradient {_number(certificate["gradient"])}; '
    f'minima {len(certificate["minima"])}',
  ]
  lines += [
    f'  {name} = {_number(value)}{_range(found["interval95"][name])}'
    for name, value in found['parameters'].items()
  ]
  derived = found['derived']
  lines += [
    f'  {meaning}: {_ranged(derived[name])}'
    for name, meaning in (('a', 'N* ∝ C^a, a'), ('b', 'D* ∝ C^b, b'))
    if name in derived and name not in found['parameters']
  ]
  lines += [_optimum(row) for row in derived['optimum']]
  lines += _conventions(found.get('conventions') or {})
  lines += [_prediction(entry) for entry in found['predictions']]
  lines += _backtest(found['backtest'])
  for kind in ('warnings', 'faults'):
    lines += [f'  {kind[:-1]}: {text}' for text in certificate[kind]]
  return '\n'.join(lines)


def _optimum(row: Mapping[str, Any]) -> str:
  return (
    f'  at {row["compute"]:.4g} FLOPs: N* {_ranged(row["params"])}, '
    f'D* {_ranged(row["tokens"])}, '
    f'D*/N* {_ranged(row["tokens_per_parameter"])}'
  )


def _conventions(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
  return [
    f'  a under {name}: {_number(row["a"])} (moved by {row["moved"]:+.4f})'
    + ('' if row['certified'] else ', uncertified')
    for name, row in rows.items()
    if row['a'] is not None
  ]


def _prediction(entry: Mapping[str, Any]) -> str:
  place = ', '.join(
    f'{name} {value:.4g}' for name, value in entry['at'].items()
  )
  where = (
    f'{entry["factor"]:.3g}x outside the data'
    if entry['outside']
    else 'within the data'
  )
  right = entry.get('accuracy')
  more = f', accuracy {_ranged(right)}' if right else ''
  why = f' ({entry["note"]})' if 'note' in entry else ''
  return f'  loss at {place}: {_ranged(entry)}{why}{more}, {where}'


def _backtest(entries: list[Mapping[str, Any]] | None) -> list[str]:
  entries = [e for e in entries or [] if e['error'] is not None]
  if not entries:
    return []
  worst = max(entries, key=lambda e: abs(e['error']))
  known = [e['inside'] for e in entries if e['inside'] is not None]
  hits = f'; {sum(known)} of {len(known)} inside' if known else ''
  return [
    f'  largest budget held out: {worst["quantity"]} '
    f'{_number(worst["predicted"])}{_range(worst["interval95"])}, actual '
    f'{_number(worst["actual"])} ({worst["error"]:+.2%}, the worst of '
    f'{len(entries)}){hits}'
  ]


def _ranged(found: Mapping[str, Any]) -> str:
  return f'{_number(found["value"])}{_range(found["interval95"])}'


def _range(interval: list[float | None] | None) -> str:
  if not interval or interval[0] is None or interval[1] is None:
    return ''
  return f' [{_number(interval[0])}, {_number(interval[1])}]'


def _number(value: float | None) -> str:
  return 'unknown' if value is None else f'{value:.4g}'
