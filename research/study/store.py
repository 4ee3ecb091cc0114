"""Where results are kept: tidy rows, written whole, owned by their run.

STUDY/study.json            the plan's config
STUDY/runs/NAME/            one run: config, checkpoints, metrics
STUDY/runs/NAME/results.jsonl   its rows; there once the cell is done
STUDY/runs/NAME/spans.jsonl     bits of each span of the yardstick
STUDY/runs/NAME/evaluations/    rows of what it was asked afterwards
STUDY/runs/NAME/answers/     what it answered, item by item, packed
STUDY/runs/NAME/failure.json    why the cell failed, if it did
STUDY/runs/NAME/skipped.json    why it was skipped, if it was
STUDY/runs/NAME/refused.jsonl   rows that were taken back, if they were
STUDY/results.jsonl         all rows, in the order of the plan
STUDY/spans.jsonl           likewise
"""

from collections.abc import Iterable, Iterator, Mapping
import json
import os
from typing import Any, NamedTuple

from etils import epath
import pandas as pd

from research.config import BadInput
from research.files import Path, write_whole

RESULTS = 'results.jsonl'
SPANS = 'spans.jsonl'
FAILURE = 'failure.json'
SKIPPED = 'skipped.json'
REFUSED = 'refused.jsonl'
RUNNING = 'running.json'
MEASURE = 'task', 'domain', 'metric', 'value', 'stderr', 'n', 'rule'
"""Columns of a row that are not of its run."""
ASKED = 'task', 'domain', 'metric', 'prompting', 'shots'
"""Columns that tell measures of a run apart."""


class Status(NamedTuple):
  """What is known of a cell from its folder.

  Attributes:
    state: `done`, `running`, `failed`, `skipped`, `interrupted` or `waiting`.
    reason: Why it failed or was skipped; empty otherwise.
  """

  state: str
  reason: str = ''


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes one JSON object a line; numbers that are not finite become null."""
  lines = (json.dumps(_finite(row), sort_keys=True) for row in rows)
  write_whole(path, ''.join(line + '\n' for line in lines))


def read_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of one file, in order."""
  with path.open(encoding='utf-8') as lines:
    return [json.loads(line) for line in lines]


def frame(workdir: str | os.PathLike[str]) -> pd.DataFrame:
  """The results table of a study, or of one run, as a pandas frame.

  In a study's are the tasks, too, that its runs were asked afterwards
  (`experiments.evaluate`, `experiments.harness`), if at the step that the study
  measured; with the columns of their run. Of what was asked twice the last.

  Raises:
    BadInput: The folder holds no results.
  """
  workdir = epath.Path(workdir)
  path = workdir / RESULTS
  if not path.exists():
    raise BadInput(f'workdir={workdir} holds no {RESULTS}; run the study first')
  rows = read_rows(path)
  asked = workdir.glob('runs/*/evaluations')
  further = [row for run in sorted(asked) for row in _further(run.parent)]
  return pd.DataFrame(rows + further)


def _further(run: epath.Path) -> Iterator[dict[str, Any]]:
  """Rows of what a run was asked beside its own tasks, as rows of the study."""
  if not (run / RESULTS).exists():
    return
  rows = read_rows(run / RESULTS)
  first, tasks = rows[0], {row['task'] for row in rows}
  shared = first.keys() - {*MEASURE}
  about = {k: first[k] for k in shared if all(r[k] == first[k] for r in rows)}
  found = {}
  files = (run / 'evaluations').glob('*.jsonl')
  for path in sorted(files, key=lambda path: path.stat().mtime):
    for row in read_rows(path):
      if row['task'] not in tasks and row['step'] == first['step']:
        asked = tuple(map(row.get, ASKED))
        found[asked] = {**about, **row, 'run': first['run']}
  yield from found.values()


def spans(workdir: str | os.PathLike[str]) -> pd.DataFrame:
  """Bits and bytes of each run's spans; empty where they were not kept."""
  path = epath.Path(workdir) / SPANS
  rows = read_rows(path) if path.exists() else []
  return pd.DataFrame(rows, columns=['run', 'span', 'domain', 'bits', 'bytes'])


def answers(run: Path, step: int | None) -> Path:
  """Where the outputs of a run's model at a step are kept."""
  return run / 'answers' / f'step-{step}'


def curve(run: Path) -> pd.DataFrame:
  """The training curve of a run: its `metrics.jsonl`, or an empty frame."""
  path = run / 'metrics.jsonl'
  return pd.DataFrame(read_rows(path) if path.exists() else [])


def status(run: Path) -> Status:
  """The state of the cell whose folder is `run`."""
  if (run / RESULTS).exists():
    return Status('done')
  for state, name in (('failed', FAILURE), ('skipped', SKIPPED)):
    if (run / name).exists():
      return Status(state, json.loads((run / name).read_text())['reason'])
  if (run / RUNNING).exists():
    process = json.loads((run / RUNNING).read_text())['process']
    return Status('running' if _alive(process) else 'interrupted')
  return Status('waiting')


def begin(run: Path) -> None:
  """Marks the cell as running in this process, forgetting an old failure."""
  write_whole(run / RUNNING, json.dumps({'process': os.getpid()}))
  for name in (FAILURE, SKIPPED):
    (run / name).unlink(missing_ok=True)


def fail(run: Path, reason: str) -> None:
  """Marks the cell as failed."""
  write_whole(run / FAILURE, json.dumps({'reason': reason}))
  (run / RUNNING).unlink(missing_ok=True)


def skip(run: Path, reason: str) -> None:
  """Marks the cell as skipped: it cannot be had here."""
  write_whole(run / SKIPPED, json.dumps({'reason': reason}))
  (run / RUNNING).unlink(missing_ok=True)


def refuse(run: Path, reason: str) -> None:
  """Takes a done cell's rows back, and marks it as failed."""
  fail(run, reason)
  (run / RESULTS).rename(run / REFUSED)


def refused(run: Path) -> list[dict[str, Any]]:
  """The rows that were taken back; none if none were."""
  path = run / REFUSED
  return read_rows(path) if path.exists() else []


def finish(run: Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes the cell's rows, which makes it done."""
  write_rows(run / RESULTS, rows)
  for name in (RUNNING, REFUSED):
    (run / name).unlink(missing_ok=True)


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
  bad = (float('inf'), float('-inf'))
  return {
    k: None if isinstance(v, float) and (v != v or v in bad) else v
    for k, v in row.items()
  }


def _alive(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    return True
  return True
