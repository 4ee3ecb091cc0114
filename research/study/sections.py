"""Sections of the report: what each shows, and the words around it.

Each function yields the blocks of one section, none if the study has nothing
to show there.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from research.plots import scaling as plots
from research.plots import style
from research.plots import training as training_plots
from research.scaling import compute, frontier, isoflop
from research.scaling import sweep as sweeps
from research.study import origins
from research.study import report_tables as tables
from research.study.blocks import Facts, Picture, Table, Text, picture

YARDSTICK = 'yardstick bits per byte'
NATIVE = 'native validation loss'


def measured(
  frame: pd.DataFrame,
  task: str = 'yardstick',
  metric: str = 'bits_per_byte',
  domain: str | None = 'all',
) -> pd.DataFrame:
  """Cells of one measure with their compute, seeds averaged."""
  cells = frontier.over_seeds(frontier.final(frame, task, metric, domain))
  return cells.assign(compute=compute.flops(cells))


def fitted(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
  """The isoFLOP minima by measure, of those with a curve to fit."""
  tables = {
    YARDSTICK: isoflop.minima(frame),
    NATIVE: isoflop.minima(frame, 'loss', 'validation'),
  }
  return {
    measure: table
    for measure, table in tables.items()
    if set(table['verdict']) - {'too few sizes'}
  }


def against_compute(frame: pd.DataFrame) -> Iterator[Picture | Text]:
  """Yardstick over compute, with envelopes and baselines."""
  cells = measured(frame)
  if cells.empty:
    return
  ladder = frontier.ladder(cells)
  same = _same_spans(frame)
  yield Text(
    'Bits per byte of the same target spans given the same context, for every '
    'architecture: the one measure here that compares across them.'
    if same
    else 'Bits per byte of target spans given their context. Models here '
    'differ in tokenizer or text, so spans are not the same bytes for all: '
    'small differences between such models may be of their spans.'
  )
  yield picture(
    plots.against_compute(
      ladder,
      frontier.envelope(ladder),
      frontier.baselines(cells),
      'yardstick, bits per byte',
    ),
    'compute',
    'Faint marks are cells; lines join the cells on each architecture’s lower '
    'envelope; broken lines are baselines (level where one model stands for '
    'all compute). Bars are one standard error over spans'
    + (
      '; all models read the same spans, so their differences are known better '
      'than the bars suggest'
      if same
      else ''
    )
    + '. Lower is better.',
  )


def _same_spans(frame: pd.DataFrame) -> bool:
  """Whether all models read the same spans of the yardstick."""
  asked = frontier.where(frame, frame['task'] == 'yardstick')
  return 'data_hash' not in asked or len(set(asked['data_hash'].dropna())) < 2


def native(frame: pd.DataFrame) -> Iterator[Picture | Text]:
  """Native loss over compute, each architecture by itself."""
  cells = frontier.ladder(measured(frame, 'validation', 'loss'))
  if cells.empty:
    return
  panels = {
    style.title(str(name)): (group, frontier.envelope(group), group.iloc[:0])
    for name, group in cells.groupby('architecture', sort=False)
  }
  yield Text(
    'Validation loss of each architecture’s own objective. These numbers are '
    'not comparable across architectures: predicting a masked token from both '
    'sides is another task than predicting the next one.'
  )
  yield picture(
    plots.against_compute_by(panels, 'native loss, nats per token', False),
    'native',
    'Each panel has its own loss axis. Faint marks are cells, lines lower '
    'envelopes.',
  )


def isoflops(frame: pd.DataFrame) -> Iterator[Picture | Table | Text]:
  """IsoFLOP curves by both measures, and their minima.

  None where no budget has three sizes.
  """
  minima = fitted(frame)
  for measure, label, metric, task, share in (
    (YARDSTICK, 'yardstick, bits per byte', 'bits_per_byte', 'yardstick', True),
    (NATIVE, 'native loss, nats per token', 'loss', 'validation', False),
  ):
    if measure not in minima:
      continue
    curves = isoflop.curves(frame, metric, task)
    yield picture(
      plots.isoflop(curves, label, share),
      f'isoflop-{task}',
      f'IsoFLOP curves by {measure}: one curve a budget (in FLOPs, at its '
      'end), darker for larger budgets. Lines are least-squares parabolas in '
      'log N.',
    )
  if minima:
    yield tables.minima(minima)


def against_size(frame: pd.DataFrame) -> Iterator[Picture]:
  """Yardstick over parameters."""
  cells = frontier.ladder(measured(frame))
  if cells.empty:
    return
  best = frontier.best_by(cells, 'architecture', 'params')
  yield picture(
    plots.against_size(cells, best, 'yardstick, bits per byte'),
    'size',
    'Faint marks are cells; lines join the best cell of each size, over '
    'budgets.',
  )


def by_domain(frame: pd.DataFrame) -> Iterator[Picture]:
  """Yardstick over compute, one panel a domain."""
  cells = measured(frame, domain=None)
  panels = {}
  for name, group in cells.groupby('domain', sort=False):
    ladder = frontier.ladder(group)
    panels[str(name)] = (
      ladder,
      frontier.envelope(ladder),
      frontier.baselines(group),
    )
  if panels:
    yield picture(
      plots.against_compute_by(panels, 'yardstick, bits per byte'),
      'domains',
      'The same as the first figure, for the spans of each domain.',
    )


def training(
  frame: pd.DataFrame, curves: Mapping[str, pd.DataFrame]
) -> Iterator[Picture]:
  """Training loss of every run."""
  parts = []
  for run in frame.drop_duplicates('run').to_dict('records'):
    curve = curves.get(str(run['run']))
    if curve is None or not {'step', 'tokens', 'loss'} <= set(curve.columns):
      continue
    thin = _thinned(curve)
    parts.append(
      thin.assign(
        run=run['run'],
        architecture=run['architecture'],
        params=run['params'],
        compute=thin['tokens'] * (run['flops'] / run['tokens']),
      )
    )
  if parts:
    yield picture(
      training_plots.training(pd.concat(parts)),
      'training',
      'Training loss of every run, averaged in bins of equal width in log '
      'steps; darker lines are larger models. Losses of different '
      'architectures are of different objectives.',
    )


def _thinned(curve: pd.DataFrame, points: int = 80) -> pd.DataFrame:
  """A training curve averaged in at most `points` bins of log step."""
  steps = curve['step'].to_numpy(float) + 1
  bins = np.digitize(steps, np.geomspace(1, steps.max() + 1, points))
  columns = curve.loc[:, ['step', 'tokens', 'loss']].astype(float)
  return columns.groupby(bins).mean().dropna()


def swept(
  frame: pd.DataFrame, fields: Sequence[str]
) -> Iterator[Picture | Table | Text]:
  """Loss over each swept field, and what is bracketed."""
  slices = sweeps.slices(frame, fields)
  if not slices:
    return
  for field in dict.fromkeys(s.field for s in slices):
    mine = [
      {
        'architecture': s.architecture,
        'name': tables.described(s),
        'values': s.values,
        'losses': s.losses,
        'best': s.best,
        'bracketed': s.bracket is None or s.bracket.both,
      }
      for s in slices
      if s.field == field
    ]
    yield picture(
      training_plots.sweep(mine, field, 'native loss, nats per token'),
      f'sweep-{field.replace(".", "-")}',
      f'Validation loss over {field.replace("_", " ")}, one line a model.',
    )
  yield tables.sweep(slices)


def cells(
  frame: pd.DataFrame, plan: Sequence[Facts], fields: Sequence[str]
) -> Iterator[Table]:
  """What every cell cost and reached."""
  known = tables.runs(frame, plan)
  yield tables.cells(known, fields)
  if measures := tables.measures(known):
    yield measures


def failures(plan: Sequence[Facts]) -> Iterator[Table]:
  """Which cells have no results, and why."""
  table = origins.failures(plan)
  if table:
    yield table


def origin(
  frame: pd.DataFrame, about: Facts, fields: Sequence[str]
) -> Iterator[Text | Table]:
  """What was run, by what rules, and from where."""
  if about.get('command'):
    yield Text(str(about['command']), 'code')
  yield from map(Text, about.get('notes') or ())
  yield origins.provenance(frame, about.get('provenance') or {}, fields)
  if rules := origins.rules(frame):
    yield rules
  yield Text(f'FLOPs: {compute.CONVENTIONS["model"].note}')
  if config := about.get('config'):
    yield origins.facts(config, folded='The study’s config')
