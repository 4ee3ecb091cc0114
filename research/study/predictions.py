"""Predictions: what small budgets say of the largest, before it is trained.

STUDY/predictions.json      written once, when all but the waiting cells ran

A prediction is of the native validation loss. It holds only if it stood before
the cells that it is of began, and from rows that are still the study's: the
file says when and from what, and the report whether that is so.
"""

from collections.abc import Iterable, Mapping, Sequence
import datetime
import hashlib
import json
import math
from typing import Any

import pandas as pd

from research import provenance
from research.config import BadInput
from research.files import Path, write_whole
from research.scaling import fit as fits
from research.scaling import frontier, isoflop, points, record
from research.scaling.laws.law import Law
from research.study import store
from research.study.cells import Cell
from research.study.plan import IsoFlop, StudyConfig

PREDICTIONS = 'predictions.json'
MEASURE = {'task': 'validation', 'metric': 'loss', 'domain': 'all'}

Registered = dict[str, Any]
"""What was registered of one design."""


def register(study: StudyConfig, workdir: Path) -> None:
  """Writes what the study predicts, unless that was done before.

  Raises:
    OSError: It cannot be written.
  """
  path = workdir / PREDICTIONS
  if path.exists():
    return
  rows = store.read_rows(workdir / store.RESULTS)
  text = {
    'registered': _now(),
    'measure': MEASURE,
    'provenance': provenance.provenance(),
    'designs': [
      _predict(design, study.law, rows, workdir)
      for design in study.designs
      if isinstance(design, IsoFlop) and design.predicted
    ],
  }
  write_whole(path, json.dumps(record.finite(text), indent=1) + '\n')


def read(workdir: Path) -> dict[str, Any] | None:
  """What is registered; None if nothing is.

  Each design has a further key `changed`: runs whose rows are no longer those
  that the prediction came from.
  """
  path = workdir / PREDICTIONS
  if not path.exists():
    return None
  text = json.loads(path.read_text(encoding='utf-8'))
  table = workdir / store.RESULTS
  now = _hashes(store.read_rows(table) if table.exists() else [])
  for design in text['designs']:
    was = design['rows']
    design['changed'] = [run for run in was if now.get(run) != was[run]]
  return text


def _predict(
  design: IsoFlop,
  law: Law,
  rows: Sequence[Mapping[str, Any]],
  workdir: Path,
) -> Registered:
  """What a design's smaller budgets say of its largest."""
  cells = list(design.cells())
  waiting = [cell for cell in cells if design.waits(cell)]
  smaller = {cell.name for cell in cells} - {cell.name for cell in waiting}
  used = [row for row in rows if row['run'] in smaller and _measured(row)]
  begun = [
    cell.name
    for cell in waiting
    if store.status(cell.folder(workdir)).state != 'waiting'
  ]
  budget = max(design.budgets)
  return {
    'architecture': design.ladder.base.architecture,
    'budget': budget,
    'rows': _hashes(used),
    'begun': begun,
    **_fitted(law, used, waiting, budget),
  }


def _fitted(
  law: Law,
  rows: Sequence[Mapping[str, Any]],
  waiting: Sequence[Cell],
  budget: float,
) -> dict[str, Any]:
  """The fit and its predictions; why there are none, if there are none."""
  nothing = {'fit': None, 'cells': [], 'best': None}
  frame = pd.DataFrame(rows).reindex(columns=list(frontier.COLUMNS))
  found = list(points.from_study(frame, **MEASURE).values())
  if not found:
    return {'reason': 'no smaller cell has results', **nothing}
  (seen,) = found
  try:
    fit = fits.fit(law, seen, held_out=False)
  except BadInput as error:
    return {'reason': str(error), **nothing}
  sizes: dict[str, list[Cell]] = {}
  for cell in waiting:
    sizes.setdefault(cell.labels['size'], []).append(cell)
  return {
    'reason': '',
    'fit': fit.to_dict(compute=[budget]),
    'cells': [_cell(fit, mine) for mine in sizes.values()],
    'best': _best(fit, budget),
  }


def _cell(fit: fits.Fit, cells: Sequence[Cell]) -> dict[str, Any]:
  """The loss predicted of one size; `cells` are its seeds."""
  first = cells[0]
  return {
    'size': first.labels['size'],
    'params': first.params,
    'tokens': first.tokens,
    'runs': [cell.name for cell in cells],
    'loss': _ranged(fit, first.params, first.tokens, first.flops),
  }


def _best(fit: fits.Fit, budget: float) -> dict[str, Any] | None:
  """The best size predicted at the budget, and the loss there.

  None where the law has no best size, or one beyond all bounds.
  """
  for best in fit.optimum([budget]):
    n, d = best['params']['value'], best['tokens']['value']
    if math.isfinite(n) and math.isfinite(d) and n > 0 and d > 0:
      return {
        'params': {k: best['params'][k] for k in ('value', 'interval95')},
        'loss': _ranged(fit, n, d, budget),
      }
  return None


def _ranged(fit: fits.Fit, params, tokens, flops) -> dict[str, Any]:
  p = fit.predict(params, tokens, observed=True, flops=flops)
  low, high = float(p.low[0]), float(p.high[0])
  return {
    'value': float(p.value[0]),
    'interval95': [low, high],
    'factor': float(p.factor[0]),
  }


def scored(design: Registered, frame: pd.DataFrame) -> list[dict[str, Any]]:
  """Each predicted number beside what came out.

  Args:
    design: What was registered of it.
    frame: The study's results table.

  Returns:
    A dict a number: `what` (`loss of 16x1`, `best size`, `loss at best size`),
    `predicted`, `low`, `high`, `actual` (None where it is not known, with the
    reason in `why`) and `hit` (None likewise). The best size that came out is
    the minimum of the budget's isoFLOP parabola.
  """
  found = frontier.final(frame, **MEASURE)
  rows = []
  for cell in design['cells']:
    mine = frontier.where(found, found['run'].isin(cell['runs']))
    values = mine['value'].to_numpy(float)
    actual = float(values.mean()) if len(values) else None
    what = f'loss of {cell["size"]}'
    rows.append(_row(what, cell['loss'], actual, 'it has no result'))
  if design['best']:
    n, loss, why = _minimum(design, frame)
    rows.append(_row('best size', design['best']['params'], n, why))
    rows.append(_row('loss at best size', design['best']['loss'], loss, why))
  return rows


def _minimum(
  design: Registered, frame: pd.DataFrame
) -> tuple[float | None, float | None, str]:
  """N* and loss of the budget's parabola; the reason where there is none."""
  table = isoflop.minima(frame, MEASURE['metric'], MEASURE['task'])
  for row in table.to_dict('records'):
    there = row['architecture'], row['budget']
    if there == (design['architecture'], design['budget']):
      if row['inside']:
        return row['params'], row['loss'], ''
      return None, None, f'its isoFLOP minimum is {row["verdict"]}'
  return None, None, 'its budget has no result'


def _row(
  what: str, predicted: Mapping[str, Any], actual: float | None, why: str
) -> dict[str, Any]:
  low, high = predicted['interval95']
  row = {'what': what, 'predicted': predicted['value'], 'low': low}
  row |= {'high': high, 'actual': actual, 'hit': None, 'why': why}
  if actual is None:
    return row
  if low is None or high is None:
    return row | {'why': 'it has no interval'}
  return row | {'hit': low <= actual <= high, 'why': ''}


def _measured(row: Mapping[str, Any]) -> bool:
  return all(row.get(name) == value for name, value in MEASURE.items())


def _hashes(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
  """The hash of each run's measured row, as it stands in the table."""
  return {
    row['run']: hashlib.blake2b(
      json.dumps(row, sort_keys=True).encode(), digest_size=16
    ).hexdigest()
    for row in rows
    if _measured(row)
  }


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
