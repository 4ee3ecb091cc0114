"""Every way to be misused ends in one line, and nothing is lost.

Real commands, as a user types them. `HERE` in a flag is the test's own folder:
cache/, run/ (a finished run of `tiny_study.train`), other/ (its checkpoints
under the config of a wider model), study/ (claimed by `tiny_study.study`) and
some bad corpora.
"""

import importlib
import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import termios
from typing import NamedTuple

from etils import epath
import pytest
import tiny_study

from research import config
from research.study import runner
from research.train import workdir

ROOT = pathlib.Path(__file__).parents[1]

LIMITED = """
import os, resource, sys
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Case(NamedTuple):
  """A command that must be refused.

  Attributes:
    flags: What is typed; later flags win.
    says: What the line must hold: field, value, remedy.
    program: The experiment.
    limit: Largest size of a file in bytes, which stands for a full disk.
    devices: How many there are.
  """

  flags: str
  says: tuple[str, ...]
  program: str = 'train'
  limit: int | None = None
  devices: int = 1


STUDY = {'program': 'study'}
EVALUATE = {'program': 'evaluate'}
JSONL = '--config.data.corpus.path=HERE/'
FOLDER = '--config.data.corpus=TextFolder --config.data.corpus.path=HERE/'
OTHER = '--workdir=HERE/other --config.model.d_model=32'

CASES = {
  # Unknown or mistyped flags.
  'mistyped flag': Case('--workdri=x', ('--workdri', "'workdir'")),
  'unknown flag': Case('--speed=9', ('--speed', '--help')),
  'mistyped field': Case(
    '--config.model.d_modle=8', ('model.d_modle', "'d_model'")
  ),
  'field elsewhere': Case('--config.d_model=8', ("'model.d_model'",)),
  'mistyped config': Case(
    '--config=configs.pretrian:tiny', ('pretrian', "'configs.pretrain'")
  ),
  'mistyped mode': Case('--mode=stauts', ('stauts', 'status'), **STUDY),
  'mistyped evaluation field': Case(
    '--config.n_span=3', ('n_span', "'n_spans'"), **EVALUATE
  ),
  # Values of the wrong type.
  'text for a number': Case(
    '--config.model.d_model=wide', ('model.d_model', 'wide', 'whole number')
  ),
  'fraction for a count': Case(
    '--config.n_steps=2.5', ('n_steps', '2.5', 'whole number')
  ),
  'unknown part': Case(
    '--config.model.norm=RMSnorm', ('model.norm', 'RMSnorm', "'RMSNorm'")
  ),
  # Sizes that do not divide.
  'heads': Case(
    '--config.model.d_model=17', ('n_heads=2', 'd_model=17', 'must divide')
  ),
  'microbatches': Case(
    '--config.accumulation=3', ('batch_size=4', 'divisible', '3')
  ),
  'devices and batch': Case(
    '--config.parallelism.fsdp=3', ('batch_size=4', 'divisible', '3'), devices=3
  ),
  # A workdir that cannot be written.
  'workdir below a file': Case(
    '--workdir=HERE/corpus.jsonl/run',
    ('workdir=HERE/corpus.jsonl/run', 'Not a directory', 'name another'),
  ),
  'workdir that none can write': Case(
    '--workdir=/proc/run', ('workdir=/proc/run', 'name another')
  ),
  'study below a file': Case(
    '--workdir=HERE/corpus.jsonl/study',
    ('workdir=HERE/corpus.jsonl/study', 'Not a directory', 'name another'),
    **STUDY,
  ),
  # A disk that fills.
  'full at the config': Case(
    '', ('workdir=HERE/new', 'File too large', 'name another'), limit=1000
  ),
  'full at the tokens': Case(
    '--config.data.cache_dir=HERE/fresh',
    ('HERE/fresh', 'File too large', 'make room'),
    limit=1000,
  ),
  'full at the study': Case(
    '',
    ('workdir=HERE/new', 'File too large', 'name another'),
    limit=1000,
    **STUDY,
  ),
  'full at the rows': Case(
    '',
    ('HERE/run/evaluations', 'File too large', 'make room'),
    limit=1000,
    **EVALUATE,
  ),
  # A workdir that holds another config.
  'another run': Case(
    '--workdir=HERE/run --config.n_steps=7',
    ('workdir=HERE/run', 'n_steps is 4 there, 7 here', 'name another'),
  ),
  'another study': Case(
    '--workdir=HERE/study --config.evaluation.n_spans=3',
    ('workdir=HERE/study', 'another study', 'name another'),
    **STUDY,
  ),
  'report of another study': Case(
    '--workdir=HERE/study --config.evaluation.n_spans=3 --mode=report',
    ('workdir=HERE/study', 'another study', 'name another'),
    **STUDY,
  ),
  'no run': Case(
    '--workdir=HERE/nothing', ('workdir=HERE/nothing', 'no run'), **EVALUATE
  ),
  # A corpus that cannot be read.
  'missing corpus': Case(
    f'{JSONL}none.jsonl', ('corpus.path', 'HERE/none.jsonl', 'give one')
  ),
  'missing corpus of a study': Case(
    '--config.designs.0.train.data.corpus.path=HERE/none.jsonl',
    ('corpus.path', 'HERE/none.jsonl', 'give one'),
    **STUDY,
  ),
  'empty corpus': Case(
    f'{JSONL}empty.jsonl', ('corpus.path', 'HERE/empty.jsonl', 'give one')
  ),
  'empty file': Case(
    f'{FOLDER}texts', ('corpus.path', 'HERE/texts/empty.txt', 'remove it')
  ),
  'corpus in Latin-1': Case(
    f'{JSONL}latin.jsonl',
    ('corpus.path', 'HERE/latin.jsonl', 'not UTF-8 at byte 13', 'convert'),
  ),
  'corpus shorter than a batch': Case(
    '--config.batch_size=4000',
    ('batch_size', '4000 x 32', 'smaller batch_size'),
  ),
  'corpus shorter than a batch of a study': Case(
    '--config.designs.0.train.batch_size=4000',
    ('cell decoder-16x1-', '4000 x 32', 'smaller batch_size'),
    **STUDY,
  ),
  'spans longer than the model': Case(
    '--config.evaluation.context=30',
    ('cell decoder-16x1-', 'seq_len=32', '30 tokens', 'shorten'),
    **STUDY,
  ),
  'more spans than there is text': Case(
    '--config.evaluation.n_spans=40000',
    ('cell decoder-16x1-', '20000 are asked for', 'shorten'),
    **STUDY,
  ),
  'unknown TFDS name': Case(
    '--config.data.corpus=TFDS --config.data.corpus.name=lm1bb',
    ('corpus.name', "'lm1bb'", 'nearest: lm1b'),
  ),
  # A checkpoint of another shape.
  'checkpoint of another shape': Case(
    OTHER, ('HERE/other/checkpoints/4', 'another shape', '32', 'name another')
  ),
  'evaluation of another shape': Case(
    '--workdir=HERE/other',
    ('HERE/other/checkpoints/4', 'another shape', '32', 'name another'),
    **EVALUATE,
  ),
  # More devices than there are.
  'too many devices': Case(
    '--config.parallelism.data=2',
    ('data=2', 'asks for 2 devices', 'there are 1', 'fewer'),
  ),
  'too many devices for a study': Case(
    '--config.designs.0.train.parallelism.data=2',
    ('cell decoder-16x1-', 'asks for 2 devices', 'there are 1', 'fewer'),
    **STUDY,
  ),
}
DEFAULTS = {
  'train': (
    '--config=tests.tiny_study:train --config.n_steps=4 --workdir=HERE/new'
  ),
  'study': '--config=tests.tiny_study:study --workdir=HERE/new',
  'evaluate': (
    '--workdir=HERE/run --config.n_tokens=128 --config.n_spans=2'
    ' --config.span_length=4 --config.context=16'
  ),
}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """What every test gets a copy of."""
  here = tmp_path_factory.mktemp('made')
  tiny_study.write_corpus(here / 'corpus.jsonl')
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('TINY_CORPUS', str(here / 'corpus.jsonl'))
    ended = command(here, 'train', '--workdir=HERE/run')
    tiny = importlib.reload(tiny_study)  # It reads the environment.
  assert ended.returncode == 0, ended.stderr
  assert not ended.stderr
  shutil.copytree(here / 'run/checkpoints', here / 'other/checkpoints')
  wider = config.replace(tiny.train(), {'model.d_model': 32, 'n_steps': 4})
  workdir.claim(wider, epath.Path(here / 'other'))
  runner.claim(tiny.study(), epath.Path(here / 'study'))
  (here / 'empty.jsonl').touch()
  (here / 'latin.jsonl').write_bytes('{"text": "caf\xe9"}\n'.encode('latin-1'))
  (here / 'texts').mkdir()
  (here / 'texts/empty.txt').touch()
  return here


@pytest.fixture
def here(made, tmp_path, monkeypatch):
  shutil.copytree(made, tmp_path, dirs_exist_ok=True)
  monkeypatch.setenv('TINY_CORPUS', str(made / 'corpus.jsonl'))
  return tmp_path


def command(here, program, flags, limit=None, devices=1, stderr=None):
  """Runs an experiment to its end."""
  environment = {
    **os.environ,
    'SCALING_CACHE': str(here / 'cache'),
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': str(devices),
  }
  typed = f'{DEFAULTS[program]} {flags}'.replace('HERE', str(here)).split()
  limited = [sys.executable, '-c', LIMITED, str(limit)] if limit else []
  return subprocess.run(
    [*limited, sys.executable, '-m', f'experiments.{program}', *typed],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=stderr or subprocess.PIPE,
    text=True,
    timeout=300,
  )


def files(folder):
  """The content of every file, by path; cached tokens by their name alone."""
  found = {}
  for path in sorted(folder.rglob('*')):
    if path.is_file():
      name = str(path.relative_to(folder))
      cached = name.startswith('cache/') and '.tmp' not in name
      found[name] = None if cached else path.read_bytes()
  return {k: v for k, v in found.items() if v is not None}


@pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
def test_it_is_refused_in_one_line_that_leaves_no_trace(here, case):
  before = files(here)
  ended = command(here, case.program, case.flags, case.limit, case.devices)
  assert ended.returncode == 2
  assert ended.stderr.count('\n') == 1, ended.stderr
  line = ended.stderr
  assert line.startswith('error: ')
  for words in case.says:
    assert words.replace('HERE', str(here)) in line
  assert files(here) == before


def test_a_disk_that_fills_keeps_the_checkpoint_before(here):
  run = here / 'run'
  finished = json.loads((run / 'finished.json').read_text())
  (run / 'finished.json').unlink()
  shutil.rmtree(run / 'checkpoints/4')  # As if stopped after step 2.
  before = files(run / 'checkpoints')
  assert {name.partition('/')[0] for name in before} == {'2'}

  again = '--workdir=HERE/run'
  ended = command(here, 'train', again, limit=10_000)
  assert ended.returncode == 2
  assert ended.stderr.count('\n') == 1, ended.stderr
  line = ended.stderr
  assert f'{run}/checkpoints' in line
  assert files(run / 'checkpoints') == before
  assert not (run / 'finished.json').exists()

  ended = command(here, 'train', again)
  assert ended.returncode == 0, ended.stderr
  resumed = json.loads((run / 'finished.json').read_text())
  for name in ('steps', 'loss', 'data_hash'):
    assert resumed[name] == finished[name]


def test_on_a_terminal_the_bar_ends_before_the_line(here):
  ours, theirs = pty.openpty()
  termios.tcsetwinsize(theirs, (24, 80))
  flags = '--config.data.corpus.path=HERE/none.jsonl'
  ended = command(here, 'train', flags, stderr=theirs)
  os.close(theirs)
  shown = os.read(ours, 100_000).decode().splitlines()
  os.close(ours)
  assert ended.returncode == 2
  assert '0/4' in ''.join(shown[:-1])
  assert shown[-1].startswith('error: corpus.path')
