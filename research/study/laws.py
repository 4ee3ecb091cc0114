"""Laws in the report: their parameters, and what compute buys by them."""

from collections.abc import Iterator, Mapping, Sequence
import math
from typing import Any

import numpy as np
import pandas as pd

from research.config import BadInput
from research.plots import fits as fit_plots
from research.plots import style
from research.scaling import (
  compute,
  isoflop,
  points,
  sensitivity,
)
from research.scaling import fit as fits
from research.scaling.fit import Fit
from research.scaling.laws.law import Law
from research.study import predictions as registry
from research.study.blocks import Facts, Picture, Row, Table, Text, picture

MEASURE = 'native validation loss'


def fitted(
  frame: pd.DataFrame, law: Law, resamples: int = 500
) -> dict[str, Fit]:
  """The law of each architecture with two budgets and enough cells."""
  found = {}
  for name, given in points.from_study(frame, **registry.MEASURE).items():
    budgets = np.unique(given.budget[np.isfinite(given.budget)])
    if len(budgets) < 2 or len(given) < law.least:
      continue
    try:
      found[name] = fits.fit(law, given, resamples=resamples, starts=300)
    except BadInput:  # A column that the law needs is not in the table.
      continue
  return found


def laws(found: Mapping[str, Fit]) -> Iterator[Text | Picture | Table]:
  """Each architecture's law with intervals, and whether to trust it."""
  if not found:
    return
  law = next(iter(found.values())).law
  yield Text(
    f'{type(law).__name__}’s law, fitted to each architecture’s {MEASURE} by '
    'the budgets of its ladder (cells that the study marks as not fitted, for '
    'being far from where the ladder was tuned, are left out). Losses of '
    'different objectives do not compare, nor do their floors. Intervals hold '
    '95 % of bootstrap refits; seeds, where cells are repeated, are in them, '
    'the choice of validation text is not.'
  )
  budgets = sorted({b for fit in found.values() for b in fit.points.flops})
  yield picture(
    fit_plots.figure(dict(found), [2 * budgets[-1]]),
    'laws',
    'Left, losses over compute, darker for larger models, with the law at each '
    'size and its frontier. Middle, what the fit leaves. Right, the best size '
    'for a budget with its interval over the sizes that were tried.',
  )
  yield _parameters(found)
  yield _frontier(found)
  yield _conventions(found)


def _parameters(found: Mapping[str, Fit]) -> Table:
  names = list(
    dict.fromkeys(n for fit in found.values() for n in fit.parameters)
  )
  heads = ['certified', 'cells', 'rms left', *names, 'a', 'b']
  told = [_column(fit, names) for fit in found.values()]
  return Table(
    [('', 'text'), *((style.title(name), 'text long') for name in found)],
    [
      Row((head, *row), flag=any(text.startswith('no: ') for text in row))
      for head, row in zip(heads, zip(*told, strict=True), strict=True)
    ],
    caption='Laws',
    note='N* ∝ C^a and D* ∝ C^b by model FLOPs. N counts all parameters. '
    'Certified: many starts agree on one minimum, where the gradient is nil, '
    'and no parameter stands at a bound.',
  )


def _column(fit: Fit, names: Sequence[str]) -> list[str]:
  """What the table says of one law, from its verdict to its exponents."""
  record = fit.to_dict()
  fitted = fit.law.fitted(fit.solution.theta, fit.points)
  left = np.log(fit.points.loss / fitted)
  return [
    _verdict(record['certificate']),
    str(len(fit.points)),
    f'{np.sqrt(np.mean(left**2)):.2%}',
    *(
      _ranged(record['parameters'].get(p), record['interval95'].get(p))
      for p in names
    ),
    *(_spread(record['derived'].get(e)) for e in ('a', 'b')),
  ]


def _verdict(certificate: Facts) -> str:
  faults, warnings = certificate['faults'], certificate['warnings']
  told = '; '.join([*faults, *warnings])
  return ('no: ' if faults else 'yes; ' if warnings else 'yes') + told


def _frontier(found: Mapping[str, Fit]) -> Table:
  """The compute-optimal frontier of what is certified, and a step beyond."""
  columns = [
    ('architecture', 'text'),
    ('compute, FLOPs', ''),
    ('N*', ''),
    ('D*', ''),
    ('tokens per parameter', ''),
    ('loss there', ''),
    ('isoFLOP N*', ''),
  ]
  rows = []
  for name, fit in found.items():
    if not fit.certificate.certified:
      rows.append(Row((style.title(name), 'not certified', *['–'] * 5), True))
      continue
    budgets = list(np.unique(fit.points.budget[np.isfinite(fit.points.budget)]))
    asked = [*budgets, 4 * budgets[-1]]
    losses = fit.frontier(asked)
    for i, best in enumerate(fit.optimum(asked)):
      loss = '–'
      if math.isfinite(losses.value[i]):
        ends = [float(losses.low[i]), float(losses.high[i])]
        loss = _ranged(float(losses.value[i]), ends)
      tried = '–' if asked[i] not in budgets else _parabola(fit, asked[i])
      rows.append(
        Row(
          (
            style.title(name),
            style.power(best['compute']) + ('' if i < len(budgets) else ' *'),
            _short(best['params']),
            _short(best['tokens']),
            _spread(best['tokens_per_parameter']),
            loss,
            tried,
          )
        )
      )
  return Table(
    columns,
    rows,
    caption='What compute buys, by the laws',
    note='* four times the largest budget: an extrapolation. The last column '
    'is the minimum of the budget’s parabola, where it lies inside the grid.',
  )


def _parabola(fit: Fit, budget: float) -> str:
  mine = fit.points.take(fit.points.budget == budget)
  if len(np.unique(mine.params)) < 3:
    return '–'
  curve = isoflop.fit(mine.params, mine.loss)
  if curve.params is None or not curve.inside:
    return curve.verdict
  return style.short(curve.params)


def _conventions(found: Mapping[str, Fit]) -> Table:
  """How far `a` moves with the way FLOPs and parameters are counted."""
  columns = [('architecture', 'text'), *((n, '') for n in compute.CONVENTIONS)]
  rows = []
  for name, fit in found.items():
    moved = sensitivity.conventions(fit.law, fit.points, 'model')
    told = [
      f'{moved[c]["a"]:.3f} ({moved[c]["moved"]:+.3f})'
      + ('' if moved[c]['certified'] else ', uncertified')
      if c in moved
      else '–'
      for c in compute.CONVENTIONS
    ]
    rows.append(Row((style.title(name), *told)))
  notes = ' '.join(f'{n}: {c.note}' for n, c in compute.CONVENTIONS.items())
  return Table(
    columns,
    rows,
    caption='The exponent a under other ways of counting FLOPs',
    note=f'In brackets, how far it moves from model FLOPs. {notes}',
  )


def _ranged(value: float | None, ends: Sequence[float | None] | None) -> str:
  """`1.23 [1.1, 1.4]`."""
  if value is None:
    return '–'
  return f'{value:.3g}' + _ends(ends, '{:.3g}'.format)


def _spread(row: Facts | None) -> str:
  return _ranged(row['value'], row['interval95']) if row else '–'


def _short(row: Facts) -> str:
  return style.short(row['value']) + _ends(row['interval95'], style.short)


def _ends(ends: Sequence[float | None] | None, form: Any) -> str:
  if not ends:
    return ''
  low, high = (
    '∞' if e is None or not math.isfinite(e) else form(e) for e in ends
  )
  return f' [{low}, {high}]'
