"""A result says which code, which packages and which device made it."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from research import provenance
from research.provenance import revision

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path):
  """A git checkout with one committed file."""
  (tmp_path / 'code.py').write_text('x = 1\n')
  git(tmp_path, 'init', '-q')
  git(tmp_path, 'add', 'code.py')
  commit(tmp_path)
  return tmp_path


def git(folder, *command):
  done = subprocess.run(
    ['git', *command], cwd=folder, check=True, capture_output=True, text=True
  )
  return done.stdout.strip()


def commit(folder):
  who = ('-c', 'user.name=n', '-c', 'user.email=e@example.org')
  git(folder, *who, '-c', 'commit.gpgsign=false', 'commit', '-qm', 'first')


def test_revision_is_that_of_head(checkout):
  head = git(checkout, 'rev-parse', 'HEAD')
  assert revision(checkout / 'code.py') == {'revision': head, 'clean': True}


@pytest.mark.parametrize('name', ['code.py', 'new.py'])
def test_a_changed_or_new_file_makes_the_tree_unclean(checkout, name):
  (checkout / name).write_text('x = 2\n')
  assert revision(checkout / 'code.py')['clean'] is False


def test_another_repository_in_the_environment_is_not_ours(
  checkout, tmp_path_factory, monkeypatch
):
  head = git(checkout, 'rev-parse', 'HEAD')
  other = tmp_path_factory.mktemp('other')
  git(other, 'init', '-q')
  monkeypatch.setenv('GIT_DIR', str(other / '.git'))
  assert revision(checkout / 'code.py')['revision'] == head


UNKNOWN = {'revision': 'unknown', 'clean': None}


def test_a_copy_inside_another_checkout_has_no_revision(checkout):
  (checkout / 'installed.py').write_text('')
  assert revision(checkout / 'installed.py') == UNKNOWN


def test_no_repository_or_no_git_is_unknown(checkout, tmp_path_factory):
  lone = tmp_path_factory.mktemp('lone') / 'code.py'
  lone.write_text('')
  assert revision(lone) == UNKNOWN
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('PATH', '')
    assert revision(checkout / 'code.py') == UNKNOWN


def test_versions_are_those_imported():
  row = provenance.provenance()
  assert row['jax'] == jax.__version__
  assert row['numpy'] == np.__version__
  assert row['python'] == '.'.join(map(str, sys.version_info[:3]))


def test_a_cpu_is_named_with_the_cores_it_may_use():
  cores = len(os.sched_getaffinity(0))
  device = provenance.device()
  assert device.startswith('cpu: ') and device.endswith(f' x {cores} cores')
  model = device.removeprefix('cpu: ').rpartition(' x ')[0]
  assert model in pathlib.Path('/proc/cpuinfo').read_text()


def test_rows_cannot_change_each_other():
  provenance.provenance()['revision'] = 'mine'
  assert provenance.provenance()['revision'] != 'mine'


def test_reading_the_module_does_not_import_jax():
  code = 'import sys, research.provenance; assert "jax" not in sys.modules'
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
