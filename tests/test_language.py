"""The hand-written cross entropy is optax's, gradient and all."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.objectives.language import (
  cross_entropy,
  softmax_cross_entropy,
  token_nll,
)

B, T, V = 3, 4, 7


@pytest.fixture
def batch():
  rng = np.random.default_rng(0)
  return {
    'logits': rng.normal(size=(B, T, V)).astype(np.float32) * 5,
    'targets': rng.integers(0, V, (B, T)).astype(np.int32),
    'weights': (rng.random((B, T)) < 0.5).astype(np.float32),
  }


def model(batch, key=None):
  """A model whose logits are given; a key would add noise."""
  logits = jnp.asarray(batch['logits'])
  if key is not None:
    logits += jax.random.normal(key, logits.shape)
  return logits


def test_nll_is_optaxs(batch):
  nll, log_z = softmax_cross_entropy(
    jnp.asarray(batch['logits']), jnp.asarray(batch['targets'])
  )
  expected = optax.softmax_cross_entropy_with_integer_labels(
    batch['logits'], batch['targets']
  )
  np.testing.assert_allclose(nll, expected, rtol=1e-5, atol=1e-6)
  expected = np.log(np.exp(batch['logits'].astype(np.float64)).sum(-1))
  np.testing.assert_allclose(log_z, expected, rtol=1e-6)


@pytest.mark.parametrize('z_loss', [0.0, 0.3])
def test_its_gradient_is_that_of_autodiff(batch, z_loss):
  weights, targets = batch['weights'], batch['targets']

  def plain(logits):
    log_z = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return jnp.sum(weights * (log_z - chosen + z_loss * log_z**2))

  def ours(logits):
    sums = cross_entropy(model, {**batch, 'logits': logits}, z_loss=z_loss)
    return sums.loss

  logits = jnp.asarray(batch['logits'])
  value, gradient = jax.value_and_grad(ours)(logits)
  expected, expected_gradient = jax.value_and_grad(plain)(logits)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


def test_sums_add_up_over_any_cut_of_the_batch(batch):
  whole = cross_entropy(model, batch, z_loss=0.1)
  parts = [
    cross_entropy(
      model, {k: x[i : i + 1] for k, x in batch.items()}, z_loss=0.1
    )
    for i in range(B)
  ]
  added = jax.tree.map(lambda *x: sum(x), *parts)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), whole, added
  )
  assert whole.weight == batch['weights'].sum()


def test_tokens_without_weight_do_not_count(batch):
  before = cross_entropy(model, batch)
  batch['targets'] = np.where(batch['weights'] == 0, 1, batch['targets'])
  assert cross_entropy(model, batch).loss == before.loss


def test_z_loss_is_not_part_of_the_nll(batch):
  plain = cross_entropy(model, batch)
  with_z = cross_entropy(model, batch, z_loss=0.1)
  assert with_z.aux['nll'] == plain.loss == plain.aux['nll']
  assert with_z.loss > plain.loss


def test_large_logits_neither_overflow_nor_lose_their_gradient():
  logits = jnp.array([[[1e4, -1e4, 0.0]]])
  batch = {
    'logits': logits,
    'targets': np.array([[1]], np.int32),
    'weights': np.ones((1, 1), np.float32),
  }

  def loss(logits):
    return cross_entropy(model, {**batch, 'logits': logits}).loss

  value, gradient = jax.value_and_grad(loss)(logits)
  assert value == 2e4
  np.testing.assert_array_equal(gradient, [[[1.0, -1.0, 0.0]]])


def test_bfloat16_logits_are_summed_in_float32(batch):
  logits = jnp.asarray(batch['logits'], jnp.bfloat16)
  nll, _ = softmax_cross_entropy(logits, jnp.asarray(batch['targets']))
  assert nll.dtype == jnp.float32
  gradient = jax.grad(
    lambda x: cross_entropy(lambda batch, key: x, batch).loss
  )(logits)
  assert gradient.dtype == jnp.bfloat16


def test_token_nll_sums_to_the_loss(batch):
  nll = token_nll(model, batch)
  sums = cross_entropy(model, batch)
  np.testing.assert_allclose(
    (nll * batch['weights']).sum(), sums.loss, rtol=1e-6
  )


def test_a_key_reaches_the_model(batch):
  first, again, other = (
    cross_entropy(model, batch, jax.random.key(seed)).loss for seed in (1, 1, 2)
  )
  assert first == again != other
