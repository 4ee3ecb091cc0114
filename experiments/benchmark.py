"""Times ours beside a peer: training step, sweep, scoring, decoding, input.

    python -m experiments.benchmark --suite=step --peer=transformers \
        [--cases=gpt2-d256,bert-d256 --cores=0,1 --rounds=5 --seconds=1 \
         --out=step.json --peer_python=.venv-parity/bin/python --allow_busy]

Both sides have the same weights, are pinned to the same cores and take turns.
No ratio is told where others took more than 5 % of the cores' time, unless
`--allow_busy`. Every repetition is in the JSON, which is written anew after
each case. BENCHMARKS.md has the results. Cost: 25 to 60 s a case, the sweep
more than two minutes.
"""

import json
import os
import pathlib

from absl import flags
from tqdm import tqdm

from research import command
from research.benchmark import race, shapes, table
from research.config import BadInput
from research.files import write_whole

_SUITE = flags.DEFINE_enum(
  'suite', None, shapes.SUITES, 'What is timed.', required=True
)
_PEER = flags.DEFINE_enum('peer', 'none', [*race.PEERS, 'none'], 'Beside whom.')
_CASES = flags.DEFINE_list('cases', None, 'Which cases; the usual ones.')
_CORES = flags.DEFINE_list('cores', None, 'Cores to use; all that are usable.')
_DTYPE = flags.DEFINE_enum(
  'dtype', 'float32', ['float32', 'bfloat16'], 'Of the computation.'
)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each side.')
_SECONDS = flags.DEFINE_float('seconds', 1.0, 'Length of a turn, at least.')
_BUSY = flags.DEFINE_boolean('allow_busy', False, 'Tell ratios all the same.')
_PYTHON = flags.DEFINE_string(
  'peer_python', '.venv-parity/bin/python', 'The Python that has the peer.'
)
_OUT = flags.DEFINE_string('out', None, 'JSON file to write.')


def main() -> None:
  """Runs the cases, one after another, and prints a table."""
  peer = None if _PEER.value == 'none' else _PEER.value
  if peer and _SUITE.value not in race.PEERS[peer]:
    raise BadInput(
      f'peer={peer}: has no suite {_SUITE.value}, only'
      f' {", ".join(race.PEERS[peer])}; take --peer=none'
    )
  rules = race.Rules(
    peer=peer,
    peer_python=_PYTHON.value,
    cores=_cores(),
    dtype=_DTYPE.value,
    rounds=_ROUNDS.value,
    seconds=_SECONDS.value,
    allow_busy=_BUSY.value,
  )
  results, cases = [], _cases()
  total = sum(race.turns(case, rules) for case in cases)
  with tqdm(total=total, unit='turn', disable=None) as bar:
    for case in cases:
      bar.set_postfix_str(case.name)
      results.append(race.race(case, rules, bar.update))
      if _OUT.value:
        text = json.dumps(results, indent=1) + '\n'
        write_whole(pathlib.Path(_OUT.value), text)
  for side in filter(None, (results[-1]['ours'], results[-1]['peer'])):
    versions = ', '.join(f'{k} {v}' for k, v in side['versions'].items())
    print(f'{side.get("name", "ours")}: {side["device"]}; {versions}')
  print(table.table(results))


def _cases() -> list[shapes.Case]:
  there = [c for c in shapes.CASES if c.suite == _SUITE.value]
  if not _CASES.value:
    return [case for case in there if case.chosen]
  names = [case.name for case in there]
  for name in _CASES.value:
    if name not in names:
      raise BadInput(f'cases={name}: choose among {", ".join(names)}')
  return [case for case in there if case.name in _CASES.value]


def _cores() -> tuple[int, ...]:
  if not hasattr(os, 'sched_getaffinity'):
    raise BadInput('cores: this system pins no process to cores; use Linux')
  usable = sorted(os.sched_getaffinity(0))
  if not _CORES.value:
    return tuple(usable)
  for core in _CORES.value:
    if not core.isdigit() or int(core) not in usable:
      said = ', '.join(map(str, usable))
      raise BadInput(f'cores={core}: choose among {said}')
  return tuple(map(int, _CORES.value))


if __name__ == '__main__':
  command.without_config(main)
