"""Judges abilities: which of them emerge with scale, and by which metric?

    python -m experiments.emergence --data=scores.csv --out=verdicts.json
    python -m experiments.emergence --workdir=STUDY [--plots=FOLDER]
    python -m experiments.emergence --workdir=STUDY --scale=loss

A score table has a row for each model, task and metric, with columns `model`,
`scale` (or `params`, or `flops`, or what `--scale` names), `task`, `metric`,
`value` and, where known, `stderr`, `n_items`, `chance`, `step`, `seed`,
`answer_length`. A study is judged by what its models scored on the single
items, which are the same for all, as far as their outputs are kept.
Over a loss (`--scale=loss`, native; `--scale=bits_per_byte`, of the yardstick,
architectures together; or a table's own column) less is further on.
Cost: a fifth of a second of one core a task and metric, and reading the items.
"""

import json
import pathlib

from absl import flags
import pandas as pd
from tqdm import tqdm

from research import command, files
from research.config import BadInput
from research.plots import emergence as plots
from research.plots import style
from research.scaling.emergence import scores, verdict
from research.study import store

_DATA = flags.DEFINE_string('data', None, 'CSV file with a score table.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a study, instead.')
_OUT = flags.DEFINE_string(
  'out', None, 'File for the verdicts; STUDY/verdicts.json or verdicts.json.'
)
_SCALE = flags.DEFINE_string(
  'scale', None, 'Column of the scale: params, flops, step, loss, bits_per_byte'
)
_WHERE = flags.DEFINE_list(
  'where', [], 'Rows to read, as COLUMN=VALUE,COLUMN=VALUE.'
)
_GRADED = flags.DEFINE_list(
  'graded', [], 'Metrics that are per-token or probabilities, beside the known.'
)
_PLOTS = flags.DEFINE_string('plots', None, 'Folder for a figure of each task.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the bootstrap.')


def main() -> None:
  """Writes the verdicts and prints a line for each task."""
  frame, out = _table()
  tasks = len(set(frame['label']))
  with tqdm(total=tasks, unit='task', disable=None) as bar:
    judged = verdict.verdicts(
      frame, _GRADED.value, _SEED.value, lambda task: bar.update()
    )
  text = json.dumps({v.task: v.to_dict() for v in judged}, indent=2)
  files.write_whole(out, text + '\n')
  if _PLOTS.value is not None:
    for v in judged:
      name = ''.join(c if c.isalnum() else '-' for c in v.task)
      figure = plots.task(v, _SCALE.value or 'scale')
      svg = style.svg(figure, name, f'{v.task}: {v.verdict}')
      files.write_whole(pathlib.Path(_PLOTS.value) / f'{name}.svg', svg)
  width = max(len(v.task) for v in judged)
  for v in judged:
    print(f'{v.task:{width}}  {v.verdict:20}  {v.evidence}')
  print(f'verdicts: {out}')


def _table() -> tuple[pd.DataFrame, pathlib.Path]:
  """The score table that the flags ask for, and where verdicts go."""
  data, workdir = _DATA.value, _WORKDIR.value
  where = dict(_pair(text) for text in _WHERE.value)
  if data is not None and workdir is None:
    out = pathlib.Path(_OUT.value or 'verdicts.json')
    return scores.read(data, _SCALE.value, where), out
  if workdir is not None and data is None:
    from research.study import items  # It needs JAX, a table does not.

    rows = items.of_study(store.frame(workdir), workdir)
    frame = scores.of_study(rows, _SCALE.value, where)
    default = pathlib.Path(workdir) / 'verdicts.json'
    return frame, pathlib.Path(_OUT.value or default)
  raise BadInput('give one of --data=FILE.csv and --workdir=STUDY')


def _pair(text: str) -> tuple[str, str]:
  column, equals, value = text.partition('=')
  if not equals:
    raise BadInput(f'where={text} must be COLUMN=VALUE')
  return column, value


if __name__ == '__main__':
  command.without_config(main)
