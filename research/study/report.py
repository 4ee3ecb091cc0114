"""The report of a study: one self-contained HTML file, written whole."""

from collections.abc import Iterator, Mapping, Sequence
import os
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from research.plots import scaling as plots
from research.plots import style
from research.scaling import compute, frontier, isoflop
from research.scaling import sweep as sweeps
from research.study import findings, store, tables
from research.study.blocks import Picture, Section, Table, Text, picture

YARDSTICK = 'yardstick bits per byte'
NATIVE = 'native validation loss'

_TEMPLATE = Path(__file__).with_name('report.html')


def write(
  frame: pd.DataFrame,
  curves: Mapping[str, pd.DataFrame],
  about: Mapping[str, Any],
  path: str | os.PathLike[str],
) -> Path:
  """Writes the report of a study, whole or not at all.

  Args:
    frame: The results table: tidy rows of every run that is done.
    curves: The training curve (`metrics.jsonl`) of runs, by run.
    about: What the table does not say; every key may be absent:
      `title`, `question`, `command` (text);
      `plan` (a dict a cell with `run` and, as far as known, `state`, `reason`,
      `folder`, `architecture`, `size`, `params`, `budget`, `tokens`, `flops`);
      `swept` (columns of the frame that a grid sweeps; found by themselves
      for learning rate and batch size);
      `provenance` (a dict of facts);
      `evaluation` (a dict or list of the rules numbers were made by);
      `notes` (a list of sentences).
    path: Where the HTML file goes.

  Raises:
    OSError: It cannot be written; what stood at `path` still stands there.
  """
  path = Path(path)
  store.write_whole(path, render(frame, curves, about))
  return path


def render(
  frame: pd.DataFrame,
  curves: Mapping[str, pd.DataFrame],
  about: Mapping[str, Any],
) -> str:
  """The report as HTML; the same study gives the same text."""
  fields = list(about.get('swept') or sweeps.swept(frame))
  environment = jinja2.Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  template = environment.from_string(_TEMPLATE.read_text(encoding='utf-8'))
  sections = [
    Section(id, title, blocks)
    for id, title, made in (
      ('compute', 'Against compute', _compute(frame)),
      ('native', 'Native validation', _native(frame)),
      ('isoflop', 'IsoFLOP curves', _isoflop(frame)),
      ('size', 'Against size', _size(frame)),
      ('domains', 'By domain', _domains(frame)),
      ('training', 'Training curves', _training(frame, curves)),
      ('sweep', 'Swept fields', _sweep(frame, fields)),
      ('cells', 'Cells', _cells(frame, about, fields)),
      ('failures', 'Cells without results', _failures(about)),
      (
        'provenance',
        'What was run, and from where',
        _from(frame, about, fields),
      ),
    )
    if (blocks := list(made))
  ]
  return template.render(
    title=about.get('title') or 'Study',
    question=about.get('question') or '',
    findings=_findings(frame, about, fields),
    sections=sections,
  )


def _measured(
  frame: pd.DataFrame,
  task: str = 'yardstick',
  metric: str = 'bits_per_byte',
  domain: str | None = 'all',
) -> pd.DataFrame:
  """Cells of one measure with their compute, seeds averaged."""
  cells = frontier.over_seeds(frontier.final(frame, task, metric, domain))
  return cells.assign(compute=compute.flops(cells))


def _findings(frame, about, fields) -> list[str]:
  cells = _measured(frame)
  ladder, baselines = frontier.ladder(cells), frontier.baselines(cells)
  minima = {
    YARDSTICK: isoflop.minima(frame),
    NATIVE: isoflop.minima(frame, 'loss', 'validation'),
  }
  by_domain = frontier.ladder(_measured(frame, domain=None))
  return [
    *findings.gains(ladder, YARDSTICK),
    *findings.order(ladder, YARDSTICK),
    *findings.insides({k: v for k, v in minima.items() if len(v)}),
    *findings.against_baselines(ladder, baselines, YARDSTICK),
    *findings.domains(by_domain, YARDSTICK),
    *findings.brackets(sweeps.slices(frame, fields)),
    *findings.failures(about.get('plan') or ()),
  ]


def _compute(frame) -> Iterator[Picture | Text]:
  cells = _measured(frame)
  if cells.empty:
    return
  ladder = frontier.ladder(cells)
  yield Text(
    'Bits per byte of the same target spans given the same context, for every '
    'architecture: the one measure here that compares across them.'
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
    'all compute). Bars are one standard error over spans. Lower is better.',
  )


def _native(frame) -> Iterator[Picture | Text]:
  cells = frontier.ladder(_measured(frame, 'validation', 'loss'))
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


def _isoflop(frame) -> Iterator[Picture | Table | Text]:
  for measure, label, metric, task, share in (
    (YARDSTICK, 'yardstick, bits per byte', 'bits_per_byte', 'yardstick', True),
    (NATIVE, 'native loss, nats per token', 'loss', 'validation', False),
  ):
    curves = isoflop.curves(frame, metric, task)
    if not curves:
      continue
    yield picture(
      plots.isoflop(curves, label, share),
      f'isoflop-{task}',
      f'IsoFLOP curves by {measure}: one curve a budget (in FLOPs, at its '
      'end), darker for larger budgets. Lines are least-squares parabolas in '
      'log N.',
    )
    yield tables.minima(isoflop.minima(frame, metric, task), measure)


def _size(frame) -> Iterator[Picture]:
  cells = frontier.ladder(_measured(frame))
  if cells.empty:
    return
  best = frontier.best_by(cells, 'architecture', 'params')
  yield picture(
    plots.against_size(cells, best, 'yardstick, bits per byte'),
    'size',
    'Faint marks are cells; lines join the best cell of each size, over '
    'budgets.',
  )


def _domains(frame) -> Iterator[Picture]:
  cells = _measured(frame, domain=None)
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


def _training(frame, curves) -> Iterator[Picture]:
  runs = frame.groupby('run', sort=False)[
    ['architecture', 'params', 'flops', 'tokens']
  ].first()
  parts = []
  for run, facts in runs.iterrows():
    curve = curves.get(str(run))
    if curve is None or curve.empty:
      continue
    per_token = float(facts['flops']) / float(facts['tokens'])
    thin = _thinned(curve)
    parts.append(
      thin.assign(
        run=run,
        architecture=facts['architecture'],
        params=float(facts['params']),
        compute=thin['tokens'] * per_token,
      )
    )
  if parts:
    yield picture(
      plots.training(pd.concat(parts)),
      'training',
      'Training loss of every run, averaged in bins of equal width in log '
      'steps; darker lines are larger models. Losses of different '
      'architectures are of different objectives.',
    )


def _thinned(curve: pd.DataFrame, points: int = 80) -> pd.DataFrame:
  """A training curve averaged in at most `points` bins of log step."""
  curve = curve[curve['step'] > 0]
  edges = np.geomspace(1, curve['step'].max() + 1, points)
  bins = np.digitize(curve['step'], edges)
  return curve.groupby(bins)[['step', 'tokens', 'loss']].mean()


def _sweep(frame, fields) -> Iterator[Picture | Table | Text]:
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
        'best': s.bracket.value,
        'bracketed': s.bracket.both,
      }
      for s in slices
      if s.field == field
    ]
    yield picture(
      plots.sweep(mine, field, 'native loss, nats per token'),
      f'sweep-{field.replace(".", "-")}',
      f'Validation loss over {field.replace("_", " ")}, one line a model.',
    )
  yield tables.sweep(slices)


def _cells(frame, about, fields) -> Iterator[Table]:
  yield tables.cells(frame, about.get('plan') or (), fields)


def _failures(about) -> Iterator[Table]:
  table = tables.failures(about.get('plan') or ())
  if table:
    yield table


def _from(frame, about, fields) -> Iterator[Text | Table]:
  if about.get('command'):
    yield Text(str(about['command']), 'code')
  yield from map(Text, _sentences(about.get('notes') or ()))
  yield tables.provenance(frame, about.get('provenance') or {}, fields)
  rules = about.get('evaluation') or ()
  if rules:
    yield Text('Evaluation rules:')
    yield from map(Text, _sentences(rules))
  yield Text(f'FLOP convention: {compute.CONVENTIONS["model"].note}')


def _sentences(facts: Mapping[str, Any] | Sequence[str]) -> list[str]:
  if isinstance(facts, Mapping):
    return [f'{name}: {value}' for name, value in facts.items()]
  return [str(fact) for fact in facts]
