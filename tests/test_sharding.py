"""Names become places: one function for models and optimizer states."""

import re

from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from research import sharding
from research.config import BadInput
from research.sharding import FSDP, FSDP_AND_TENSOR, Parallelism


def specs(tree, params, mesh, rules=FSDP_AND_TENSOR):
  """The spec of every array, by its path without brackets."""
  places = sharding.shardings(tree, params, mesh, rules)
  return {
    re.sub(r'\W+', ' ', jax.tree_util.keystr(path)).strip(): x.spec
    for path, x in jax.tree_util.tree_leaves_with_path(places)
  }


def model(**arrays):
  return nnx.State(
    {
      name: nnx.Param(jnp.zeros(shape), axes=axes)
      for name, (axes, shape) in arrays.items()
    }
  )


@pytest.fixture
def mesh():
  return sharding.mesh(Parallelism(data=2, fsdp=2, tensor=2))


def test_the_mesh_has_the_asked_sizes_and_auto_axes(mesh):
  assert dict(mesh.shape) == {'data': 2, 'fsdp': 2, 'tensor': 2}
  assert set(mesh.axis_types) == {AxisType.Auto}
  assert sharding.mesh(Parallelism(data=None, tensor=2)).shape['data'] == 4
  assert sharding.mesh(Parallelism()).size == 1


def test_more_devices_than_there_are_is_bad_input():
  with pytest.raises(BadInput, match='16 devices, there are 8'):
    sharding.mesh(Parallelism(data=4, fsdp=4))


def test_layouts_that_cannot_be_are_bad_input():
  with pytest.raises(BadInput, match='fsdp=0'):
    Parallelism(fsdp=0)
  with pytest.raises(BadInput, match='pmap'):
    Parallelism(compile='pmap', tensor=2)
  with pytest.raises(BadInput, match="'tensors'"):
    Parallelism(rules=(('mlp', 'tensors'),))


def test_rules_split_dimensions_by_name(mesh):
  params = model(
    w=(('layers', 'embed', 'mlp'), (3, 4, 6)), scale=(('embed',), (4,))
  )
  found = specs(params, params, mesh)
  assert found['w value'] == P(None, 'fsdp', 'tensor')
  assert found['scale value'] == P('fsdp')
  assert specs(params, params, mesh, FSDP)['w value'] == P(None, 'fsdp')
  assert specs(params, params, mesh, ())['w value'] == P()


def test_a_dimension_that_does_not_divide_stays_whole(mesh):
  params = model(
    k=(('embed', 'kv_heads', 'head'), (4, 1, 4)),
    head=(('vocab', 'embed'), (11, 4)),
  )
  found = specs(params, params, mesh)
  assert found['k value'] == P('fsdp')
  assert found['head value'] == P(None, 'fsdp')


def test_a_mesh_axis_splits_one_dimension_of_an_array(mesh):
  params = model(dense=(('embed', 'embed'), (4, 4)))
  assert specs(params, params, mesh)['dense value'] == P('fsdp')


def test_moments_follow_their_parameter_by_path_and_shape(mesh):
  params = model(w=(('embed', 'mlp'), (4, 6)), v=(('mlp', 'embed'), (6, 4)))
  state = optax.adamw(1.0).init(params)
  found = specs(state, params, mesh)
  assert found['0 mu w value'] == found['0 nu w value'] == P('fsdp', 'tensor')
  assert found['0 mu v value'] == P('tensor', 'fsdp')
  assert found['0 count'] == P()


def test_states_of_another_shape_are_replicated(mesh):
  params = model(w=(('embed', 'mlp'), (4, 6)), scale=(('embed',), (4,)))
  transform = optax.adafactor(1.0, min_dim_size_to_factor=2)
  state = transform.init(params)
  found = specs(state, params, mesh)
  assert found['0 v_row w value'] == found['0 v_col w value'] == P()
  assert found['0 v w value'] == P()
  assert found['0 v scale value'] == P('fsdp')


def test_replicated_arrays_are_on_every_device_and_come_back(mesh):
  tree = {'a': jnp.arange(3.0), 'key': jax.random.key(1)}
  spread = sharding.replicate(tree, mesh)
  assert spread['a'].shape == (8, 3)
  assert {s.data.shape for s in spread['a'].addressable_shards} == {(1, 3)}
  back = sharding.unreplicate(spread)
  np.testing.assert_array_equal(back['a'], tree['a'])
  assert (
    jax.random.key_data(back['key']) == jax.random.key_data(tree['key'])
  ).all()


def test_a_batch_is_split_over_data_and_fsdp(mesh):
  assert sharding.batch_parts(mesh) == 4
  assert sharding.batch_spec() == P(('data', 'fsdp'))
  assert sharding.batch_spec(1) == P(None, ('data', 'fsdp'))
