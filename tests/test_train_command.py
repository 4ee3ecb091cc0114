"""The command survives kill -9, SIGTERM and a full disk, in real processes."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
TIMES = {'tokens_per_second', 'mfu'}
N_STEPS = 200


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
  """A small corpus, and caches that all processes share."""
  folder = tmp_path_factory.mktemp('shared')
  rng = np.random.default_rng(0)
  words = ['the', 'whale', 'sea', 'a', 'ship', 'of', 'and', 'captain']
  with (folder / 'corpus.jsonl').open('w') as file:
    for i in range(40):
      text = ' '.join(rng.choice(words, 60))
      row = {'domain': 'novel', 'title': str(i), 'text': text}
      file.write(json.dumps(row) + '\n')
  return folder


def start(shared, workdir, *flags, devices=1, before=(), **changes):
  changes = {
    'data.corpus': 'JSONL',
    'data.corpus.path': shared / 'corpus.jsonl',
    'data.cache_dir': shared,
    'data.validation_share': 0.1,
    'model.seq_len': 16,
    'model.d_model': 8,
    'model.n_heads': 1,
    'model.n_layers': 1,
    'n_steps': N_STEPS,
    'checkpoints.every': 25,
    'logging.every': 1,
    **changes,
  }
  env = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': str(devices),
    'JAX_COMPILATION_CACHE_DIR': str(shared / 'compiled'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
  }
  return subprocess.Popen(
    [
      *before,
      sys.executable,
      '-m',
      'experiments.train',
      '--config=configs.pretrain:tiny',
      f'--workdir={workdir}',
      *flags,
      *(f'--config.{name}={value}' for name, value in changes.items()),
    ],
    cwd=ROOT,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(process, status=0):
  out, err = process.communicate(timeout=300)
  assert process.returncode == status, err
  return out, err


def curve(folder, drop=TIMES):
  path = folder / 'metrics.jsonl'
  rows = []
  for line in path.read_text().splitlines() if path.exists() else ():
    try:
      row = json.loads(line)
    except ValueError:
      break
    rows.append({k: v for k, v in row.items() if k not in drop})
  return rows


def wait_for(process, folder, step):
  """Waits until the run in `folder` has a checkpoint and passed `step`."""
  while process.poll() is None:
    rows = curve(folder)
    if rows and rows[-1]['step'] >= step:
      return
    time.sleep(0.01)
  raise AssertionError(process.communicate()[1])


def arrays(folder):
  """The last checkpoint's weights and moments, as numbers."""
  from research.train import loop

  state = loop.restore(folder)[1]
  import jax

  leaves = jax.tree.leaves((state.trained, state.opt_state))
  return [np.asarray(x) for x in leaves]


def assert_same(folder, other):
  assert curve(folder) == curve(other)
  for a, b in zip(arrays(folder), arrays(other), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.fixture(scope='module')
def whole(shared, tmp_path_factory):
  folder = tmp_path_factory.mktemp('whole')
  out, err = finish(start(shared, folder))
  assert re.fullmatch(r'\d\.\d{4} nats a token after 25,600 tokens\n', out)
  assert err == ''  # The progress bar is for terminals.
  return folder


def test_kill_9_and_resume_is_as_if_nothing_happened(shared, whole, tmp_path):
  process = start(shared, tmp_path)
  wait_for(process, tmp_path, 110)
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  assert curve(tmp_path) != curve(whole)
  finish(start(shared, tmp_path))
  assert_same(tmp_path, whole)


def test_sigterm_saves_and_ends_with_143(shared, whole, tmp_path):
  process = start(shared, tmp_path)
  wait_for(process, tmp_path, 30)
  process.terminate()
  _, err = finish(process, status=143)
  assert 'Traceback' not in err
  steps = [int(x.name) for x in (tmp_path / 'checkpoints').iterdir()]
  assert max(steps) == curve(tmp_path)[-1]['step'] < N_STEPS
  finish(start(shared, tmp_path))
  assert_same(tmp_path, whole)


def test_a_full_disk_ends_the_run_with_one_line(shared, whole, tmp_path):
  # Files of 20 kB at most: room for the curve, not for a checkpoint.
  limited = 'bash', '-c', 'ulimit -f 20; exec "$@"', 'bash'
  process = start(shared, tmp_path, before=limited)
  _, err = finish(process, status=2)
  (line,) = err.splitlines()
  assert line.startswith('error: ') and 'File too large' in line
  left = {p.name for p in tmp_path.iterdir()}
  assert left == {'config.json', 'metrics.jsonl', 'checkpoints'}
  assert not list((tmp_path / 'checkpoints').iterdir())
  finish(start(shared, tmp_path))
  assert_same(tmp_path, whole)


@pytest.mark.slow
def test_two_processes_train_as_one(shared, whole, tmp_path):
  """They train, save, are stopped and restore, to the losses of one."""

  def pair(**layout):
    with socket.socket() as s:
      s.bind(('localhost', 0))
      address = f'localhost:{s.getsockname()[1]}'
    flags = f'--coordinator={address}', '--processes=2'
    layout = {f'parallelism.{name}': size for name, size in layout.items()}
    return [
      start(shared, tmp_path, *flags, f'--process={i}', devices=2, **layout)
      for i in range(2)
    ]

  both = pair(data=2, fsdp=2)
  wait_for(both[0], tmp_path, 30)
  both[1].terminate()  # As a cluster does, to one host or to all.
  for process in both:
    finish(process, status=143)
  made = curve(tmp_path)[-1]['step']
  assert 30 <= made < N_STEPS
  assert (tmp_path / 'checkpoints' / str(made)).is_dir()
  for process in pair(tensor=4):  # Now both need all rows.
    finish(process)
  losses = [[row['loss'] for row in curve(path)] for path in (tmp_path, whole)]
  np.testing.assert_allclose(*losses, rtol=1e-5)
