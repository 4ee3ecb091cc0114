"""Published files are what the named commit holds, whatever the host says."""

import pathlib
import subprocess
import zlib

import pooch
import pytest

from research.config import BadInput
from research.data import published

PATHS = ('a/first.json', 'second=2.csv')


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setattr(pooch, 'os_cache', lambda name: tmp_path / name)
  return tmp_path / 'research' / 'published' / 'paper'


class Host:
  """A repository on this machine, with two commits of the same files."""

  def __init__(self, folder: pathlib.Path):
    self.folder, self.address = folder, f'file://{folder}'
    folder.mkdir()
    self.git('init', '--quiet')
    self.git('config', 'uploadpack.allowFilter', 'true')
    self.git('config', 'uploadpack.allowAnySHA1InWant', 'true')
    self.commits = [self.commit('first'), self.commit('second')]

  def commit(self, text: str) -> str:
    for path in PATHS:
      (self.folder / path).parent.mkdir(exist_ok=True)
      (self.folder / path).write_text(f'{text} {path}\n')
    self.git('add', '.')
    who = ('-c', 'user.name=a', '-c', 'user.email=a@b')
    self.git(*who, 'commit', '--quiet', '-m', text)
    return self.git('rev-parse', 'HEAD')

  def git(self, *arguments: str) -> str:
    done = subprocess.run(
      ['git', '-C', self.folder, *arguments], check=True, capture_output=True
    )
    return done.stdout.decode().strip()


@pytest.fixture
def host(tmp_path):
  return Host(tmp_path / 'host')


def test_files_come_as_their_commits_have_them(host, cache):
  commits = dict(zip(PATHS, host.commits, strict=True))
  assert published.fetch('paper', host.address, commits) == cache
  assert (cache / PATHS[0]).read_text() == f'first {PATHS[0]}\n'
  assert (cache / PATHS[1]).read_text() == f'second {PATHS[1]}\n'


def test_what_was_fetched_is_not_fetched_again(host, cache):
  commits = dict.fromkeys(PATHS, host.commits[0])
  published.fetch('paper', host.address, commits)
  assert published.fetch('paper', 'file:///nowhere', commits) == cache


def test_a_host_that_sends_something_else_is_refused(host, cache):
  """An object that is not what its name says ends the transfer."""
  name = host.git('rev-parse', f'{host.commits[0]}:{PATHS[0]}')
  loose = host.folder / '.git' / 'objects' / name[:2] / name[2:]
  loose.chmod(0o600)
  loose.write_bytes(zlib.compress(b'blob 6\0forged'))
  with pytest.raises(BadInput, match='cannot be fetched') as caught:
    published.fetch('paper', host.address, {PATHS[0]: host.commits[0]})
  assert '\n' not in str(caught.value)
  assert not (cache / PATHS[0]).exists()


@pytest.mark.parametrize(
  ('path', 'commit'), [('nothing.json', None), (PATHS[0], 'ab' * 20)]
)
def test_a_file_or_commit_that_is_not_there_is_one_line(
  host, cache, path, commit
):
  commits = {path: commit or host.commits[0]}
  with pytest.raises(BadInput, match='cannot be fetched .*; give --data_dir'):
    published.fetch('paper', host.address, commits)


def test_no_network_is_one_line(cache):
  message = 'paper: https://127.0.0.1:9/a cannot be fetched'
  with pytest.raises(BadInput, match=message) as caught:
    published.fetch('paper', 'https://127.0.0.1:9/a', {PATHS[0]: 'ab' * 20})
  assert '\n' not in str(caught.value)
