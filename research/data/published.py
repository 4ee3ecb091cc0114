"""Published: other people's files, as a commit of theirs has them.

A commit's id is a hash of all that it holds, and git checks what it receives
against it: so a file is what it was when the commit was named here, whoever
sends it. Hosts' addresses of single files give no such certainty.
"""

from collections.abc import Mapping
import os
import pathlib
import subprocess
import tempfile

import pooch

from research import files
from research.config import BadInput

_PATIENCE = {
  'GIT_TERMINAL_PROMPT': '0',  # A repository that is gone asks for a password.
  'GIT_HTTP_LOW_SPEED_LIMIT': '1000',  # bytes a second,
  'GIT_HTTP_LOW_SPEED_TIME': '60',  # for so many seconds, ends it.
}


def fetch(
  name: str, repository: str, commits: Mapping[str, str]
) -> pathlib.Path:
  """The folder that holds files of a git repository, fetched where they lack.

  Args:
    name: What the user calls them; names the folder in the user's cache.
    repository: Its address.
    commits: By path of a file, the full id of the commit to take it from.

  Raises:
    BadInput: There is no git or no network, or no such commit or file.
  """
  folder = pathlib.Path(pooch.os_cache('research')) / 'published' / name
  lacking = {p: c for p, c in commits.items() if not (folder / p).exists()}
  if not lacking:
    return folder
  with tempfile.TemporaryDirectory() as clone:
    try:
      _open(clone, repository, sorted(set(lacking.values())))
      for path, commit in lacking.items():
        found = _git(clone, 'cat-file', 'blob', f'{commit}:{path}')
        files.write_whole(folder / path, found)
    except (OSError, subprocess.CalledProcessError) as error:
      said = getattr(error, 'stderr', None) or str(error).encode()
      why = ' '.join(said.decode(errors='replace').split())
      raise BadInput(
        f'{name}: {repository} cannot be fetched ({why}); give --data_dir'
      ) from None
  return folder


def _open(clone: str, repository: str, commits: list[str]) -> None:
  """Makes `clone` a repository of `commits`, whose files come when needed."""
  _git(clone, 'init', '--quiet', '--bare')
  _git(clone, 'remote', 'add', 'origin', repository)
  _git(clone, 'config', 'remote.origin.promisor', 'true')
  _git(clone, 'config', 'remote.origin.partialclonefilter', 'blob:none')
  _git(clone, 'fetch', '--quiet', '--depth=1', 'origin', *commits)


def _git(clone: str, *arguments: str) -> bytes:
  return subprocess.run(
    ['git', '-C', clone, *arguments],
    check=True,
    capture_output=True,
    env={**os.environ, **_PATIENCE},
  ).stdout
