"""Cache: files written whole or not at all, by however many processes."""

from collections.abc import Callable
import contextlib
import os
import pathlib
import shutil
import tempfile


def default_folder() -> pathlib.Path:
  """$SCALING_CACHE, or `scaling` in the user's XDG cache folder."""
  if chosen := os.environ.get('SCALING_CACHE'):
    return pathlib.Path(chosen)
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(cache) / 'scaling'


def folder(
  path: pathlib.Path,
  whole: Callable[[pathlib.Path], bool],
  write: Callable[[pathlib.Path], None],
) -> pathlib.Path:
  """`path`, a folder that `write` has filled and `whole` approves of.

  `write` fills a folder beside it, which is then renamed. Where two processes
  do so at once, both write and one rename is kept. Where a folder is there but
  not whole, it is replaced. If `write` raises, nothing is left.
  """
  if path.is_dir() and whole(path):
    return path
  path.parent.mkdir(parents=True, exist_ok=True)
  draft = pathlib.Path(
    tempfile.mkdtemp(prefix=f'{path.name}.', suffix='.tmp', dir=path.parent)
  )
  try:
    try:
      write(draft)
    except OSError as error:  # a full disk is told without the file's name
      error.filename = error.filename or str(path)
      raise
    if path.is_dir() and not whole(path):
      with contextlib.suppress(FileNotFoundError):
        os.replace(path, f'{draft}.old')
    try:
      os.replace(draft, path)
    except OSError:  # another process was faster
      if not (path.is_dir() and whole(path)):
        raise
  finally:
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(f'{draft}.old', ignore_errors=True)
  return path
