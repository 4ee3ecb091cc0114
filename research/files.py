"""Files and folders, written whole or not at all, and JSON that is read."""

from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
import shutil
from typing import Any

from etils import epath

from research.fields import BadInput

Path = pathlib.Path | epath.Path
"""Of a file or folder on a disk, or, by `etils.epath`, in a bucket."""


def write_whole(path: Path, content: str | bytes) -> None:
  """Writes `content`, text as UTF-8, to `path` whole or not at all.

  Raises:
    OSError: The disk is full or the folder is not writable; `path` is as it
      was, and nothing half-written is left.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(f'.{path.name}.{os.getpid()}')
  data = content.encode('utf-8') if isinstance(content, str) else content
  try:
    part.write_bytes(data)
    part.replace(path)
  except OSError as error:  # a full disk is told without the file's name
    error.filename = error.filename or str(path)
    raise
  finally:
    part.unlink(missing_ok=True)


def json_object(path: pathlib.Path) -> dict[str, Any]:
  """What a JSON file says.

  Raises:
    BadInput: It is damaged, or holds something else than an object.
  """
  try:
    told = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise BadInput(
      f'{path} is no JSON, or is damaged ({error}): fetch it again'
    ) from None
  if not isinstance(told, dict):
    raise BadInput(f'{path} holds no JSON object: fetch it again')
  return told


def check_empty(folder: pathlib.Path) -> None:
  """Refuses to write where something is.

  Raises:
    BadInput: `folder`, the flag `out`, holds something.
  """
  if folder.exists() and any(folder.iterdir()):
    raise BadInput(f'out={folder} is not empty: name another folder')


@contextlib.contextmanager
def draft(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder beside `folder` to fill, which takes its place when all is there.

  Raises:
    BadInput: `folder` holds something.
    OSError: It cannot be written.
  """
  check_empty(folder)
  whole = folder.resolve()  # of a link, or of `.`
  part = whole.with_name(f'.{whole.name}.part')
  shutil.rmtree(part, ignore_errors=True)
  try:
    part.mkdir(parents=True)
    yield part
    if whole.exists():
      whole.rmdir()
    part.rename(whole)
  finally:
    shutil.rmtree(part, ignore_errors=True)
