"""The command writes verdicts that say what the table shows, or one line."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from research.scaling.emergence import simulate

ROOT = pathlib.Path(__file__).parents[1]


def run(folder, *arguments):
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.emergence', *arguments],
    cwd=ROOT,
    env={'PYTHONPATH': str(ROOT), 'PATH': '', 'HOME': str(folder)},
    capture_output=True,
    text=True,
  )
  return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """A step, and a curve that is smooth, as one CSV file."""
  rng = np.random.default_rng(0)
  design = simulate.Design(seeds=3)
  x = simulate.log_scale(design, rng)
  step = 0.2 + 0.4 * (np.arange(7) > 3)
  line = np.linspace(0.3, 0.8, 7)
  tables = [
    simulate.table(x, step, step, design, rng, 'jumps'),
    simulate.table(x, line, line, design, rng, 'grows'),
  ]
  path = tmp_path_factory.mktemp('scores') / 'scores.csv'
  frame = pd.concat(tables).rename(columns={'scale': 'flops'})
  frame.to_csv(path, index=False)
  return path


def test_verdicts_are_written_for_every_task(data, tmp_path):
  out = tmp_path / 'verdicts.json'
  plots = tmp_path / 'plots'
  status, text, error = run(
    tmp_path, f'--data={data}', f'--out={out}', f'--plots={plots}'
  )
  assert status == 0, error
  found = json.loads(out.read_text())
  assert list(found) == ['jumps', 'grows']
  jumps, grows = found['jumps'], found['grows']
  assert jumps['verdict'] == 'genuine break' and grows['verdict'] == 'smooth'
  assert jumps['interval95'][0] < jumps['scale'] < jumps['interval95'][1]
  assert grows['scale'] is None and grows['interval95'] is None
  for verdict in found.values():
    assert verdict['n_items'] == 500 and verdict['evidence'].endswith('.')
    assert set(verdict['metrics']) == {'exact_match', 'token_accuracy'}
    assert verdict['certificate']['sizes'] == 7
    assert verdict['certificate']['faults'] == ['chance is not known']
    for metric in verdict['metrics'].values():
      assert metric['statistic'] >= 0 and 0 < metric['p_value'] <= 1
  assert jumps['evidence'] in text
  assert {p.name for p in plots.iterdir()} == {'jumps.svg', 'grows.svg'}


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    ([], 'give one of --data'),
    (['--data={data}', '--scale=size'], "no column 'size'"),
    (['--data={data}', '--where=task'], 'where=task must be COLUMN=VALUE'),
    (['--data=nothing.csv'], 'nothing.csv'),
    (['--workdir=nothing'], 'holds no results'),
  ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(
  data, tmp_path, arguments, words
):
  out = tmp_path / 'verdicts.json'
  filled = [a.format(data=data) for a in arguments]
  status, _, error = run(tmp_path, *filled, f'--out={out}')
  assert status == 2 and words in error and error.count('\n') == 1
  assert not out.exists()
