"""The running of a study: what is done stays done, the rest is executed."""

from collections.abc import Callable
import json
from pathlib import Path

from research import config
from research.config import BadInput
from research.study import store
from research.study.cells import Cell, Work
from research.study.executors import Event
from research.study.plan import StudyConfig, cells, groups


def claim(study: StudyConfig, workdir: Path) -> None:
  """Makes `workdir` the study's own.

  Raises:
    BadInput: It holds another study.
    OSError: It cannot be written.
  """
  path = workdir / 'study.json'
  mine = config.fingerprint(study)
  if path.exists():
    theirs = json.loads(path.read_text(encoding='utf-8'))['fingerprint']
    if theirs != mine:
      raise BadInput(
        f'workdir={workdir} holds another study ({theirs}, this is {mine});'
        ' name another --workdir, or delete it'
      )
    return
  text = {'fingerprint': mine, 'config': config.to_dict(study)}
  store.write_whole(path, json.dumps(text, indent=1) + '\n')


def run(
  study: StudyConfig, workdir: Path, listen: Callable[[Event], None]
) -> list[Cell]:
  """Runs the cells of `study` that are not done; returns the whole plan.

  The table in `workdir` is rewritten from the runs at the end, also when the
  study is interrupted.
  """
  claim(study, workdir)
  planned = cells(study)
  todo = [
    left
    for group in groups(planned)
    if (left := [(i, c) for i, c in group if not _done(c, workdir)])
  ]
  try:
    study.executor.run(todo, Work(workdir, study.evaluation), listen)
  finally:
    collect(planned, workdir)
  return planned


def collect(planned: list[Cell], workdir: Path) -> None:
  """Writes the study's table: the rows of its finished runs, in plan order."""
  rows = []
  for cell in planned:
    if _done(cell, workdir):
      rows += store.read_rows(cell.folder(workdir) / store.RESULTS)
  store.write_rows(workdir / store.RESULTS, rows)


def _done(cell: Cell, workdir: Path) -> bool:
  return store.status(cell.folder(workdir)).state == 'done'
