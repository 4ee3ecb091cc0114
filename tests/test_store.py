"""Rows are written whole, and a folder tells the state of its cell."""

import json
import os
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


def test_of_what_a_run_was_asked_twice_the_last_stands(tmp_path):
  run = tmp_path / 'runs' / 'a'
  told = {'run': 'a', 'step': 5, 'flops': 7, 'domain': 'all', 'metric': 'acc'}
  own = [told | {'task': 'yardstick', 'value': 1.0}]
  store.write_rows(run / store.RESULTS, own)
  store.write_rows(tmp_path / store.RESULTS, own)
  asked = {'step': 5, 'task': 'more', 'domain': 'all', 'metric': 'acc'}
  for age, (name, value) in enumerate((('z', 0.1), ('b', 0.2))):
    path = run / 'evaluations' / f'{name}.jsonl'
    other = {'task': 'yardstick'}, {'step': 4}  # the study's own, another step
    rows = [asked | change | {'value': value} for change in ({}, *other)]
    store.write_rows(path, rows)
    os.utime(path, (100 + age, 100 + age))
  table = store.frame(tmp_path)
  assert list(table.value) == [1.0, 0.2]
  assert list(table.run) == ['a', 'a'] and list(table.flops) == [7, 7]
