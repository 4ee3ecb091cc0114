"""Where a published checkpoint comes from: a folder, a GGUF file or the hub."""

import os
import pathlib
import re

from research.config import BadInput
from research.interop import checkpoint, gguf_file, tensors
from research.interop.checkpoint import Checkpoint

_ABSENT = 404  # Any other status of a file leaves open whether there is one.
_HUB = 'https://huggingface.co'
_ID = re.compile(r'(\w[\w.-]*/)?\w[\w.-]*(@[\w.-]+)?')


def read(name: str) -> Checkpoint:
  """The checkpoint called `name`.

  Args:
    name: A folder, a `.gguf` file, or [ORG/]NAME[@REVISION] on the hub.

  Raises:
    BadInput: There is none, it is no checkpoint we know, or the hub cannot be
      reached.
  """
  path = find(name)
  return checkpoint.read(path) if path.is_dir() else gguf_file.read(path)


def find(name: str) -> pathlib.Path:
  """Where the checkpoint called `name` lies; one of the hub is downloaded.

  Raises:
    BadInput: There is none, or the hub cannot be reached.
  """
  path = pathlib.Path(name).expanduser()
  if path.is_dir() or (path.is_file() and path.suffix == '.gguf'):
    return path
  if path.exists() or path.suffix == '.gguf' or not _ID.fullmatch(name):
    raise BadInput(f'source={name}: there is no such folder or GGUF file')
  return fetch(name)


def fetch(name: str) -> pathlib.Path:
  """The folder of a model of the hub: in its own cache, or downloaded now.

  Whoever it is that the environment's HF_TOKEN names asks for it.

  Raises:
    BadInput: It is not there, or the hub cannot be reached.
  """
  repository, _, revision = name.partition('@')
  cached = _cached(repository, revision or 'main')
  if cached is not None:
    return cached
  import pooch
  import requests

  cache = pathlib.Path(pooch.os_cache('research')) / 'hub'
  folder = cache / repository.replace('/', '--') / (revision or 'main')
  base = f'{_HUB}/{repository}/resolve/{revision or "main"}'

  token = os.environ.get('HF_TOKEN')
  headers = {'Authorization': f'Bearer {token}'} if token else {}
  downloader = pooch.HTTPDownloader(headers=headers)

  def get(file: str) -> pathlib.Path:
    # Nothing tells the hash beforehand; that of the weights is kept.
    found = pooch.retrieve(
      f'{base}/{file}',
      None,
      file,
      folder,
      downloader=downloader,  # pyright: ignore[reportArgumentType]
    )
    return pathlib.Path(found)

  def either(file: str, instead: str | None) -> pathlib.Path | None:
    try:
      return get(file)
    except requests.HTTPError as error:
      if error.response is None or error.response.status_code != _ABSENT:
        raise
      return None if instead is None else get(instead)

  try:
    get(checkpoint.CONFIG)
    for file in checkpoint.BESIDE:
      either(file, None)
    held = either(tensors.SINGLE, tensors.INDEX)
    for shard in tensors.shards(folder) if held else ():
      get(shard)
  except (requests.RequestException, OSError) as error:
    raise BadInput(
      f'source={name}: no such folder here, and the hub gave nothing'
      f' ({_reason(error)}): name a folder, or look at network, name and'
      ' HF_TOKEN'
    ) from None
  return folder


def _reason(error: Exception) -> str:
  """The kind of error, and the hub's status where it answered."""
  answer = getattr(error, 'response', None)
  kind = type(error).__name__
  return kind if answer is None else f'{kind} {answer.status_code}'


def _cached(repository: str, revision: str) -> pathlib.Path | None:
  """The folder that the hub's own client keeps, if all of the model is there.

  It is made file by file: an interrupted download leaves only some of them.
  """
  home = os.environ.get('HF_HOME', '~/.cache/huggingface')
  hub = pathlib.Path(os.environ.get('HF_HUB_CACHE', f'{home}/hub'))
  root = hub.expanduser() / f'models--{repository.replace("/", "--")}'
  reference = root / 'refs' / revision
  commit = reference.read_text().strip() if reference.is_file() else revision
  folder = root / 'snapshots' / commit
  weights = tensors.shards(folder) or [tensors.SINGLE]
  needed = [folder / name for name in (checkpoint.CONFIG, *weights)]
  return folder if all(path.is_file() for path in needed) else None
