"""The running of a study: what is done stays done, the rest is executed."""

from collections.abc import Callable
import json

from research import config
from research.config import BadInput
from research.files import write_whole
from research.study import identity, predictions, store
from research.study.cells import Cell, Work
from research.study.cells import check as check_cell
from research.study.executors import Event
from research.study.plan import StudyConfig, cells, groups, waiting
from research.study.published import Published

STUDY = 'study.json'


def check(study: StudyConfig, workdir: store.Path) -> None:
  """Refuses a folder that is another study's; writes nothing.

  Raises:
    BadInput: It is.
  """
  path = workdir / STUDY
  if not path.exists():
    return
  theirs = json.loads(path.read_text(encoding='utf-8'))['fingerprint']
  mine = config.fingerprint(study)
  if theirs != mine:
    raise BadInput(
      f'workdir={workdir} holds another study ({theirs}, this is {mine});'
      ' name another --workdir, or delete it'
    )


def claim(study: StudyConfig, workdir: store.Path) -> None:
  """Makes `workdir` the study's own.

  Raises:
    BadInput: It holds another study.
    OSError: It cannot be written.
  """
  check(study, workdir)
  if (workdir / STUDY).exists():
    return
  text = {
    'fingerprint': config.fingerprint(study),
    'config': config.to_dict(study),
  }
  try:
    write_whole(workdir / STUDY, json.dumps(text, indent=1) + '\n')
  except OSError as error:
    raise OSError(
      f'workdir={workdir} cannot be written: {error.strerror}; name another'
      ' --workdir, or make it writable'
    ) from None


def run(
  study: StudyConfig, workdir: store.Path, listen: Callable[[Event], None]
) -> list[Cell]:
  """Runs the cells of `study` that are not done; returns the whole plan.

  Text is tokenised and every cell checked first. Cells that wait for a
  prediction of them are run when the others are done and it is registered. The
  table in `workdir` is rewritten from the runs at the end, also when the study
  is interrupted; published checkpoints whose identity is in doubt have failed
  then (`study/identity.py`).

  Raises:
    BadInput: A cell does not fit its data, its evaluation or the devices, or
      `workdir` holds another study.
    OSError: `workdir` cannot be written.
  """
  check(study, workdir)
  planned = cells(study)
  for cell in planned:
    if not _done(cell, workdir):
      check_cell(cell, study.evaluation)
  claim(study, workdir)
  work = Work(workdir, study.evaluation, study.executor.at_once)
  held = {cell.name for cell in waiting(study)}
  early = {cell.name for cell in planned} - held
  try:
    study.executor.run(_todo(planned, early, workdir), work, listen)
    if held:
      collect(planned, workdir)
      predictions.register(study, workdir)
      study.executor.run(_todo(planned, held, workdir), work, listen)
  finally:
    try:
      _refuse(planned, workdir)
    finally:
      collect(planned, workdir)
  return planned


def _refuse(planned: list[Cell], workdir: store.Path) -> None:
  """Takes back rows of published models that are not what they are called."""
  chains: dict[str, dict[int, store.Path]] = {}
  for cell in planned:
    if isinstance(cell.config, Published) and _done(cell, workdir):
      chain = chains.setdefault(cell.labels['series'], {})
      chain[cell.config.step] = cell.folder(workdir)
  for runs in chains.values():
    weights = {step: identity.read(run) for step, run in runs.items()}
    for step, reason in identity.doubts(weights).items():
      store.refuse(runs[step], reason)


def _todo(
  planned: list[Cell], names: set[str], workdir: store.Path
) -> list[list[tuple[int, Cell]]]:
  """The cells of those names that are not done, by shape."""
  groups_left = [
    [(i, c) for i, c in group if c.name in names and not _done(c, workdir)]
    for group in groups(planned)
  ]
  return [group for group in groups_left if group]


def collect(planned: list[Cell], workdir: store.Path) -> None:
  """Writes the study's tables: rows of its finished runs, in plan order."""
  done = [c.folder(workdir) for c in planned if _done(c, workdir)]
  for name in (store.SPANS, store.RESULTS):
    paths = [run / name for run in done if (run / name).exists()]
    rows = (row for path in paths for row in store.read_rows(path))
    store.write_rows(workdir / name, rows)


def _done(cell: Cell, workdir: store.Path) -> bool:
  return store.status(cell.folder(workdir)).state == 'done'
