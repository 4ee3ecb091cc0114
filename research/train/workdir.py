"""A run's folder: it belongs to one config, and its files are whole or absent.

WORKDIR/config.json      what is run, with its fingerprint
WORKDIR/metrics.jsonl    the training curve
WORKDIR/checkpoints/     where the run stands
WORKDIR/finished.json    what came out; there once the run is done
"""

from collections.abc import Iterator
import dataclasses
import json
from typing import Any

from etils import epath
import jax

from research import config
from research.config import BadInput
from research.files import write_whole
from research.train.config import TrainConfig

CONFIG = 'config.json'
FINISHED = 'finished.json'
CHECKPOINTS = 'checkpoints'


def check(cfg: TrainConfig, folder: epath.Path) -> None:
  """Refuses a folder that is another run's; writes nothing.

  Raises:
    BadInput: It is.
  """
  path = folder / CONFIG
  if not path.exists():
    return
  theirs = json.loads(path.read_text())
  if theirs['fingerprint'] != config.fingerprint(cfg):
    raise BadInput(
      f'workdir={folder} holds another run:'
      f' {_difference(theirs["config"], cfg)}; name another workdir'
    )


def claim(cfg: TrainConfig, folder: epath.Path) -> None:
  """Makes `folder` that of the run of `cfg`.

  Raises:
    BadInput: It holds another run.
    OSError: It cannot be written.
  """
  check(cfg, folder)
  path = folder / CONFIG
  if path.exists() or jax.process_index():
    return
  mine = config.fingerprint(cfg)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    write(path, {'fingerprint': mine, 'config': config.to_dict(cfg)})
  except OSError as error:
    raise OSError(
      f'workdir={folder} cannot be written: {error.strerror}; name another'
      ' workdir, or make it writable'
    ) from None


def read(folder: epath.Path) -> TrainConfig:
  """The config of the run in `folder`.

  Raises:
    BadInput: It holds none.
  """
  path = folder / CONFIG
  if not path.exists():
    raise BadInput(f'workdir={folder} holds no run: it has no {CONFIG}')
  return config.from_dict(TrainConfig, json.loads(path.read_text())['config'])


def write(path: epath.Path, data: Any) -> None:
  """Writes JSON whole or, on an OSError, not at all."""
  write_whole(path, json.dumps(data, indent=1) + '\n')


def _difference(theirs: dict[str, Any], mine: TrainConfig) -> str:
  """The first field that differs, with both its values."""
  try:
    other = config.from_dict(TrainConfig, theirs)
  except BadInput as error:
    return f'its config is of another version ({error})'
  for path, there, here in _differences(other, mine, ''):
    return f'{path} is {_short(there)} there, {_short(here)} here'
  return 'its config is of another version'


def _differences(a, b, path: str) -> Iterator[tuple[str, Any, Any]]:
  if type(a) is not type(b) or not dataclasses.is_dataclass(a):
    if a != b:
      yield path, a, b
    return
  for field in dataclasses.fields(a):
    if field.metadata.get('fingerprint', True):
      inner = f'{path}.{field.name}'.removeprefix('.')
      yield from _differences(
        getattr(a, field.name), getattr(b, field.name), inner
      )


def _short(value: Any) -> str:
  if dataclasses.is_dataclass(value):
    return type(value).__name__
  return repr(value)
