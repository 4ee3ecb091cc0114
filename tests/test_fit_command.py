"""The command fits what it is given, or says in one line why it does not."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import surfaces
import synthetic

ROOT = pathlib.Path(__file__).parents[1]


def run(*flags, code=None):
  """The command, or a program that runs it and says more."""
  program = ['-c', code] if code else ['-m', 'experiments.fit']
  return subprocess.run(
    [sys.executable, *program, *map(str, flags)],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )


def written(path, given, **columns):
  table = {'params': given.params, 'tokens': given.tokens, 'loss': given.loss}
  pd.DataFrame(table | columns).to_csv(path, index=False)
  return path


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """Two groups, fitted with everything asked for; what it said and wrote."""
  here = tmp_path_factory.mktemp('fit')
  given = surfaces.isoflop('hoffmann', noise=0.002)
  family = np.where(np.arange(len(given)) % 2, 'odd', 'even')
  budget = {'budget': given.budget, 'family': family}
  data = written(here / 'points.csv', given, **budget)
  flags = [
    f'--data={data}',
    '--law=chinchilla',
    f'--out={here}/fit.json',
    '--compute=5.76e23,1e24',
    '--at=params:7e10,tokens:1.4e12',
    '--bootstrap=50',
    '--starts=100',
    f'--plot={here}/fit.png',
    '--group=family',
  ]
  code = (
    'import runpy, sys, atexit\n'
    'atexit.register(lambda: print("jax" in sys.modules))\n'
    'runpy.run_module("experiments.fit", run_name="__main__")'
  )
  return here, run(*flags, code=code)


def test_every_group_has_a_whole_fit(done):
  here, command = done
  assert command.returncode == 0, command.stderr
  groups = json.loads((here / 'fit.json').read_text())['groups']
  assert set(groups) == {'even', 'odd'}
  for found in groups.values():
    assert found['law'] == 'chinchilla' and found['certified']
    assert set(found['parameters']) == set(surfaces.NAMES)
    assert set(found['stderr']) == set(found['interval95'])
    assert found['objective']['reduction'] == 'sum'
    assert found['objective']['delta'] == 1e-3
    assert len(found['derived']['optimum']) == 2
    assert len(found['backtest']) in (4, 5)
    place, *budgets = found['predictions']
    assert place['at'] == {'params': 7e10, 'tokens': 1.4e12}
    assert place['outside'] and place['factor'] > 10
    assert place['value'] == pytest.approx(
      surfaces.loss('hoffmann', 7e10, 1.4e12), rel=0.02
    )
    assert [b['at']['compute'] for b in budgets] == [5.76e23, 1e24]
    assert len(found['provenance']['sha256']) == 64
    assert abs(found['conventions']['6nd']['moved']) < 1e-9
  assert groups['odd']['provenance'] != groups['even']['provenance']


def test_it_tells_and_draws_what_it_found_without_jax(done):
  here, command = done
  said = command.stdout.splitlines()
  assert said[0].startswith('odd: L = ') or said[0].startswith('even: L = ')
  assert f'fit: {here}/fit.json' in said
  assert said[-1] == 'False'
  assert (here / 'fit.png').read_bytes().startswith(b'\x89PNG')


def test_an_uncertified_fit_is_refused_and_written_only_if_allowed(tmp_path):
  given = surfaces.grid('hoffmann').take([0, 1])
  data = written(tmp_path / 'two.csv', given)
  out = tmp_path / 'fit.json'
  flags = f'--data={data}', '--law=chinchilla', f'--out={out}', '--starts=50'
  refused = run(*flags)
  assert refused.returncode == 2 and not out.exists()
  (line,) = refused.stderr.splitlines()
  assert '2 different points in 2: the law needs 6' in line
  assert '--allow_uncertified' in line
  allowed = run(*flags, '--allow_uncertified')
  assert allowed.returncode == 0, allowed.stderr
  found = json.loads(out.read_text())
  assert not found['certified'] and '(uncertified)' in found['text']
  assert found['certificate']['faults']


def test_a_study_is_fitted_by_architecture(tmp_path):
  """From a results table whose surfaces are known."""
  frame = synthetic.study(noise=0)
  frame.to_json(tmp_path / 'results.jsonl', orient='records', lines=True)
  out = tmp_path / 'fit.json'
  flags = f'--workdir={tmp_path}', '--law=isoflop', f'--out={out}'
  command = run(*flags, '--bootstrap=10', '--compute=1e14')
  assert command.returncode == 0, command.stderr
  groups = json.loads(out.read_text())['groups']
  assert list(groups) == list(synthetic.SURFACES)
  for name, found in groups.items():
    assert found['derived']['a']['value'] == pytest.approx(
      0.28 / 0.62, abs=0.01
    )
    n = synthetic.optimum(name, 1e14)
    (entry,) = found['predictions']
    # The coarse grids' parabolas, of three budgets some, are a per cent off.
    assert entry['value'] == pytest.approx(
      synthetic.loss(name, n, 1e14 / (6 * n)), rel=0.02
    )
    assert entry['outside'] and entry['factor'] >= 9.99
    assert found['provenance']['source'].endswith('results.jsonl')


@pytest.mark.parametrize(
  ('flags', 'said'),
  [
    (['--law=chinchila'], "did you mean 'chinchilla'?"),
    (['--law=isoflop'], "'budget'"),
    (['--law=power', '--options=x:size'], 'flops, params, tokens'),
    (['--law=kaplan', '--at=params:1e9'], 'lacks tokens'),
    (['--law=kaplan', '--compute=-1'], 'compute=-1'),
    (['--law=kaplan', '--group=family'], 'no such column'),
    (['--law=kaplan', '--convention=6nd_non_embedding'], 'non_embedding'),
  ],
)
def test_what_it_cannot_do_is_told_in_one_line(tmp_path, flags, said):
  data = written(tmp_path / 'points.csv', surfaces.grid('hoffmann'))
  out = tmp_path / 'fit.json'
  found = run(f'--data={data}', f'--out={out}', *flags)
  assert found.returncode == 2 and not out.exists()
  (line,) = found.stderr.splitlines()
  assert line.startswith('error: ') and said in line
