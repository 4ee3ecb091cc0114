"""Checkpoints give back every bit, on any mesh, or say that they cannot."""

import json
import logging
import math

from etils import epath
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import BadInput
from research.objectives.language import cross_entropy
from research.sharding import Parallelism
from research.train import step
from research.train.checkpoints import Checkpoints, Folder
from research.train.optimizers import AdamW
from research.train.schedules import Constant

V, D = 16, 8


class Model(nnx.Module):
  def __init__(self, rngs, width=D):
    def weight(shape, axes):
      value = jax.random.uniform(rngs.params(), shape)
      return nnx.Param(value, axes=axes)

    self.embedding = weight((V, width), ('vocab', 'embed'))
    self.wi = weight((2, width, 4), ('layers', 'embed', 'mlp'))

  def __call__(self, batch, key=None):
    return self.embedding[...][batch['tokens']] @ self.embedding[...].T


def program(width=D, **layout):
  return step.Program(
    lambda key: Model(nnx.Rngs(key), width),
    Parallelism(**layout),
    optimizer=AdamW().build(),
    objective=cross_entropy,
    schedule=Constant(),
  )


@pytest.fixture(scope='module')
def one():
  return program()


@pytest.fixture
def state(one):
  return one.state(one.begin(7))


def folder(path, n_steps=100, **cfg):
  return Folder(epath.Path(path), Checkpoints(**cfg), n_steps)


def save(path, state, *steps, **cfg):
  checkpoints = folder(path, **cfg)
  for number in steps:
    checkpoints.save(number, state, {'data_hash': f'hash {number}'})
  checkpoints.wait()
  checkpoints.close()


def bits(state):
  return [
    np.asarray(jax.random.key_data(x) if x.dtype == state.key.dtype else x)
    for x in jax.tree.leaves(state)
  ]


def assert_same(a, b):
  for x, y in zip(bits(a), bits(b), strict=True):
    np.testing.assert_array_equal(x, y)


def test_what_is_restored_is_what_was_saved(tmp_path, one, state):
  save(tmp_path, state, 3)
  found, about = folder(tmp_path).restore(one.abstract)
  assert_same(found, state)
  assert about == {'step': 3, 'data_hash': 'hash 3'}
  assert jax.tree.structure(found) == jax.tree.structure(state)


def test_a_relative_folder_is_as_good(tmp_path, monkeypatch, one, state):
  monkeypatch.chdir(tmp_path)
  save('runs/one', state, 3)
  restored = folder('runs/one').restore(one.abstract)
  assert restored is not None
  assert_same(restored[0], state)


def test_nothing_is_restored_from_nothing(tmp_path, one):
  assert folder(tmp_path / 'absent').restore(one.abstract) is None


@pytest.mark.parametrize(
  'layout',
  [
    {'data': 2, 'fsdp': 2, 'tensor': 2},
    {'fsdp': 8},
    {'compile': 'pmap', 'data': 8},
  ],
  ids=['fsdp_tensor', 'fsdp', 'pmap'],
)
def test_a_checkpoint_goes_from_one_mesh_to_another(
  tmp_path, one, state, layout
):
  wide = program(**layout)
  save(tmp_path / 'a', state, 1)
  found, _ = folder(tmp_path / 'a').restore(wide.abstract)
  assert_same(found, state)
  back = wide.state(wide.leaves(found))
  save(tmp_path / 'b', back, 1)
  again, _ = folder(tmp_path / 'b').restore(one.abstract)
  assert_same(again, state)
  places = jax.tree.map(lambda x: x.sharding, found.trained)
  assert places == jax.tree.map(lambda x: x.sharding, wide.abstract.trained)


def truncate(file):
  file.write_bytes(file.read_bytes()[: file.stat().length // 2])


def flip(file):
  data = bytearray(file.read_bytes())
  data[len(data) // 2] ^= 1
  file.write_bytes(bytes(data))


def remove(file):
  file.unlink()


def files(path):
  for inner in path.iterdir():
    yield from files(inner) if inner.is_dir() else (inner,)


@pytest.mark.parametrize('harm', [truncate, flip, remove])
@pytest.mark.parametrize('which', ['arrays', 'about', 'seal'])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
  tmp_path, one, state, harm, which, caplog, capfd
):
  save(tmp_path, state, 10)
  save(tmp_path, jax.tree.map(jnp.copy, state), 20)
  newest = epath.Path(tmp_path) / '20'
  victim = {
    'arrays': max(files(newest), key=lambda file: file.stat().length),
    'about': newest / 'about' / 'metadata',
    'seal': newest / 'seal.json',
  }[which]
  harm(victim)
  checkpoints = folder(tmp_path)
  found, about = checkpoints.restore(one.abstract)
  assert about['step'] == 10
  assert_same(found, state)
  warned = [r for r in caplog.records if r.levelno >= logging.WARNING]
  unfinished = which == 'seal' and harm is remove
  assert len(warned) == (not unfinished)
  for record in warned:
    assert 'going on from step 10' in record.getMessage()
  assert capfd.readouterr().err == ''
  checkpoints.save(20, state, {})  # The name is free again.
  checkpoints.wait()
  checkpoints.close()
  assert folder(tmp_path).steps() == [10, 20]


def test_where_all_are_damaged_training_begins_anew(
  tmp_path, one, state, caplog
):
  save(tmp_path, state, 10)
  flip(epath.Path(tmp_path) / '10' / 'seal.json')
  assert folder(tmp_path).restore(one.abstract) is None
  assert 'going on from the beginning' in caplog.text


def test_another_shape_is_bad_input(tmp_path, state):
  save(tmp_path, state, 1)
  wider = program(width=16)
  with pytest.raises(BadInput) as error:
    folder(tmp_path).restore(wider.abstract)
  text = str(error.value)
  assert '[16, 8] there, [16, 16] by the config' in text
  assert '\n' not in text
  assert folder(tmp_path).steps() == [1]


def test_a_step_that_is_not_there_is_bad_input(tmp_path, one, state):
  save(tmp_path, state, 1)
  with pytest.raises(BadInput, match='no whole checkpoint of step 2'):
    folder(tmp_path).restore(one.abstract, 2)


def test_the_newest_and_the_lasting_are_kept(tmp_path, state):
  cfg = {'keep': 2, 'at': (2,), 'every': 1}
  save(tmp_path, state, *range(1, 7), n_steps=6, **cfg)
  assert folder(tmp_path).steps() == [2, 5, 6]


def test_steps_to_save_at():
  assert Checkpoints(every=None).steps(50) == {50}
  assert Checkpoints(every=20).steps(50) == {20, 40, 50}
  assert Checkpoints(every=None, at=(3, 70)).steps(50) == {3, 50}
  grid = Checkpoints(every=None, log_grid=3).steps(1000)
  assert grid == {1, 2, 5, 10, 22, 46, 100, 215, 464, 1000}
  for n in 1, 2, 999, 1001:
    steps = sorted(Checkpoints(every=None, log_grid=2).steps(n))
    assert steps[-1] == n and steps[0] >= 1
  with pytest.raises(BadInput, match='keep=0'):
    Checkpoints(keep=0)


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path):
  """Donated buffers are used again before Orbax has written them."""
  add = jax.jit(lambda xs: [x + 1 for x in xs], donate_argnums=0)
  xs = [jnp.zeros((256, 256)) for _ in range(4)]
  abstract = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in xs]
  checkpoints = folder(tmp_path, keep=9)
  for number in range(1, 41):
    xs = add(xs)
    if number % 10 == 0:
      checkpoints.save(number, xs, {})
  checkpoints.wait()
  for number in checkpoints.steps():
    found, _ = checkpoints.restore(abstract, number)
    assert all((np.asarray(x) == number).all() for x in found)
  checkpoints.close()


def test_the_seal_covers_every_file_that_is_read(tmp_path, state):
  save(tmp_path, state, 1)
  path = epath.Path(tmp_path) / '1'
  sealed = json.loads((path / 'seal.json').read_text())
  inside = {
    str(file.relative_to(path))
    for item in ('state', 'about')
    for file in files(path / item)
  }
  assert set(sealed) == inside
  assert math.prod(size for size, _ in sealed.values()) > 0
