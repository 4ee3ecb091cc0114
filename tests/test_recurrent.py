"""The LSTM equals its equations, reads left to right and resets at segments."""

import dataclasses

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import BadInput
from research.models import flops, recurrent
from research.models.recurrent import Recurrent
from research.models.recurrent_config import RecurrentConfig
from research.objectives.language import cross_entropy

CONFIG = RecurrentConfig(vocab_size=11, seq_len=9, d_model=6, n_layers=2)

forward = jax.jit(lambda model, batch: model(batch))


def batch_of(tokens, segments=None) -> dict[str, np.ndarray]:
  tokens = np.asarray(tokens, np.int32)
  if segments is None:
    segments = np.ones_like(tokens)
  return {'tokens': tokens, 'segments': np.asarray(segments, np.int32)}


def random_tokens(shape, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, CONFIG.vocab_size, shape)


def numpy_lstm(model, tokens) -> np.ndarray:
  """Logits [t, v] of one sequence, one step and one layer at a time."""

  def sigmoid(x):
    return 1 / (1 + np.exp(-x))

  embedding = np.asarray(model.embedding[...], np.float64)
  layers = [np.asarray(p[...], np.float64) for p in (
    model.layers.wi, model.layers.wh, model.layers.bias)]  # fmt: skip
  d, n_layers = embedding.shape[1], len(layers[0])
  head = embedding
  if not model.cfg.tied_head:
    head = np.asarray(model.head[...], np.float64)
  h, c = np.zeros((2, n_layers, d))
  logits = []
  for token in tokens:
    x = embedding[token]
    for n, (wi, wh, bias) in enumerate(zip(*layers, strict=True)):
      i, f, g, o = np.split(x @ wi + h[n] @ wh + bias, 4)
      c[n] = sigmoid(f) * c[n] + sigmoid(i) * np.tanh(g)
      h[n] = x = sigmoid(o) * np.tanh(c[n])
    logits.append(head @ x)
  return np.array(logits)


@pytest.mark.parametrize('tied_head', [True, False])
def test_equals_a_step_by_step_lstm(tied_head):
  cfg = dataclasses.replace(CONFIG, tied_head=tied_head)
  model = Recurrent(cfg, nnx.Rngs(0))
  tokens = random_tokens((3, 9))
  expected = [numpy_lstm(model, row) for row in tokens]
  np.testing.assert_allclose(
    forward(model, batch_of(tokens)), expected, atol=2e-6
  )


def test_the_gradient_is_that_of_the_plain_scan():
  def plain(gates, wh, keep):
    def step(carry, inputs):
      gates, kept = inputs
      h, c = (state * kept[:, None] for state in carry)
      i, f, g, o = jnp.split(gates + h @ wh, 4, axis=-1)
      c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
      h = jax.nn.sigmoid(o) * jnp.tanh(c)
      return (h, c), h

    zero = jnp.zeros((gates.shape[1], wh.shape[0]))
    return jax.lax.scan(step, (zero, zero), (gates, keep))[1]

  rng = np.random.default_rng(0)
  gates = jnp.asarray(rng.normal(size=(7, 3, 20)), jnp.float32)
  wh = jnp.asarray(rng.normal(size=(5, 20)), jnp.float32)
  keep = jnp.asarray(rng.random((7, 3)) < 0.8).at[0].set(False)
  probe = jnp.asarray(rng.normal(size=(7, 3, 5)), jnp.float32)

  def grads(f):
    def loss(gates, wh):
      return jnp.sum(f(gates, wh, keep) * probe)

    return jax.grad(loss, argnums=(0, 1))(gates, wh)

  for ours, theirs in zip(grads(recurrent.recur), grads(plain), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_future_tokens_do_not_change_the_past():
  model = Recurrent(CONFIG, nnx.Rngs(0))
  tokens = random_tokens((2, 9))
  changed = tokens.copy()
  changed[0, 5] = (changed[0, 5] + 1) % CONFIG.vocab_size
  before = forward(model, batch_of(tokens))
  after = forward(model, batch_of(changed))
  np.testing.assert_array_equal(before[:, :5], after[:, :5])
  assert (before[0, 5:] != after[0, 5:]).any(axis=-1).all()


def test_a_segment_is_read_as_if_it_stood_alone():
  model = Recurrent(CONFIG, nnx.Rngs(0))
  tokens = random_tokens((1, 9))
  segments = [[1, 1, 1, 2, 2, 2, 2, 0, 0]]
  packed = forward(model, batch_of(tokens, segments))
  for part in (slice(0, 3), slice(3, 7)):
    alone = forward(model, batch_of(tokens[:, part]))
    np.testing.assert_allclose(packed[:, part], alone, atol=1e-6)


@pytest.mark.parametrize('tied_head', [True, False])
@pytest.mark.parametrize('n_layers', [1, 3])
def test_parameters_counted_are_those_built(tied_head, n_layers):
  cfg = dataclasses.replace(CONFIG, tied_head=tied_head, n_layers=n_layers)
  model = Recurrent(cfg, nnx.Rngs(0))
  built = sum(x.size for x in jax.tree.leaves(model))
  assert built == cfg.n_params
  tables = model.embedding.size * (1 if tied_head else 2)
  assert built - tables == cfg.n_params_non_embedding


@pytest.mark.parametrize('tied_head', [True, False])
@pytest.mark.parametrize('n_layers', [1, 3])
def test_flops_counted_are_those_of_the_traced_program(tied_head, n_layers):
  cfg = dataclasses.replace(CONFIG, tied_head=tied_head, n_layers=n_layers)
  model = Recurrent(cfg, nnx.Rngs(0))
  tokens = random_tokens((4, 9))
  batch = batch_of(tokens) | {
    'targets': tokens.astype(np.int32),
    'weights': np.ones((4, 9), np.float32),
  }

  def loss(model):
    return cross_entropy(model, batch).loss

  assert flops.count(forward, model, batch) == 4 * cfg.forward_flops(9)
  assert flops.count(jax.grad(loss), model) == 4 * cfg.train_flops(9)
  assert cfg.train_flops(9) == cfg.executed_flops(9)


def test_every_parameter_names_its_dimensions():
  model = Recurrent(dataclasses.replace(CONFIG, tied_head=False), nnx.Rngs(0))
  variables = jax.tree.leaves(
    model, is_leaf=lambda x: isinstance(x, nnx.Variable)
  )
  assert len(variables) == 5
  assert all(len(v.axes) == v.ndim for v in variables)


def test_bfloat16_stays_near_float32():
  model = Recurrent(CONFIG, nnx.Rngs(0))
  half = Recurrent(dataclasses.replace(CONFIG, dtype='bfloat16'), nnx.Rngs(0))
  tokens = batch_of(random_tokens((3, 9)))
  assert forward(half, tokens).dtype == jnp.float32
  np.testing.assert_allclose(
    forward(half, tokens), forward(model, tokens), atol=0.05
  )


def test_impossible_sizes_are_refused_in_one_line():
  with pytest.raises(BadInput, match='n_layers=0 must be at least 1'):
    RecurrentConfig(n_layers=0)
  with pytest.raises(BadInput, match='target_len=4'):
    CONFIG.forward_flops(8, 4)
