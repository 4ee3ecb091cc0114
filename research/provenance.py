"""Where a result comes from: code revision, versions of packages, device."""

import functools
from importlib import metadata
import os
import pathlib
import platform
import re
import subprocess

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')
_OF_ANOTHER_REPOSITORY = ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE')


def provenance() -> dict[str, str | bool | None]:
  """The columns that every row of results carries; read once a process.

  `revision` (a git hash, or 'unknown'), `clean` (whether the checkout held
  nothing uncommitted, None if unknown), `python`, the version of each package
  that decides numbers ('unknown' where it is not installed), and `device`.
  """
  return dict(_provenance())


@functools.cache
def _provenance() -> dict[str, str | bool | None]:
  here = pathlib.Path(__file__)
  versions = {name: _version(name) for name in _PACKAGES}
  return {
    **revision(here),
    'python': platform.python_version(),
    **versions,
    'device': device(),
  }


def revision(file: pathlib.Path) -> dict[str, str | bool | None]:
  """`revision` and `clean` of the git checkout that tracks `file`."""
  unknown = {'revision': 'unknown', 'clean': None}
  try:
    # An installed copy may lie inside the checkout of something else.
    _git(file.parent, 'ls-files', '--error-unmatch', file.name)
    head = _git(file.parent, 'rev-parse', 'HEAD')
    changes = _git(file.parent, 'status', '--porcelain')
  except (OSError, subprocess.SubprocessError):
    return unknown
  return {'revision': head, 'clean': not changes}


def device() -> str:
  """What computes: 'cpu: MODEL x CORES cores' or 'PLATFORM: KIND x COUNT'."""
  import jax  # Here, so that reading this module costs nothing.

  first = jax.devices()[0]
  if first.platform != 'cpu':
    return f'{first.platform}: {first.device_kind} x {jax.device_count()}'
  return f'cpu: {_processor()} x {cores()} cores'


def _git(folder: pathlib.Path, *command: str) -> str:
  env = {k: v for k, v in os.environ.items() if k not in _OF_ANOTHER_REPOSITORY}
  return subprocess.run(
    ['git', '--no-optional-locks', *command],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
    check=True,
    timeout=60,
  ).stdout.strip()


def _version(package: str) -> str:
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return 'unknown'


def _processor() -> str:
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text()
  except OSError:
    text = ''
  found = re.search(r'^model name\s*:\s*(.+)$', text, re.MULTILINE)
  return found[1].strip() if found else platform.processor() or 'unknown'


def cores() -> int:
  """How many cores this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
