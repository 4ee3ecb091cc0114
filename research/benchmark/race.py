"""A race: ours and a peer in processes of their own, taking turns."""

from collections.abc import Callable
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from research.benchmark import load, shapes
from research.benchmark.shapes import Case
from research.config import BadInput

ROOT = pathlib.Path(__file__).parents[2]
PEERS = {
  'transformers': ('step', 'score', 'decode'),
  'ctranslate2': ('score', 'decode'),
}
"""The suites that each peer has."""
_NEAR = 1e-3  # How far both sides' losses may differ, as a share.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
  """How a race is run.

  Attributes:
    peer: Its name; None: ours runs alone.
    peer_python: The interpreter that has it.
    cores: What both sides are pinned to.
    dtype: Of the computation.
    rounds: Turns of each side.
    seconds: That a turn should take, at least.
    allow_busy: Whether a ratio is told though others computed, too.
  """

  peer: str | None = None
  peer_python: str = '.venv-parity/bin/python'
  cores: tuple[int, ...] = ()
  dtype: str = 'float32'
  rounds: int = 5
  seconds: float = 1.0
  allow_busy: bool = False

  def __post_init__(self):
    if self.rounds < 1:
      raise BadInput(f'rounds={self.rounds} must be at least 1')
    if self.seconds <= 0:
      raise BadInput(f'seconds={self.seconds} must be positive')
    if self.peer and not pathlib.Path(self.peer_python).is_file():
      raise BadInput(
        f'peer_python={self.peer_python} is not there; run `make parity`, or'
        f' name a Python that has {self.peer}, or take --peer=none'
      )


class _Side:
  """A process that does a task (`contest.py`)."""

  def __init__(self, python: str, module: str, rules: Rules, **environment):
    self.module = module
    self.begun = time.perf_counter()
    threads = str(len(rules.cores))
    self.said = tempfile.TemporaryFile('w+')
    self.process = subprocess.Popen(
      [python, '-m', f'research.benchmark.{module}'],
      cwd=ROOT,
      env={**os.environ, 'OMP_NUM_THREADS': threads, **environment},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self.said,
      text=True,
    )
    # Long before it starts threads, which then inherit it.
    os.sched_setaffinity(self.process.pid, rules.cores)

  def ask(self, **asked) -> dict[str, Any]:
    """Sends a line; gives the reply.

    Raises:
      BadInput: The side cannot do it; its last words are told.
    """
    assert self.process.stdin and self.process.stdout
    with contextlib.suppress(BrokenPipeError):
      self.process.stdin.write(json.dumps(asked) + '\n')
      self.process.stdin.flush()
    line = self.process.stdout.readline()
    if not line:
      self.said.seek(0)
      said = self.said.read().strip().splitlines() or ['nothing said']
      raise BadInput(f'{self.module} ended: {said[-1]}')
    reply = json.loads(line)
    if 'error' in reply:
      raise BadInput(f'{self.module}: {reply["error"]}; install it there')
    return reply

  def close(self) -> None:
    self.process.communicate()
    self.said.close()


def turns(case: Case, rules: Rules) -> int:
  """How often `race` tells of a turn."""
  return rules.rounds + (case.name == 'warm')  # It fills the cache first.


def race(
  case: Case, rules: Rules, listen: Callable[[], object] = lambda: None
) -> dict[str, Any]:
  """What came out, as JSON data; seconds of every repetition are kept.

  Args:
    case: What is done.
    rules: By whom and how often.
    listen: Called after each turn.

  Raises:
    BadInput: A side is missing, or both do not compute the same.
  """
  if case.suite == 'sweep':
    return _sweep(case, rules, listen)
  with contextlib.ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    asked = order(case, rules, f'{folder}/model')
    empty = {'JAX_COMPILATION_CACHE_DIR': f'{folder}/programs'}
    us, ours = _start(stack, rules, sys.executable, 'ours', asked, **empty)
    sides, told = [us], [ours]
    if rules.peer and case.suite in PEERS[rules.peer]:
      asked['gpu'] = ours['platform'] == 'gpu'
      module = f'{rules.peer}_peer'
      peer, theirs = _start(stack, rules, rules.peer_python, module, asked)
      same(ours, theirs)
      sides.append(peer)
      told.append({**theirs, 'name': rules.peer})
    times = [_times(side, rules) for side in sides]
    pids = [os.getpid(), *(side.process.pid for side in sides)]
    before = load.mark(rules.cores, pids)
    products, turns = [], [[] for _ in sides]
    for _ in range(rules.rounds):
      products.append(us.ask(do='product')['flops_per_second'])
      for side, n, made in zip(sides, times, turns, strict=True):
        made.append(side.ask(do='repeat', times=n))
      listen()
    after = load.mark(rules.cores, pids)
  foreign = load.foreign(before, after, len(rules.cores))
  for one, made in zip(told, turns, strict=True):
    one['turns'] = made
  peer = told[1] if len(told) > 1 else None
  return result(case, rules, ours, peer, foreign, max(products))


def _start(stack, rules, python, module, asked, **environment):
  """A side, and what it told when its first repetition was made."""
  side = _Side(python, module, rules, **environment)
  stack.callback(side.close)
  told = side.ask(**asked)
  told['first_seconds'] = time.perf_counter() - side.begun
  return side, told


def order(case: Case, rules: Rules, folder: str) -> dict[str, Any]:
  """What a side must know."""
  return {
    **shapes.numbers(case),
    'suite': case.suite,
    'case': case.name,
    'dtype': rules.dtype,
    'threads': len(rules.cores),
    'folder': folder if rules.peer else None,
    'n_new': case.n_new,
    'prompt': shapes.PROMPT,
    'n_text': 256,
  }


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
  """Refuses sides that differ in parameters, or in their first number."""
  for name, limit in (('params', 0.0), ('value', _NEAR)):
    mine, other = ours.get(name), theirs.get(name)
    if mine is None or other is None:
      continue
    if abs(mine - other) > limit * abs(mine):
      raise BadInput(f'{name}: ours is {mine}, the peer has {other}')


def _times(side: _Side, rules: Rules) -> int:
  """Repetitions that fill a turn, after two that warm up."""
  made = side.ask(do='repeat', times=2)
  return max(1, round(rules.seconds / made['seconds'][-1]))


def result(
  case: Case,
  rules: Rules,
  ours: dict[str, Any],
  peer: dict[str, Any] | None,
  foreign: float | None,
  product: float | None,
) -> dict[str, Any]:
  """What is kept of a race; a ratio if the machine was quiet enough."""
  busy = foreign is None or foreign > load.QUIET
  return {
    'suite': case.suite,
    'case': case.name,
    'target': case.target,
    'dtype': rules.dtype,
    'cores': list(rules.cores),
    'foreign_load': foreign,
    'busy': busy,
    'product_flops_per_second': product,
    'ours': ours,
    'peer': peer,
    'ratio': None
    if peer is None or (busy and not rules.allow_busy)
    else {
      clock: ratio(ours['turns'], peer['turns'], clock)
      for clock in ('seconds', 'cpu_seconds')
    },
  }


def ratio(ours, theirs, clock: str) -> dict[str, float]:
  """How many times as fast we are: median of the rounds, least and most.

  A round is the median of its repetitions, on either side.
  """
  each = [
    statistics.median(their[clock]) / statistics.median(our[clock])
    for our, their in zip(ours, theirs, strict=True)
  ]
  return {
    'median': statistics.median(each),
    'least': min(each),
    'most': max(each),
  }


def _sweep(case: Case, rules: Rules, listen) -> dict[str, Any]:
  """Whole processes, with a cache of programs that is empty or full."""
  made, ours, shares = [], {}, []
  with tempfile.TemporaryDirectory() as kept:
    for i in range(turns(case, rules)):
      folder = kept if case.name == 'warm' else f'{kept}/{i}'
      before = load.mark(rules.cores, [os.getpid()])
      with contextlib.ExitStack() as stack:
        side, ours = _start(
          stack,
          rules,
          sys.executable,
          'ours',
          order(case, rules, folder) | {'folder': None},
          JAX_COMPILATION_CACHE_DIR=folder,
        )
        pids = [os.getpid(), side.process.pid]
        after = load.mark(rules.cores, pids)
      listen()
      if case.name == 'warm' and i == 0:
        continue
      shares.append(load.foreign(before, after, len(rules.cores)))
      spent = {'seconds': [ours['first_seconds']]}
      made.append({**spent, 'cpu_seconds': [ours['cpu_seconds']]})
  ours['turns'] = made
  known = [share for share in shares if share is not None]
  foreign = max(known) if known else None
  return result(case, rules, ours, None, foreign, None)
