"""Configs change all at once, say what is wrong in a line, and name a run."""

import dataclasses
import hashlib
import importlib
import inspect
import json
import os
import pathlib
import pkgutil
import signal
import subprocess
import sys
import textwrap
from typing import Literal

import numpy as np
import pytest

import configs
from research import config
from research.config import BadInput, from_dict, replace, to_dict

ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerNorm:
  eps: float = 1e-6
  bias: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMSNorm:
  eps: float = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Causal:
  share: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masked:
  share: float = 1.0
  rate: float = 0.15


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
  path: str
  limit: int = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  d_model: int = 64
  n_heads: int = 4
  n_kv_heads: int | None = None
  norm: LayerNorm | RMSNorm = LayerNorm()
  activation: Literal['gelu', 'relu'] = 'gelu'
  unroll: int | bool = 1
  tied: bool = True

  def __post_init__(self):
    if self.d_model % self.n_heads:
      raise BadInput(
        f'n_heads={self.n_heads} must divide d_model={self.d_model}'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
  model: Model = Model()
  objectives: tuple[Causal | Masked, ...] = (Causal(),)
  source: Causal | File | None = None
  learning_rate: float = 1e-3
  steps: tuple[int, ...] = ()
  rules: tuple[tuple[str, str | None], ...] = (('embed', None),)
  name: str = 'a'
  log_every: int = dataclasses.field(
    default=10, metadata={'fingerprint': False}
  )


TRAIN = Train()


def change(**changes):
  """`TRAIN` with `a__b` for `a.b`."""
  return replace(TRAIN, {k.replace('__', '.'): v for k, v in changes.items()})


# What may be written.


@pytest.mark.parametrize(
  ('path', 'text', 'value'),
  [
    ('model.d_model', '128', 128),
    ('model.d_model', '1e6', 1_000_000),
    ('model.d_model', '1_000_000', 1_000_000),
    ('model.d_model', '1e23', 10**23),
    ('model.n_kv_heads', '2', 2),
    ('model.n_kv_heads', 'none', None),
    ('model.activation', 'relu', 'relu'),
    ('model.unroll', 'true', True),
    ('model.unroll', '1', 1),
    ('model.tied', 'false', False),
    ('learning_rate', '3e-4', 3e-4),
    ('learning_rate', '1', 1.0),
    ('steps', '1,2,3e3', (1, 2, 3000)),
    ('steps', '7', (7,)),
    ('steps', '', ()),
    ('name', 'none', 'none'),
    ('name', '1,2=3', '1,2=3'),
    ('rules.0.1', 'fsdp', 'fsdp'),
    ('rules.0.1', 'none', None),
    ('source', 'none', None),
  ],
)
def test_text_is_read_as_the_field_type_asks(path, text, value):
  found = replace(TRAIN, {path: text})
  for name in path.split('.'):
    found = found[int(name)] if name.isdigit() else getattr(found, name)
  assert found == value and type(found) is type(value)


def test_a_part_is_chosen_by_name_with_its_fields_beside_it():
  chosen = change(model__norm='RMSNorm', model__norm__eps='0.5')
  assert chosen.model.norm == RMSNorm(eps=0.5)
  assert change(model__norm='RMSNorm').model.norm == RMSNorm()


def test_the_order_of_changes_does_not_matter():
  chosen = change(model__norm__eps='0.5', model__norm='RMSNorm')
  assert chosen.model.norm == RMSNorm(eps=0.5)


def test_the_present_part_keeps_its_values_and_another_takes_defaults():
  tuned = change(model__norm__eps=0.5)
  same = replace(tuned, {'model.norm': 'LayerNorm', 'model.norm.bias': 'false'})
  assert same.model.norm == LayerNorm(eps=0.5, bias=False)
  assert replace(tuned, {'model.norm': 'RMSNorm'}).model.norm == RMSNorm()


def test_a_part_that_needs_a_value_takes_it_from_the_same_changes():
  chosen = change(source='File', source__path='a.txt')
  assert chosen.source == File(path='a.txt')
  with pytest.raises(BadInput, match="^source: File needs a value for 'path'$"):
    change(source='File')


def test_items_of_a_tuple_are_set_by_index():
  assert change(objectives__0__share='.5').objectives == (Causal(share=0.5),)
  assert change(objectives__0='Masked').objectives == (Masked(),)


def test_a_tuple_is_set_by_class_names_and_keeps_what_stays():
  tuned = change(objectives__0__share=0.5)
  both = replace(
    tuned, {'objectives': 'Causal,Masked', 'objectives.1.rate': '.3'}
  )
  assert both.objectives == (Causal(share=0.5), Masked(rate=0.3))


def test_changes_are_checked_together():
  assert change(model__d_model=65, model__n_heads=5).model.n_heads == 5
  with pytest.raises(BadInput, match='^model: n_heads=4 must divide'):
    change(model__d_model=65)


def test_numbers_of_numpy_become_plain_ones():
  changed = change(model__d_model=np.int64(8), learning_rate=np.float32(0.5))
  assert type(changed.model.d_model) is int
  assert type(changed.learning_rate) is float


def test_grid_is_the_product_of_its_axes():
  cells = config.grid(
    TRAIN, {'learning_rate': [1, 2], 'model.d_model': [4, '8']}
  )
  found = [(c.learning_rate, c.model.d_model) for c in cells]
  assert found == [(1, 4), (1, 8), (2, 4), (2, 8)]


# What may not.


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'model.d_modle': '8'},
      "model.d_modle: Model has no field 'd_modle'; did you mean 'd_model'?",
    ),
    (
      {'d_model': '8'},
      "d_model: Train has no field 'd_model'; did you mean 'model.d_model'?",
    ),
    (
      {'model.norm': 'RMSNorm', 'model.norm.bias': 'true'},
      "model.norm.bias: RMSNorm has no field 'bias'; there are: eps",
    ),
    (
      {'model.norm': 'RMSnorm'},
      "model.norm='RMSnorm': must be one of LayerNorm, RMSNorm;"
      " did you mean 'RMSNorm'?",
    ),
    (
      {'model.activation': 'gelo'},
      "model.activation='gelo': must be one of gelu, relu;"
      " did you mean 'gelu'?",
    ),
    ({'model.d_model': '1.5'}, "model.d_model='1.5': must be a whole number"),
    (
      {'model.d_model': '1e999999999'},
      "model.d_model='1e999999999': must be a whole number",
    ),
    (
      {'model.n_kv_heads': 'two'},
      "model.n_kv_heads='two': must be a whole number or none",
    ),
    ({'learning_rate': 'nan'}, "learning_rate='nan': must be a finite number"),
    ({'model.tied': 'yes'}, "model.tied='yes': must be true or false"),
    ({'steps': '1,x'}, "steps.1='x': must be a whole number"),
    (
      {'objectives.1.share': '1'},
      'objectives.1: objectives has length 1, counted from 0;'
      ' set all of them with objectives=A,B',
    ),
    (
      {'source.path': 'a'},
      "source is None and has no field 'path';"
      ' set source itself to one of Causal, File or none',
    ),
    ({'model.d_model': 8.0}, 'model.d_model=8.0: must be a whole number'),
    ({'model.d_model': True}, 'model.d_model=True: must be a whole number'),
    ({'model.norm': Causal()}, None),
    ({'model.tied': 1}, 'model.tied=1: must be true or false'),
    ({'steps': [1, '2']}, "steps.1='2': must be a whole number"),
    ({'rules': (('a',),)}, None),
    ({'learning_rate': None}, 'learning_rate=None: must be a finite number'),
    ({'model': 3}, 'model=3: must be Model'),
    ({'name': 3}, 'name=3: must be text'),
    ({'model..norm': '1'}, None),
    ({'': '1'}, None),
  ],
)
def test_a_refusal_names_field_value_and_remedy_in_one_line(changes, message):
  with pytest.raises(BadInput) as error:
    replace(TRAIN, changes)
  assert '\n' not in str(error.value)
  assert message is None or str(error.value) == message


def test_text_is_no_axis_of_a_grid():
  with pytest.raises(BadInput, match='sequence'):
    next(config.grid(TRAIN, {'learning_rate': '1e-3'}))


# Written and read again.

CHANGED = [
  {},
  {'model.norm': 'RMSNorm', 'model.n_kv_heads': '2', 'learning_rate': 1},
  {'objectives': 'Masked,Causal,Masked', 'objectives.2.share': '.25'},
  {'source': 'File', 'source.path': 'none', 'steps': '1,2', 'name': 'none'},
  {'rules.0.1': 'fsdp', 'model.unroll': True},
]


@pytest.mark.parametrize('changes', CHANGED)
def test_json_gives_the_same_config_back(changes):
  written = replace(TRAIN, changes)
  read = from_dict(Train, json.loads(json.dumps(to_dict(written))))
  assert read == written
  assert config.fingerprint(read) == config.fingerprint(written)


def test_a_union_is_read_by_the_type_that_was_written():
  assert from_dict(LayerNorm | RMSNorm, to_dict(RMSNorm(eps=1))) == RMSNorm(
    eps=1
  )


def test_what_was_not_written_takes_its_default():
  assert from_dict(Train, {'type': 'Train', 'name': 'b'}) == Train(name='b')


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    ({'type': 'Train', 'nam': 'b'}, "nam: Train has no field 'nam'; did you"),
    ({'type': 'Model'}, "config={'type': 'Model'}: must be Train"),
    ({}, 'config={}: must be Train'),
    ([], r'config=\[\]: must be Train'),
    ({'type': 'Train', 'steps': [1.5]}, 'steps.0=1.5: must be a whole number'),
    ({'type': 'Train', 'model': {'type': 'Model', 'd_model': 5}}, 'n_heads=4'),
    ({'type': 'Train', 'name': {'type': 'os.system'}}, 'name=.*must be text'),
  ],
)
def test_bad_json_is_refused(data, message):
  with pytest.raises(BadInput, match=message):
    from_dict(Train, data)


def house():
  """Each config that a function of `configs/` returns, under its name."""
  for found in pkgutil.iter_modules(configs.__path__):
    module = importlib.import_module(f'configs.{found.name}')
    for name, function in inspect.getmembers(module, inspect.isfunction):
      public = (
        not name.startswith('_') and function.__module__ == module.__name__
      )
      if public and not inspect.signature(function).parameters:
        yield f'{module.__name__}:{name}', function()


def leaves(value, path=()):
  """Each value inside a config, under its path, as on a command line."""
  if dataclasses.is_dataclass(value):
    for field in dataclasses.fields(value):
      yield from leaves(getattr(value, field.name), (*path, field.name))
  elif isinstance(value, tuple):
    for i, item in enumerate(value):
      yield from leaves(item, (*path, str(i)))
  else:
    plain = value is None or isinstance(value, bool)
    yield '.'.join(path), str(value).lower() if plain else str(value)


def test_every_config_of_the_house_can_be_written_and_read():
  found = dict(house())
  assert found
  for name, written in found.items():
    data = json.loads(json.dumps(to_dict(written)))
    assert from_dict(type(written), data) == written, name
    assert replace(written, dict(leaves(written))) == written, name
    assert isinstance(hash(written), int)


# Fingerprints.


def test_each_change_that_matters_changes_the_fingerprint():
  prints = {config.fingerprint(replace(TRAIN, c)) for c in CHANGED}
  assert len(prints) == len(CHANGED)
  assert all(len(p) == 12 and int(p, 16) >= 0 for p in prints)


def test_parts_alike_in_all_but_class_differ():
  masked = replace(TRAIN, {'objectives': 'Masked'})
  assert config.fingerprint(masked) != config.fingerprint(TRAIN)


def test_what_is_left_out_does_not_matter():
  assert config.fingerprint(TRAIN) == config.fingerprint(change(log_every=3))
  assert to_dict(TRAIN)['log_every'] == 10


def test_equal_configs_have_equal_fingerprints():
  whole = Train(learning_rate=1)
  assert whole == Train(learning_rate=1.0)
  assert config.fingerprint(whole) == config.fingerprint(
    Train(learning_rate=1.0)
  )


def test_a_fingerprint_is_that_of_the_canonical_json():
  text = '{"eps":1e-05,"type":"RMSNorm"}'
  expected = hashlib.sha256(text.encode()).hexdigest()[:12]
  assert config.fingerprint(RMSNorm()) == expected


# The command line.

CONFIGS = """
  import dataclasses
  from research import config

  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Small:
    n: int = 1
    fail: str = ''

  def small(): return Small(n=2)
  def three(): return 3
  def sized(n): return Small(n=n)
  def refuse(): raise config.BadInput('no such size')
  def bug(): raise AttributeError('a bug')
"""

PROGRAM = """
  import errno, time
  from absl import flags
  from research import command, config

  MODE = flags.DEFINE_enum('mode', 'run', ['plan', 'run'], 'What to do.')
  WORKDIR = flags.DEFINE_string('workdir', None, 'Where.')

  def main(cfg):
    if cfg.fail == 'input': raise config.BadInput('n: one\\n  line')
    if cfg.fail == 'disk': raise OSError(errno.ENOSPC, 'No space left', 'f')
    if cfg.fail == 'bug': raise ValueError('a bug')
    if cfg.fail == 'wait':
      print('waiting', flush=True)
      time.sleep(60)
    print(cfg, MODE.value, WORKDIR.value)

  if __name__ == '__main__':
    command.run(main, default='values:small')
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('program')
  (folder / 'values.py').write_text(textwrap.dedent(CONFIGS))
  (folder / 'program.py').write_text(textwrap.dedent(PROGRAM))
  (folder / 'broken.py').write_text('import nowhere_to_be_found\n')
  return folder


def start(folder, *arguments, program='program', stdin=None):
  return subprocess.Popen(
    [sys.executable, '-m', program, *arguments],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    stdin=stdin,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def outcome(folder, *arguments, program='program'):
  process = start(folder, *arguments, program=program)
  out, err = process.communicate(timeout=60)
  return process.returncode, out, err


def test_flags_reach_main_beside_the_config(folder):
  arguments = ('--config=values:small', '--mode=plan', '--workdir', 'x')
  status, out, err = outcome(folder, *arguments, '--config.n=1e3')
  assert (status, err) == (0, '')
  assert out == "Small(n=1000, fail='') plan x\n"


def test_the_default_is_read_without_config(folder):
  assert outcome(folder)[1].startswith('Small(n=2,')


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--worksdir=x'], "unknown flag --worksdir; did you mean 'workdir'?"),
    (['--confg.n=3'], "unknown flag --confg.n; did you mean 'config'?"),
    (['--mode=pan'], 'flag --mode=pan: value should be one of <plan|run>'),
    (['--config.n', '3'], '--config.n has no value: write --config.n=VALUE'),
    (['--config.n=x'], "n='x': must be a whole number"),
    (['--config.m=3'], "m: Small has no field 'm'; there are: n, fail"),
    (['stray'], "'stray' is no flag: write --NAME=VALUE"),
    (['--config=small'], '--config=small: give MODULE:FUNCTION'),
    (['--config=../x:small'], '--config=../x:small: give MODULE:FUNCTION'),
    (
      ['--config=nowhere:small'],
      "--config=nowhere:small: No module named 'nowhere'",
    ),
    (
      ['--config=research.confg:small'],
      "--config=research.confg:small: No module named 'research.confg';"
      " did you mean 'research.config'?",
    ),
    (
      ['--config=values.small:small'],
      "--config=values.small:small: No module named 'values.small';"
      " 'values' is not a package",
    ),
    (
      ['--config=broken:small'],
      "--config=broken:small: No module named 'nowhere_to_be_found'",
    ),
    (
      ['--config=values:smal'],
      "--config=values:smal: no function 'smal'; did you mean 'small'?",
    ),
    (
      ['--config=values:sized'],
      '--config=values:sized: sized is no config: missing a required'
      " argument: 'n'",
    ),
    (
      ['--config=values:three'],
      '--config=values:three returns 3, which is no config',
    ),
    (['--config=values:refuse'], 'no such size'),
    (['--config.fail=input'], 'n: one line'),
    (
      ['--config.fail=disk'],
      "[Errno 28] No space left: 'f';"
      ' make room, then give the same command again',
    ),
  ],
)
def test_what_a_user_can_mend_is_one_line(folder, arguments, message):
  assert outcome(folder, *arguments) == (2, '', f'error: {message}\n')


def test_a_flag_that_is_needed_is_asked_for(folder):
  needy = textwrap.dedent(PROGRAM).replace(
    "'Where.'", "'Where.', required=True"
  )
  (folder / 'needy.py').write_text(needy)
  message = 'error: --workdir is needed: write --workdir=VALUE\n'
  assert outcome(folder, program='needy') == (2, '', message)


@pytest.mark.parametrize('argument', ['.fail=bug', '=values:bug'])
def test_a_bug_keeps_its_traceback(folder, argument):
  status, _, err = outcome(folder, f'--config{argument}')
  assert status == 1
  assert err.startswith('Traceback') and 'a bug' in err


def test_an_interrupt_ends_with_one_line(folder):
  process = start(folder, '--config.fail=wait')
  assert process.stdout.readline() == 'waiting\n'
  process.send_signal(signal.SIGINT)
  assert process.communicate(timeout=60)[1] == 'error: interrupted\n'
  assert process.returncode == 130


@pytest.mark.parametrize('n', [1, 10**6])  # Kept back, or written by print.
def test_it_ends_quietly_when_nobody_reads_on(folder, n):
  (folder / 'speaker.py').write_text(
    'from research import command\n'
    f"command.without_config(lambda: (input(), print('long' * {n})))\n"
  )
  process = start(folder, program='speaker', stdin=subprocess.PIPE)
  process.stdout.close()
  _, err = process.communicate('\n', timeout=60)
  assert (process.returncode, err) == (141, '')


def test_a_command_without_a_config_ends_as_one_with_does(folder):
  bare = textwrap.dedent(PROGRAM).replace(
    "command.run(main, default='values:small')",
    "command.without_config(lambda: main(config.load('values:' + MODE.value)))",
  )
  (folder / 'bare.py').write_text(bare)
  message = "error: --config=values:plan: no function 'plan'; "
  status, out, err = outcome(folder, '--mode=plan', program='bare')
  assert (status, out) == (2, '') and err.startswith(message)
  status, _, err = outcome(folder, '--config.fail=wait', program='bare')
  assert (status, err) == (
    2,
    "error: unknown flag --config.fail; did you mean 'config'?\n",
  )
