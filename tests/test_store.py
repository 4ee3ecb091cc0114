"""Rows are written whole, and a folder tells the state of its cell."""

import json
import subprocess
import sys

import pytest

from research.config import BadInput
from research.study import store


def test_a_cell_goes_from_waiting_through_running_to_done(tmp_path):
  assert store.status(tmp_path).state == 'waiting'
  store.begin(tmp_path)
  assert store.status(tmp_path).state == 'running'
  store.finish(tmp_path, [{'value': 1.0}])
  assert store.status(tmp_path).state == 'done'


def test_a_failure_tells_its_reason_until_the_next_attempt(tmp_path):
  store.begin(tmp_path)
  store.fail(tmp_path, 'no luck')
  assert store.status(tmp_path) == ('failed', 'no luck')
  store.begin(tmp_path)
  assert store.status(tmp_path).state == 'running'


def test_a_dead_process_leaves_an_interrupted_cell(tmp_path):
  ended = subprocess.run(
    [sys.executable, '-c', 'import os; print(os.getpid())'],
    capture_output=True,
    text=True,
  )
  text = json.dumps({'process': int(ended.stdout)})
  (tmp_path / store.RUNNING).write_text(text)
  assert store.status(tmp_path).state == 'interrupted'


def test_rows_come_back_and_infinities_become_null(tmp_path):
  rows = [{'a': 1, 'b': float('inf')}, {'a': float('nan'), 'c': 'x'}]
  store.write_rows(tmp_path / store.RESULTS, rows)
  assert store.read_rows(tmp_path / store.RESULTS) == [
    {'a': 1, 'b': None},
    {'a': None, 'c': 'x'},
  ]
  assert list(store.frame(tmp_path)['a'].dropna()) == [1]


def test_a_folder_without_results_is_named(tmp_path):
  with pytest.raises(BadInput, match='holds no results.jsonl'):
    store.frame(tmp_path)
