"""A benchmark tells what it saw, and no ratio where others computed, too."""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from research.benchmark import inputs, load, race, shapes, table
from research.interop import exporting

ROOT = pathlib.Path(__file__).parents[1]
RULES = race.Rules(cores=(0, 1))
STAT = """cpu  900 0 0 5000 0 0 0 0 0 0
cpu0 100 20 30 4000 500 6 4 40 0 0
cpu1 300 0 0 4000 0 0 0 0 0 0
cpu10 9000 0 0 4000 0 0 0 0 0 0
intr 12345
"""


def command(*flags, status=0):
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.benchmark', *flags],
    cwd=ROOT,
    capture_output=True,
    text=True,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
  )
  assert done.returncode == status, done.stderr
  return done.stdout, done.stderr


def turns(*seconds):
  """The turns of a side, whose repetitions took so long."""
  return [{'seconds': s, 'cpu_seconds': s, 'resident': 2**20} for s in seconds]


def outcome(foreign, allow_busy=False):
  """Of a race in which we took 1 s and 2 s, the peer 3 s and 8 s."""
  rules = race.Rules(cores=(0, 1), allow_busy=allow_busy)
  ours = {'turns': turns([1.0, 1.0, 9.0], [2.0]), 'tokens': 100, 'flops': 4e9}
  peer = {'turns': turns([3.0], [7.0, 8.0, 9.0]), 'name': 'them'}
  ours['first_seconds'] = peer['first_seconds'] = 1.0
  return race.result(shapes.CASES[0], rules, ours, peer, foreign, 8e9)


def test_busy_time_is_all_but_idle_of_the_cores_that_are_used():
  # Ticks of user, nice, system, interrupts and what a hypervisor took.
  tick = os.sysconf('SC_CLK_TCK')
  assert load.busy_seconds(STAT, [0]) == (100 + 20 + 30 + 6 + 4 + 40) / tick
  assert load.busy_seconds(STAT, [0, 1]) == 500 / tick


def test_foreign_load_is_what_remains_when_our_own_is_taken_away():
  first = load.Mark(seconds=10.0, busy=100.0, own=50.0)
  last = load.Mark(seconds=20.0, busy=116.0, own=61.0)
  assert load.foreign(first, last, n_cores=2) == pytest.approx(5 / 20)
  assert load.foreign(None, last, n_cores=2) is None


@pytest.mark.skipif(not os.path.exists('/proc/stat'), reason='no /proc')
def test_time_that_a_process_of_ours_takes_is_its_own():
  first, begun = load.mark([0], [os.getpid()]), time.process_time()
  while time.process_time() < begun + 0.2:
    pass
  last = load.mark([0], [os.getpid()])
  assert first and last
  assert last.own - first.own >= 0.15


def test_the_ratio_is_of_the_medians_of_each_round():
  ratio = outcome(0.01)['ratio']['seconds']
  assert ratio == {'median': 3.5, 'least': 3.0, 'most': 4.0}


def test_no_ratio_is_told_of_a_busy_machine_unless_asked_for():
  busy = outcome(0.2)
  assert busy['busy'] and busy['ratio'] is None
  assert 'busy: not told' in table.table([busy])
  assert '3.50' not in table.table([busy])
  assert outcome(None)['ratio'] is None  # nothing is known of others
  assert '3.50 [3.00, 4.00]' in table.table([outcome(0.2, allow_busy=True)])
  assert '3.50 [3.00, 4.00]' in table.table([outcome(0.01)])


def test_the_table_divides_by_the_least_time():
  (line,) = (x for x in table.table([outcome(0.0)]).splitlines() if 'ours' in x)
  cells = line.split()
  assert cells[3:5] == ['1000', '1500']  # ms: least, median
  assert {'100', '4.0', '50%'} <= set(cells)  # tokens/s, GFLOP/s, of 8 GFLOP/s


def test_sides_that_do_not_compute_the_same_are_refused():
  race.same({'params': 5, 'value': 2.0}, {'params': 5, 'value': 2.001})
  race.same({'params': 5, 'value': None}, {'value': None})
  for theirs in ({'params': 6}, {'params': 5, 'value': 2.01}):
    with pytest.raises(race.BadInput, match='ours is'):
      race.same({'params': 5, 'value': 2.0}, theirs)


def test_every_shape_that_has_a_peer_is_one_that_transformers_knows():
  kinds = {
    case.name: exporting.expressing(case.model)[1]['model_type']
    for case in shapes.CASES
    if case.suite in ('step', 'score', 'decode')
  }
  assert kinds['bert-d256'] == 'bert' and kinds['t5-d256'] == 't5'
  del kinds['bert-d256'], kinds['t5-d256']
  assert set(kinds.values()) == {'gpt2'}


@pytest.mark.parametrize('name', ['gpt2-d256', 'bert-d256', 't5-d256'])
def test_what_both_sides_read_is_drawn_alike(name):
  order = race.order(shapes.find('step', name), RULES, '')
  first, again = inputs.language(order), inputs.language(order)
  for key, x in first.items():
    np.testing.assert_array_equal(x, again[key])
  assert first['targets'].max() < order['vocab']
  assert first['weights'].sum() > 100


SIDE = """
import os, sys
from research.benchmark.contest import Task, serve
print('what a library prints')
os.system('echo and its child')
def build(order):
  if order.get('missing'):
    import no_such_package
  return Task(lambda: 4.5, {'name': order['name']})
serve(build)
"""


def side(*orders):
  done = subprocess.run(
    [sys.executable, '-c', SIDE],
    input=''.join(json.dumps(order) + '\n' for order in orders),
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  return [json.loads(x) for x in done.stdout.splitlines() if x[0] == '{']


def test_a_side_replies_to_every_line_whatever_is_printed():
  first, second = side({'name': 'x'}, {'do': 'repeat', 'times': 3})
  assert first['value'] == 4.5 and first['name'] == 'x'
  assert len(second['seconds']) == len(second['cpu_seconds']) == 3


def test_a_side_says_what_it_lacks():
  (only,) = side({'missing': True})
  assert 'no_such_package' in only['error']


STUB = f"""#!{sys.executable}
import os, sys
from research.benchmark.contest import Task, serve
def build(order):
  kept = os.environ.get('JAX_COMPILATION_CACHE_DIR', '')
  value = 4.0 if 'ours' in sys.argv[2] else float(os.environ['THEIRS'])
  facts = {{'platform': 'cpu', 'kept': kept, 'params': 7}}
  return Task(lambda: value, facts, product=lambda: 8e9)
serve(build)
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
  """A Python that runs a side which computes nothing, whatever it is asked."""
  path = tmp_path / 'python'
  path.write_text(STUB)
  path.chmod(0o755)
  monkeypatch.setattr(sys, 'executable', str(path))
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  return str(path)


def stubbed(stub, **changes):
  cores = tuple(os.sched_getaffinity(0))
  return race.Rules(
    peer_python=stub, cores=cores, rounds=2, seconds=1e-6, **changes
  )


def test_both_sides_take_as_many_turns(stub, monkeypatch):
  monkeypatch.setenv('THEIRS', '4.001')
  rules = stubbed(stub, peer='transformers', allow_busy=True)
  made = race.race(shapes.CASES[0], rules)
  assert len(made['ours']['turns']) == len(made['peer']['turns']) == 2
  assert made['peer']['name'] == 'transformers'
  assert made['product_flops_per_second'] == 8e9
  assert made['ratio']['seconds']['least'] > 0


def test_a_race_with_another_loss_is_not_run(stub, monkeypatch):
  monkeypatch.setenv('THEIRS', '4.1')
  rules = stubbed(stub, peer='transformers')
  with pytest.raises(race.BadInput, match='value: ours is 4.0, the peer has'):
    race.race(shapes.CASES[0], rules)


def test_a_cold_sweep_never_meets_a_program_and_a_warm_one_always(stub):
  rules = stubbed(stub)
  cold = race.race(shapes.find('sweep', 'cold'), rules)
  warm = race.race(shapes.find('sweep', 'warm'), rules)
  for made in (cold, warm):
    assert len(made['ours']['turns']) == 2
    assert made['ours']['kept']
    assert made['product_flops_per_second'] is None
  assert pathlib.Path(cold['ours']['kept']).name == '1'  # each its own
  assert 'sweep warm' in table.table([warm])


@pytest.mark.parametrize(
  ('flags', 'said'),
  [
    (['--suite=step', '--cases=gpt3'], 'cases=gpt3: choose among gpt2-d256'),
    (['--suite=input', '--peer=transformers'], 'has no suite input'),
    (['--suite=score', '--peer=ctranslate2', '--peer_python=/no'], '/no'),
  ],
)
def test_what_cannot_be_measured_is_one_line(flags, said):
  _, err = command(*flags, status=2)
  (line,) = err.splitlines()
  assert line.startswith('error: ') and said in line


@pytest.mark.slow
def test_a_step_is_measured_alone(tmp_path):
  out, _ = command(
    *('--suite=step', '--cases=gpt2-d128', '--rounds=2', '--seconds=0.1'),
    f'--out={tmp_path / "out.json"}',
  )
  (made,) = json.loads((tmp_path / 'out.json').read_text())
  assert made['ratio'] is None and made['peer'] is None
  assert made['ours']['params'] == shapes.CASES[2].model.n_params
  # Random weights guess at random: ln 2048 nats a token.
  assert made['ours']['value'] == pytest.approx(np.log(2048), rel=0.1)
  assert len(made['ours']['turns']) == 2
  assert 'step gpt2-d128' in out and made['ours']['versions']['jax'] in out


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize(
  ('suite', 'name'), [('step', 'bert-d256'), ('step', 't5-d256')]
)
def test_a_peer_with_our_weights_has_our_first_loss(suite, name):
  """The race itself refuses sides whose losses differ by a thousandth."""
  rules = race.Rules(
    peer='transformers',
    peer_python=sys.executable,
    cores=tuple(os.sched_getaffinity(0)),
    rounds=1,
    seconds=0.01,
    allow_busy=True,
  )
  made = race.race(shapes.find(suite, name), rules)
  assert made['peer']['value'] == pytest.approx(made['ours']['value'], rel=1e-3)
  assert made['ratio']['seconds']['median'] > 0
