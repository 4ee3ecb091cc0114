"""The study command keeps what is done, tells what failed, and repeats."""

import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from etils import epath
import pytest
import tiny_study

from research.scaling import frontier
from research.study import store
from research.study.plan import cells

ROOT = pathlib.Path(__file__).parents[1]
PROVENANCE = {
  'config',
  'revision',
  'clean',
  'python',
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'numpy',
  'device',
  'tokenizer_hash',
  'data_hash',
  'flop_convention',
}
TIMES = {'seconds', 'compile_seconds', 'tokens_per_second', 'mfu'}


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
  """A corpus, and its tokens."""
  here = tmp_path_factory.mktemp('shared')
  tiny_study.write_corpus(here / 'corpus.jsonl')
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('TINY_CORPUS', str(here / 'corpus.jsonl'))
    importlib.reload(tiny_study)  # It reads the environment.
    yield here


def start(shared, config, workdir, *flags):
  environment = {
    **os.environ,
    'SCALING_CACHE': str(shared / 'cache'),
    'JAX_PLATFORMS': 'cpu',
  }
  command = [sys.executable, '-m', 'experiments.study', *flags]
  return subprocess.Popen(
    [*command, f'--config=tests.tiny_study:{config}', f'--workdir={workdir}'],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )


def finish(process, status):
  out, err = process.communicate(timeout=300)
  assert process.returncode == status, err
  return out, err


@pytest.fixture(scope='module')
def study(shared):
  """The folder of a study that ran."""
  folder = shared / 'study'
  _, err = finish(start(shared, 'study', folder), 0)
  assert not err
  return folder


@pytest.fixture(scope='module')
def failed(shared):
  """The folder of a study with a cell that fails, and what was printed."""
  folder = shared / 'failed'
  return folder, *finish(start(shared, 'failing', folder), 1)


def measured(folder):
  """Every number of every run that is not a time."""
  return {
    (row['run'], row['task'], row['domain'], row['metric']): row['value']
    for row in store.read_rows(folder / store.RESULTS)
    if row['metric'] not in TIMES
  }


def losses(folder):
  """The training curve of every run."""
  return {
    path.parent.name: [row['loss'] for row in store.read_rows(path)]
    for path in (folder / 'runs').glob('*/metrics.jsonl')
  }


def test_a_failed_cell_tells_its_reason_and_the_rest_go_on(failed):
  folder, out, err = failed
  _, bad, *_ = planned = cells(tiny_study.failing())
  assert bad.config.learning_rate == 1e30
  states = [store.status(cell.folder(folder)) for cell in planned]
  assert [s.state for s in states] == ['done', 'failed', 'done', 'done']
  assert 'learning_rate' in states[1].reason
  assert out.splitlines()[-1] == f'failed: {bad.name}: {states[1].reason}'
  assert not err


def test_the_status_tells_what_is_done_and_why_the_rest_is_not(failed, shared):
  folder, *_ = failed
  out, _ = finish(start(shared, 'failing', folder, '--mode=status'), 0)
  for cell in cells(tiny_study.failing()):
    (line,) = (line for line in out.splitlines() if cell.name in line)
    state = store.status(cell.folder(folder))
    assert state.state in line.split()
    assert state.reason in line
  assert out.splitlines()[-1] == '3 done, 1 failed'


def test_the_same_cells_give_the_same_numbers_bit_for_bit(study, failed):
  once, again = measured(study), measured(failed[0])
  assert len(once) > 20
  assert once == again
  curves = losses(failed[0])
  assert all(len(curve) == 20 for curve in losses(study).values())
  assert losses(study).items() <= curves.items()


def test_a_pool_gives_the_numbers_of_one_process(study, shared):
  folder = shared / 'pool'
  finish(start(shared, 'pool', folder), 0)
  assert measured(folder) == measured(study)
  assert losses(folder) == losses(study)


def test_the_table_joins_the_runs_in_the_order_of_the_plan(study):
  runs = [cell.folder(study) for cell in cells(tiny_study.study())]
  joined = ''.join((run / store.RESULTS).read_text() for run in runs)
  assert (study / store.RESULTS).read_text() == joined


def test_the_spans_add_up_to_the_yardstick(study):
  spans = store.spans(study)
  assert set(spans['run']) == {c.name for c in cells(tiny_study.study())}
  sums = spans.groupby('run')[['bits', 'bytes']].sum()
  for row in store.read_rows(study / store.RESULTS):
    if row['task'] == 'yardstick' and row['domain'] == 'all':
      bits, n_bytes = sums.loc[row['run']]
      assert row['value'] == pytest.approx(bits / n_bytes)
  texts = spans.groupby('span')[['domain', 'bytes']].nunique()
  assert (texts == 1).all(axis=None)


def test_every_row_says_where_it_comes_from(study):
  rows = store.read_rows(study / store.RESULTS)
  for row in rows:
    lacking = {name for name in PROVENANCE if row.get(name, '') == ''}
    assert not lacking
  assert set(frontier.COLUMNS) <= set(store.frame(study).columns)


@pytest.mark.parametrize(
  'config', [pytest.param('long', marks=pytest.mark.slow), 'long_pool']
)
def test_after_ctrl_c_it_goes_on_where_it_was(config, shared, tmp_path):
  folder = epath.Path(tmp_path / 'study')
  short, long, _ = (c.folder(folder) for c in cells(tiny_study.long()))
  process = start(shared, config, folder)
  curve = long / 'metrics.jsonl'
  deadline = time.monotonic() + 200
  while not (curve.exists() and curve.read_text().count('\n') > 50):
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.02)
  os.killpg(process.pid, signal.SIGINT)
  _, err = finish(process, 130)
  assert err == 'error: interrupted\n'
  assert store.status(short).state == 'done'
  assert store.status(long).state == 'interrupted'
  assert set(store.frame(folder)['run']) == {short.name}

  before = curve.read_text()
  assert before.count('\n') < 4000
  kept = {p: p.stat() for p in pathlib.Path(short).rglob('*')}
  finish(start(shared, config, folder), 0)
  assert curve.read_text().startswith(before)
  steps = [row['step'] for row in store.read_rows(curve)]
  assert steps == list(range(1, 4001))
  for path, stat in kept.items():
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
  assert json.loads((long / 'finished.json').read_text())['steps'] == 4000
