"""Every layout makes the same step, and runs share one program."""

import functools
import itertools
import math

from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import optax
import pytest

from research.objectives.language import cross_entropy
from research.sharding import Parallelism
from research.train import step
from research.train.optimizers import Adafactor, AdamW, Lion, Muon
from research.train.schedules import Constant, Cosine

V, D, F, H, L, B, T = 16, 8, 32, 4, 2, 16, 6


class Toy(nnx.Module):
  """An embedding, stacked residual MLPs with a bias and heads, a tied head."""

  def __init__(self, rngs):
    def weight(shape, axes):  # compiles sooner than normal numbers
      i = jnp.arange(math.prod(shape), dtype=jnp.float32)
      value = jnp.sin(i**2 + jax.random.uniform(rngs.params()))
      return nnx.Param(value.reshape(shape) * shape[-1] ** -0.5, axes=axes)

    self.embedding = weight((V, D), ('vocab', 'embed'))
    self.q = weight((L, D, H, 4), ('layers', 'embed', 'heads', 'head'))
    self.o = weight((L, H, 4, D), ('layers', 'heads', 'head', 'embed'))
    self.wi = weight((L, D, F), ('layers', 'embed', 'mlp'))
    self.wo = weight((L, F, D), ('layers', 'mlp', 'embed'))
    self.bias = nnx.Param(
      jnp.zeros((L, H, 4)), axes=('layers', 'heads', 'head')
    )
    self.scale = nnx.Param(jnp.ones(D), axes=('embed',))

  def __call__(self, batch, key=None):
    x = self.embedding[batch['tokens']]
    for i in range(L):
      h = jnp.einsum('btd,dnh->btnh', x, self.q[i]) + self.bias[i]
      x = x + jnp.einsum('btnh,nhd->btd', jnp.tanh(h), self.o[i])
      x = x + jax.nn.relu(x @ self.wi[i]) @ self.wo[i]
    return (x * self.scale) @ self.embedding.T


class Table(nnx.Module):
  """Logits looked up by token: compiles in no time."""

  def __init__(self, rngs):
    table = jax.random.uniform(rngs.params(), (V, V))
    self.table = nnx.Param(table, axes=('vocab', 'embed'))
    self.scale = nnx.Param(jnp.ones(V), axes=('embed',))

  def __call__(self, batch, key=None):
    return (self.table * self.scale)[jnp.asarray(batch['tokens'])]


def toy(key):
  return Toy(nnx.Rngs(key))


def table(key):
  return Table(nnx.Rngs(key))


ONE = Parallelism()
ADAMW = AdamW()
HYPER = step.Hyper(0.02, 3, 10)


def program(build=table, layout=ONE, optimizer=ADAMW, **how):
  how = {'objective': cross_entropy, 'schedule': Cosine(), **how}
  return step.Program(build, layout, optimizer=optimizer.build(), **how)


def batches(n, seed=0):
  rng = np.random.default_rng(seed)
  for _ in range(n):
    tokens = rng.integers(0, V, (B, T), np.int32)
    weights = rng.random((B, T), np.float32) * (rng.random((B, T)) < 0.5)
    weights[: B // 4] = 0  # a device with nothing to learn from
    yield {
      'tokens': tokens,
      'targets': (tokens * 3 + 1) % V,
      'weights': weights.astype(np.float32),
    }


LION, ADAFACTOR, MUON = Lion(), Adafactor(min_size=4), Muon()
LAYOUTS = {
  'data': Parallelism(data=8),
  'fsdp': Parallelism(data=2, fsdp=4),
  'fsdp_tensor': Parallelism(data=2, fsdp=2, tensor=2),
  'pmap': Parallelism(compile='pmap', data=8),
}


@functools.cache
def found(layout, optimizer=ADAMW, accumulation=1):
  """Ten losses and the last state; kept, since programs compile slowly."""
  layout = LAYOUTS.get(layout, ONE)
  p = program(toy, layout, optimizer, clip=1.0, accumulation=accumulation)
  state, losses = p.begin(0), []
  for batch in batches(10):
    state, metrics = p.step(state, batch, HYPER)
    losses.append(float(metrics['loss']))
  return np.array(losses), p.state(state)


QUICK = [
  ('one', ADAMW, 2),
  ('data', ADAMW, 1),
  ('fsdp', ADAMW, 2),
  ('fsdp_tensor', ADAMW, 1),
  ('fsdp_tensor', ADAMW, 2),
  ('fsdp_tensor', ADAFACTOR, 1),
  ('fsdp_tensor', MUON, 2),
  ('pmap', ADAMW, 1),
  ('pmap', ADAMW, 2),
]
EVERY = itertools.product(LAYOUTS, (ADAMW, LION, ADAFACTOR, MUON), (1, 2))
LONG = [
  pytest.param(*case, marks=pytest.mark.slow)
  for case in EVERY
  if case not in QUICK
]


@pytest.mark.parametrize(
  'layout, optimizer, accumulation',
  QUICK + LONG,
  ids=lambda x: x if isinstance(x, str | int) else type(x).__name__,
)
def test_every_layout_has_the_losses_of_one_device(
  layout, optimizer, accumulation
):
  wide, _ = found(layout, optimizer, accumulation)
  one, _ = found('one', optimizer)
  np.testing.assert_allclose(wide, one, rtol=1e-5)
  assert one[-1] < one[0] - 0.1


@pytest.mark.parametrize('optimizer', [ADAMW, ADAFACTOR, MUON], ids=repr)
def test_parameters_and_their_moments_are_split_by_the_rules(optimizer):
  _, state = found('fsdp_tensor', optimizer, 2 if optimizer == MUON else 1)
  expected = {
    'embedding': P('tensor', 'fsdp'),
    'q': P(None, 'fsdp', 'tensor'),
    'o': P(None, 'tensor', None, 'fsdp'),
    'wi': P(None, 'fsdp', 'tensor'),
    'wo': P(None, 'tensor', 'fsdp'),
    'bias': P(None, 'tensor'),
    'scale': P('fsdp'),
  }
  shapes = {name: state.trained[name][...].shape for name in expected}
  for name, spec in expected.items():
    assert state.trained[name][...].sharding.spec == spec
  moments = [
    (name, x)
    for path, x in jax.tree_util.tree_leaves_with_path(state.opt_state)
    for name in expected
    if f"['{name}']" in jax.tree_util.keystr(path)
  ]
  like = [(name, x) for name, x in moments if x.shape == shapes[name]]
  unfactored = {'scale'} if optimizer == ADAFACTOR else set(expected)
  assert {name for name, _ in like} >= unfactored
  for name, x in like:
    assert x.sharding.spec == expected[name]
    assert x.addressable_shards[0].data.size < x.size
  for _, x in moments:
    if x.shape not in shapes.values():
      assert x.sharding.is_fully_replicated


def test_the_gradient_is_that_of_all_losses_over_all_weights():
  """Means of unequal microbatches, averaged, would be another number."""
  model, batch = table(jax.random.key(0)), next(batches(1))

  @jax.jit
  def mean(model):
    sums = cross_entropy(model, batch)
    return sums.loss / sums.weight

  norm, loss = optax.tree.norm(jax.jit(jax.grad(mean))(model)), mean(model)
  for accumulation in 1, 4:
    p = program(accumulation=accumulation)
    copy = jax.tree.map(jnp.copy, model)
    state = p.leaves(step.init(copy, ADAMW.build(), jax.random.key(1)))
    _, metrics = p.step(state, batch, HYPER)
    np.testing.assert_allclose(metrics['grad_norm'], norm, rtol=1e-5)
    np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-5)


@pytest.mark.parametrize('name', ['one', 'fsdp', 'pmap'])
def test_a_blank_state_steps_as_the_first_does(name, compilations):
  """It has the first state's places; at most copies for pmap are compiled."""
  made = program(layout={**LAYOUTS, 'one': ONE}[name])
  (batch,) = batches(1)
  leaves, _ = made.step(made.begin(0), batch, HYPER)
  before = len(compilations)
  blank = made.blank()
  assert not any(
    np.any(np.asarray(x))
    for x in blank
    if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  )
  for ours, theirs in zip(blank, leaves, strict=True):
    assert ours.sharding.is_equivalent_to(theirs.sharding, ours.ndim)
  _, metrics = made.step(blank, batch, HYPER)
  assert len(compilations) - before == (name == 'pmap')
  assert np.isfinite(metrics['loss'])


def test_horizon_warmup_and_rate_share_one_program(compilations):
  p = program(optimizer=AdamW(weight_decay=0.0))
  state = p.begin(0)
  state, _ = p.step(state, next(batches(1)), step.Hyper(0.1, 3, 10))
  before = len(compilations)
  found = []
  for hyper in step.Hyper(0.2, 3, 10), step.Hyper(0.2, 10, 1000):
    state = p.begin(1)
    state, metrics = p.step(state, next(batches(1)), hyper)
    found.append(float(metrics['learning_rate']))
  assert len(compilations) == before
  np.testing.assert_allclose(found, [0.2 / 3, 0.2 / 10], rtol=1e-6)


def test_clipping_limits_the_norm_that_the_optimizer_sees():
  moved = {}
  for clip in None, 0.01:
    p = program(optimizer=_Plain(), clip=clip, schedule=Constant())
    before = p.state(p.begin(0)).trained
    before = jax.tree.map(np.array, before)
    state, metrics = p.step(p.begin(0), next(batches(1)), step.Hyper(1.0, 0, 1))
    after = p.state(state).trained
    move = optax.tree.norm(jax.tree.map(jnp.subtract, after, before))
    moved[clip] = float(move), float(metrics['grad_norm'])
  assert moved[None][0] == pytest.approx(moved[None][1], rel=1e-5)
  assert moved[0.01][0] == pytest.approx(0.01, rel=1e-4)
  assert moved[0.01][1] == pytest.approx(moved[None][1], rel=1e-6)


def test_a_batch_without_weight_moves_nothing_but_decay():
  batch = next(batches(1))
  batch['weights'] *= 0
  p = program(optimizer=_Plain())
  before = jax.tree.map(np.array, p.state(p.begin(0)).trained)
  state, metrics = p.step(p.begin(0), batch, HYPER)
  assert float(metrics['loss']) == 0
  jax.tree.map(np.testing.assert_array_equal, before, p.state(state).trained)


def test_only_the_chosen_parameters_move():
  p = program(trained=lambda path, _: 'scale' in path)
  before = p.state(p.begin(0))
  before = jax.tree.map(np.array, (before.trained, before.frozen))
  state, _ = p.step(p.begin(0), next(batches(1)), HYPER)
  state = p.state(state)
  jax.tree.map(np.testing.assert_array_equal, before[1], state.frozen)
  assert set(state.trained) == {'scale'}
  assert all(
    (np.asarray(a) != b).any()
    for a, b in zip(
      jax.tree.leaves(state.trained), jax.tree.leaves(before[0]), strict=True
    )
  )


def test_every_step_and_microbatch_has_its_own_randomness():
  keys = []

  def objective(model, batch, key):
    bits = jax.random.uniform(key)
    sums = cross_entropy(model, batch)
    return sums.loss, sums.weight, {'bits': bits * sums.weight}

  p = program(objective=objective)
  state = p.begin(0)
  for batch in batches(2):
    state, metrics = p.step(state, batch, HYPER)
    keys.append(float(metrics['bits']))
  assert keys[0] != keys[1]
  p = program(objective=objective, accumulation=2)
  _, metrics = p.step(p.begin(0), next(batches(1)), HYPER)
  assert float(metrics['bits']) not in keys


class _Plain:
  """Gradient descent."""

  def build(self):
    return optax.scale(-1.0)


@pytest.fixture
def compilations():
  found = []

  def listen(name, seconds, **_):
    if name.endswith('backend_compile_duration'):
      found.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield found
  jax.monitoring.unregister_event_duration_listener(listen)
