"""The report of a study: one self-contained HTML file, written whole."""

from collections.abc import Mapping
import os
from pathlib import Path
import shlex
import sys
from typing import Any

from etils import epath
import jinja2
import pandas as pd

from research import config
from research.files import write_whole
from research.scaling import frontier
from research.scaling import sweep as sweeps
from research.study import (
  abilities,
  findings,
  items,
  laws,
  predictions,
  scores,
  sections,
  store,
)
from research.study.blocks import Section
from research.study.cells import Cell
from research.study.plan import StudyConfig, cells

_TEMPLATE = Path(__file__).with_name('report.html')


def make(study: StudyConfig, workdir: str | os.PathLike[str]) -> store.Path:
  """Writes the report of the study in `workdir` and returns its path.

  Raises:
    BadInput: The folder holds no results.
    OSError: The report cannot be written.
  """
  workdir = epath.Path(workdir)
  planned = cells(study)
  curves = {c.name: store.curve(c.folder(workdir)) for c in planned}
  frame = store.frame(workdir)
  axes = [axis for d in study.designs for axis in getattr(d, 'axes', ())]
  about = {
    'title': study.title,
    'question': study.question,
    'command': _command(),
    'plan': [_planned(cell, workdir) for cell in planned],
    'swept': list(dict.fromkeys(a.field for a in axes if a.field != 'seed')),
    'provenance': {'study': config.fingerprint(study)},
    'config': config.to_dict(study),
    'law': study.law,
    'predictions': predictions.read(workdir),
    'spans': store.spans(workdir),
    'marked': items.of_study(frame, workdir),
  }
  return write(frame, curves, about, workdir / 'report.html')


def _command() -> str:
  """How the study was started, if by its experiment."""
  program, *flags = sys.argv
  if Path(program).name != 'study.py':
    return ''
  flags = [flag for flag in flags if not flag.startswith('--mode')]
  return shlex.join(['python', '-m', 'experiments.study', *flags])


def _planned(cell: Cell, workdir: store.Path) -> dict[str, Any]:
  state = store.status(cell.folder(workdir))
  return {
    'run': cell.name,
    'architecture': cell.architecture,
    'params': cell.params,
    'tokens': cell.tokens,
    'flops': cell.flops,
    **cell.labels,
    **state._asdict(),
  }


def write(
  frame: pd.DataFrame,
  curves: Mapping[str, pd.DataFrame],
  about: Mapping[str, Any],
  path: str | os.PathLike[str],
) -> store.Path:
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
      `provenance` (a dict of facts, beside those in the rows);
      `config` (a dict: the study's own, folded away);
      `notes` (a list of sentences);
      `law` (fitted to each architecture; none without it);
      `predictions` (what `predictions.read` returns);
      `spans` (a frame: bits of each span of the yardstick by run);
      `marked` (the results table with the marks of single items, from which
      abilities are judged; the table itself without it).
    path: Where the HTML file goes.

  Raises:
    OSError: It cannot be written; what stood at `path` still stands there.
  """
  path = epath.Path(path)
  write_whole(path, render(frame, curves, about))
  return path


def render(
  frame: pd.DataFrame,
  curves: Mapping[str, pd.DataFrame],
  about: Mapping[str, Any],
) -> str:
  """The report as HTML; the same study gives the same text."""
  columns = dict.fromkeys([*frontier.COLUMNS, *frame.columns])
  frame = frame.reindex(columns=list(columns))
  fields = [f for f in about.get('swept') or () if f in frame]
  fields = fields or sweeps.swept(frame)
  plan = about.get('plan') or ()
  law, registered = about.get('law'), about.get('predictions')
  fitted = laws.fitted(frame, law) if law else {}
  marked = about.get('marked')
  judged = abilities.judged(frame if marked is None else marked)
  compared = scores.compared(frame, about.get('spans'))
  environment = jinja2.Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  template = environment.from_string(_TEMPLATE.read_text(encoding='utf-8'))
  made = [
    Section(id, title, blocks)
    for id, title, parts in (
      ('sweep', 'Swept fields', sections.swept(frame, fields)),
      ('compute', 'Against compute', sections.against_compute(frame)),
      ('native', 'Native validation', sections.native(frame)),
      ('isoflop', 'IsoFLOP curves', sections.isoflops(frame)),
      ('laws', 'Laws, and what compute buys', laws.laws(fitted)),
      (
        'predictions',
        'Registered predictions',
        scores.predictions(registered, frame),
      ),
      ('pairs', 'Architectures compared', scores.architectures(compared)),
      ('size', 'Against size', sections.against_size(frame)),
      ('domains', 'By domain', sections.by_domain(frame)),
      ('abilities', 'Abilities', abilities.abilities(judged)),
      ('training', 'Training curves', sections.training(frame, curves)),
      ('cells', 'Cells', sections.cells(frame, plan, fields)),
      ('failures', 'Cells without results', sections.failures(plan)),
      (
        'provenance',
        'What was run, and from where',
        sections.origin(frame, about, fields),
      ),
    )
    if (blocks := list(parts))
  ]
  return template.render(
    title=about.get('title') or 'Study',
    question=about.get('question') or '',
    findings=[
      *_findings(frame, about, fields),
      *scores.sentences(registered, frame, compared),
      *abilities.sentences(judged),
    ],
    sections=made,
  )


def _findings(frame, about, fields) -> list[str]:
  cells = sections.measured(frame)
  ladder, baselines = frontier.ladder(cells), frontier.baselines(cells)
  by_domain = frontier.ladder(sections.measured(frame, domain=None))
  return [
    *findings.gains(ladder, sections.YARDSTICK),
    *findings.order(
      ladder, sections.YARDSTICK, scores.errors(frame, about.get('spans'))
    ),
    *(
      s
      for m, t in sections.fitted(frame).items()
      for s in findings.insides(t, m)
    ),
    *findings.against_baselines(ladder, baselines, sections.YARDSTICK),
    *findings.domains(by_domain, sections.YARDSTICK),
    *findings.brackets(sweeps.slices(frame, fields)),
    *findings.failures(about.get('plan') or ()),
  ]
