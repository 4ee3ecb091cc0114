"""Evaluates a trained model with lm-eval, on local data.

    pip install -e .[harness]
    python -m experiments.harness --workdir=RUN --tasks=TASK,… \
        --include_path=FOLDER [--shots=5] [--limit=100] \
        [--apply_chat_template | --chat_template=FILE]

FOLDER holds the tasks as YAML files with `dataset_path: json`; nothing is
fetched. A task of the harness is used through a file that has `include:` with
its path (`python -c 'import lm_eval.tasks as t; print(t.__path__)'`) and says
anew `task`, `dataset_path`, `dataset_name: null` and `dataset_kwargs`. The rows
are printed as a table and kept in RUN/evaluations. Cost: 10 s to import the
harness, then the model's own.
"""

import hashlib
import importlib.util
import pathlib

from absl import flags
from etils import epath

from research import command, provenance
from research.config import BadInput
from research.study import listing, store
from research.study.loaded import load
from research.train import process

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run.', required=True
)
_STEP = flags.DEFINE_integer('step', None, 'Checkpoint; none for the newest.')
_TASKS = flags.DEFINE_list('tasks', None, 'Names of tasks.', required=True)
_INCLUDE_PATH = flags.DEFINE_string('include_path', None, 'Folder of tasks.')
_SHOTS = flags.DEFINE_integer('shots', None, 'Examples; none: as tasks say.')
_LIMIT = flags.DEFINE_integer('limit', None, 'Most items of a task.')
_CHAT = flags.DEFINE_bool(
  'apply_chat_template', False, 'Ask as the model’s own template writes it.'
)
_TEMPLATE = flags.DEFINE_string('chat_template', None, 'File of another one.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of examples and draws.')


def main() -> None:
  """Asks the tasks of the model and keeps what came out."""
  if importlib.util.find_spec('lm_eval') is None:
    raise BadInput("lm-eval is not installed: pip install -e '.[harness]'")
  from research.evals import harness

  process.prepare()
  loaded = load(_WORKDIR.value, _STEP.value)
  template = _template(loaded.template)
  model = harness.Model(
    loaded.model,
    loaded.tokenizer,
    loaded.frame,
    template=template,
    seed=_SEED.value,
  )
  folder = _INCLUDE_PATH.value
  rows = harness.evaluate(
    model,
    _TASKS.value,
    include_path=None if folder is None else pathlib.Path(folder),
    shots=_SHOTS.value,
    limit=_LIMIT.value,
    seed=_SEED.value,
  )
  asked = {'seed_of_tasks': _SEED.value, **provenance.provenance()}
  rows = [{**loaded.about, **asked, **row} for row in rows]
  asked = sorted({row['prompt_hash'] + row['rule'] for row in rows})
  digest = hashlib.blake2b('\n'.join(asked).encode(), digest_size=8).hexdigest()
  when = f'step{loaded.about["step"]}-seed{_SEED.value}'
  name = f'harness-{when}-{digest}.jsonl'
  path = epath.Path(_WORKDIR.value) / 'evaluations' / name
  store.write_rows(path, rows)
  print(listing.measures(rows))
  print(f'rows: {path}')


def _template(own: str | None) -> str | None:
  """The template that the flags ask for."""
  if _TEMPLATE.value is not None:
    path = pathlib.Path(_TEMPLATE.value)
    if not path.is_file():
      raise BadInput(f'chat_template={path}: there is no such file')
    return path.read_text('utf-8')
  if _CHAT.value and own is None:
    raise BadInput(
      f'apply_chat_template: {_WORKDIR.value} came without one; name a file'
      ' with --chat_template'
    )
  return own if _CHAT.value else None


if __name__ == '__main__':
  command.without_config(main)
