"""Executors run every cell, and one cell's failure is one cell's."""

import os
import signal
import time

import pytest

from research.config import BadInput
from research.study import executors
from research.study.executors import InProcess, Pool


def work(what, report):
  """Fails or dies when told to; else writes its process to a file."""
  report(0.5)
  if what == 'fail':
    raise ValueError('no\nluck')
  if what == 'die':
    os.kill(os.getpid(), signal.SIGKILL)
  what.write_text(str(os.getpid()))


def wait(path, report):
  """Says which process it is, then takes its time."""
  path.write_text(str(os.getpid()))
  report(0.5)
  time.sleep(300)


def heard(executor, groups):
  events = []
  executor.run(groups, work, events.append)
  return {e.cell: e for e in events}, events


@pytest.mark.parametrize('executor', [InProcess(), Pool(processes=2)])
def test_a_failing_cell_leaves_the_others_alone(tmp_path, executor):
  groups = [[(0, 'fail'), (1, tmp_path / 'b')], [(2, tmp_path / 'c')]]
  last, events = heard(executor, groups)
  assert [last[i].state for i in range(3)] == ['failed', 'done', 'done']
  assert last[0].reason == 'ValueError: no luck'
  assert (tmp_path / 'b').exists() and (tmp_path / 'c').exists()
  assert [e.share for e in events if e.cell == 1] == [0.0, 0.5, 1.0]


def test_a_killed_process_fails_its_cell_and_is_replaced(tmp_path):
  groups = [[(0, 'die'), (1, tmp_path / 'b')], [(2, tmp_path / 'c')]]
  last, _ = heard(Pool(processes=1), groups)
  assert [last[i].state for i in range(3)] == ['failed', 'done', 'done']
  assert last[0].reason == 'its process ended with status -9'


def test_a_group_stays_in_one_process(tmp_path):
  paths = [tmp_path / str(i) for i in range(4)]
  groups = [[(0, paths[0]), (1, paths[1])], [(2, paths[2]), (3, paths[3])]]
  heard(Pool(processes=2), groups)
  owner = [path.read_text() for path in paths]
  assert owner[0] == owner[1] and owner[2] == owner[3]
  assert str(os.getpid()) not in owner


def test_an_interrupt_ends_the_processes(tmp_path):
  def listen(event):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    Pool(processes=1).run([[(0, tmp_path / 'a')]], work, listen)


def test_a_terminated_study_leaves_no_process_behind(tmp_path):
  def listen(event):
    if event.share:
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(SystemExit) as ended:
    Pool(processes=1).run([[(0, tmp_path / 'a')]], wait, listen)
  assert ended.value.code == 143
  with pytest.raises(ProcessLookupError):
    os.kill(int((tmp_path / 'a').read_text()), 0)
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_cores_are_dealt_out_without_overlap():
  usable = os.sched_getaffinity(0)
  dealt = executors._shares(len(usable))
  assert set.union(*dealt) == usable
  assert sum(map(len, dealt)) == len(usable)


def test_no_processes_are_refused():
  with pytest.raises(BadInput, match='processes=0'):
    Pool(processes=0)
