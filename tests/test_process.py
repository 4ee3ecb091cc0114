"""What a process keeps of programs and memory is used again, bit for bit."""

import ctypes
import json
import os
import pathlib
import subprocess
import sys

import pytest
import tiny_study

ROOT = pathlib.Path(__file__).parents[1]
TIMES = {'tokens_per_second', 'mfu'}


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
  """A corpus, and room for its tokens and for programs."""
  here = tmp_path_factory.mktemp('compiled')
  tiny_study.write_corpus(here / 'corpus.jsonl')
  return here


def train(shared, name, **environment):
  """The curve of a run in a process of its own."""
  command = [sys.executable, '-m', 'experiments.train', '--config.n_steps=5']
  done = subprocess.run(
    [*command, '--config=tests.tiny_study:train', f'--workdir={shared / name}'],
    cwd=ROOT,
    env={
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'SCALING_CACHE': str(shared / 'cache'),
      'TINY_CORPUS': str(shared / 'corpus.jsonl'),
      **environment,
    },
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert not done.stderr  # such as a complaint of code for another processor
  rows = (shared / name / 'metrics.jsonl').read_text().splitlines()
  return [
    {k: v for k, v in json.loads(row).items() if k not in TIMES} for row in rows
  ]


def programs(shared):
  """What was compiled so far."""
  return {p.name for p in (shared / 'cache').glob('compiled/*/*-cache')}


@pytest.fixture(scope='module')
def cold(shared):
  """The curve of a run that compiled its programs."""
  return train(shared, 'cold')


def test_a_second_process_compiles_nothing_and_has_the_same_numbers(
  shared, cold
):
  kept = programs(shared)
  assert len(cold) == 5 and len(kept) > 1
  assert train(shared, 'warm') == cold
  assert programs(shared) == kept


@pytest.mark.slow
def test_a_variable_turns_it_off_and_changes_no_number(shared, cold):
  for path in shared.glob('cache/compiled/*/*-cache'):
    path.unlink()
  off = train(shared, 'off', JAX_ENABLE_COMPILATION_CACHE='false')
  assert off == cold
  assert not programs(shared)


FAULTS = """
import resource
from research.train import process
process.prepare()

def faults():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  block = b'x' * (64 << 20)
  del block
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), faults())
"""


@pytest.mark.skipif(
  not hasattr(ctypes.CDLL(None), 'mallopt'), reason='not glibc'
)
def test_memory_that_was_freed_is_not_fetched_from_the_kernel_again():
  done = subprocess.run(
    [sys.executable, '-c', FAULTS],
    cwd=ROOT,
    env={**os.environ, 'JAX_ENABLE_COMPILATION_CACHE': 'false'},
    capture_output=True,
    text=True,
    check=True,
  )
  first, again = map(int, done.stdout.split())
  pages = (64 << 20) // os.sysconf('SC_PAGESIZE')
  assert again < pages // 100 < first
