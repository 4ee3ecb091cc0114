"""Scores in the report: predictions that came out, and compute compared."""

from collections.abc import Iterator, Sequence
from itertools import permutations
import math

import pandas as pd

from research.plots import style
from research.scaling import pairs
from research.scaling.pairs import Times
from research.study import predictions as registry
from research.study.blocks import Facts, Row, Table, Text

BASE = 'decoder'
"""What other architectures are compared with, if the study has it."""


def predictions(
  registered: Facts | None, frame: pd.DataFrame
) -> Iterator[Text | Table]:
  """What was registered of each design's largest budget, and what came out."""
  for design in (registered or {}).get('designs', ()):
    who = style.title(design['architecture'])
    at = f'{style.power(design["budget"])} FLOPs'
    if not design['fit']:
      yield Text(
        f'Nothing is predicted of the {who} at {at}: {design["reason"]}.'
      )
      continue
    yield Text(_registration(registered or {}, design, who, at))
    rows = registry.scored(design, frame)
    yield Table(
      [
        ('what', 'text'),
        ('predicted', ''),
        ('95 % interval', ''),
        ('came out', ''),
        ('error', ''),
        ('', 'text'),
      ],
      [_score(row) for row in rows],
      caption=f'The {who} at {at}',
      note='Losses are native validation losses in nats a token, their '
      'intervals those of one run with its noise. The best size is that of the '
      'law and, as it came out, of the parabola through the budget’s cells.',
    )


def _registration(registered: Facts, design: Facts, who: str, at: str) -> str:
  """When and from what a prediction was made, and what is amiss with it."""
  fit = design['fit']
  parts = [
    f'Registered {registered["registered"]} from {len(design["rows"])} runs of '
    f'smaller budgets: {fit["text"]}.'
  ]
  if not fit['certificate']['certified']:
    faults = '; '.join(fit['certificate']['faults'])
    parts.append(f'The law is not certified: {faults}.')
  if design['begun']:
    parts.append(
      f'{len(design["begun"])} of the {who}’s cells at {at} had begun before: '
      'of these it is no prediction.'
    )
  if design.get('changed'):
    parts.append(
      f'{len(design["changed"])} of the rows that it came from have changed '
      f'since: {", ".join(design["changed"])}.'
    )
  return ' '.join(parts)


def _score(row: Facts) -> Row:
  size = row['what'] == 'best size'
  form = style.short if size else '{:.3f}'.format
  ends = '–'
  if row['low'] is not None and row['high'] is not None:
    ends = f'{form(row["low"])} to {form(row["high"])}'
  actual, error = '–', '–'
  if row['actual'] is not None:
    actual = form(row['actual'])
    error = f'{row["predicted"] / row["actual"] - 1:+.1%}'
  said = {True: 'hit', False: 'miss', None: row['why']}[row['hit']]
  return Row(
    (row['what'], form(row['predicted']), ends, actual, error, said),
    flag=row['hit'] is False,
  )


def compared(frame: pd.DataFrame, spans: pd.DataFrame | None) -> list[Times]:
  """How many times a base's compute each other architecture needs."""
  bests = pairs.best(frame, spans)
  bests = {name: cells for name, cells in bests.items() if len(cells) > 1}
  base = BASE if BASE in bests else next(iter(bests), '')
  n_bytes = pairs.span_bytes(spans)
  return [
    pairs.times(bests, base, other, n_bytes)
    for first, other in permutations(bests, 2)
    if first == base
  ]


def errors(
  frame: pd.DataFrame, spans: pd.DataFrame | None
) -> dict[tuple[str, str, float], float]:
  """Standard errors of the difference of two architectures at a budget.

  Of their best cells, over the spans that both have read; none where the spans
  were not kept.
  """
  n_bytes = pairs.span_bytes(spans)
  if n_bytes is None:
    return {}
  bests = pairs.best(frame, spans)
  return {
    (a, b, one.budget): pairs.difference(one, other, n_bytes)[1]
    for a, b in permutations(bests, 2)
    for one in bests[a]
    for other in bests[b]
    if one.budget == other.budget
  }


def architectures(found: Sequence[Times]) -> Iterator[Text | Table]:
  """How architectures compare in compute."""
  if not found:
    return
  yield Text(
    'How many times the compute one architecture needs for the yardstick’s '
    'bits per byte of another, at the lowest value that both reach. Between '
    'budgets, the best cells are joined by straight lines of logarithms; '
    'nothing is extrapolated.'
  )
  rows = [
    Row(
      (
        style.title(one.other),
        style.title(one.base),
        f'{one.loss:.3f}' if not one.bound else '–',
        _times(one),
        '–' if one.bound else f'{_factor(one.low)} to {_factor(one.high)}',
        {
          '': 'ranges overlap',
          'more': 'ranges do not overlap: its largest budget does not reach '
          'what the other has at its smallest',
          'less': 'ranges do not overlap: at its smallest budget it is beyond '
          'the other’s largest',
        }[one.bound],
      )
    )
    for one in found
  ]
  columns = [
    ('architecture', 'text'),
    ('compared with', 'text'),
    ('bits per byte', ''),
    ('times the compute', ''),
    ('95 % interval', ''),
    ('', 'text long'),
  ]
  note = (
    'The interval is of a bootstrap over spans, which are the same for both, '
    'and over the seeds’ spread. Of published models, whose spans are their '
    'own, each value moves by its standard error.'
  )
  yield Table(columns, rows, note=note)


def sentences(
  registered: Facts | None, frame: pd.DataFrame, found: Sequence[Times]
) -> list[str]:
  """Findings: how predictions came out, and how architectures compare."""
  told = []
  for design in (registered or {}).get('designs', ()):
    scores = [
      row['hit']
      for row in registry.scored(design, frame)
      if row['hit'] is not None and row['what'] != 'best size'
    ]
    if scores:
      certified = design['fit']['certificate']['certified']
      told.append(
        f'Of {len(scores)} losses of the {style.title(design["architecture"])} '
        f'at {style.power(design["budget"])} FLOPs that were predicted from '
        f'smaller budgets, {sum(scores)} came out inside their 95 % interval'
        + ('.' if certified else ' (the law is not certified).')
      )
  return told + [_sentence(one) for one in found]


def _sentence(one: Times) -> str:
  other, base = style.title(one.other), style.title(one.base)
  if one.bound == 'more':
    return (
      f'The {other} needs more than {_factor(one.times)} times the {base}’s '
      'compute: at its largest budget it has not reached what the other has at '
      'its smallest.'
    )
  if one.bound:
    return (
      f'The {other} needs less than {_factor(one.times)} times the {base}’s '
      'compute: at its smallest budget it is beyond what the other has at its '
      'largest.'
    )
  return (
    f'For {one.loss:.3f} bits per byte the {other} needs {_factor(one.times)} '
    f'times the {base}’s compute (95 %: {_factor(one.low)} to '
    f'{_factor(one.high)}).'
  )


def _times(one: Times) -> str:
  sign = {'more': '> ', 'less': '< ', '': ''}[one.bound]
  return sign + _factor(one.times)


def _factor(value: float) -> str:
  return f'{value:.2g}' if math.isfinite(value) else '∞'
