"""Files: written whole or not at all, on a disk or in a bucket."""

import os
import pathlib

from etils import epath

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
