"""Dot-product attention and its gradient equal a softmax written out."""

import by_hand
from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models.attention import visible
from research.models.dot_product import attend, weigh


def normal(*size: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def inputs(kv_heads: int):
  q = normal(2, 5, 4, 3, seed=1)
  k, v = normal(2, 2, kv_heads, 7, 3, seed=2)
  mask = np.random.default_rng(3).random((2, 5, 7)) < 0.5
  mask[0, 2], mask[1, 3] = False, True
  return q, k, v, mask, normal(4, 5, 7, seed=4)


def plain(q, k, v, mask, scale, bias):
  """Attention for JAX to differentiate; a query that sees nothing reads 0."""
  k, v = (jnp.repeat(x, q.shape[2] // k.shape[1], axis=1) for x in (k, v))
  scores = jnp.einsum('btnh,bnsh->bnts', q, k) * scale + bias
  weights = jax.nn.softmax(scores, where=mask[:, None])
  weights = jnp.where(mask.any(-1)[:, None, :, None], weights, 0)
  return jnp.einsum('bnts,bnsh->btnh', weights, v)


@pytest.mark.parametrize('kv_heads', [4, 2, 1])
def test_attention_is_the_plain_softmax(kv_heads):
  q, k, v, mask, bias = map(jnp.asarray, inputs(kv_heads))
  how = {'scale': 0.7, 'bias': bias}
  expected, weights = by_hand.averages(
    q, k.swapaxes(1, 2), v.swapaxes(1, 2), mask, 0.7, bias
  )
  y = attend(q, k, v, mask, **how)
  np.testing.assert_allclose(y, expected, atol=2e-6)
  np.testing.assert_allclose(weigh(q, k, mask, **how), weights, atol=1e-6)
  assert not np.asarray(y[0, 2]).any()


@pytest.mark.parametrize('kv_heads', [2, 1])
def test_grouped_heads_are_repeated_heads(kv_heads):
  q, k, v, mask, _ = map(jnp.asarray, inputs(kv_heads))
  grouped = attend(q, k, v, mask, scale=1.0)
  k, v = (jnp.repeat(x, 4 // kv_heads, axis=1) for x in (k, v))
  repeated = attend(q, k, v, mask, scale=1.0)
  np.testing.assert_allclose(grouped, repeated, atol=1e-6)


@given(
  sizes=st.tuples(*[st.integers(1, 4)] * 3, st.integers(1, 9)),
  causal=st.booleans(),
  bias_shape=st.sampled_from(['heads', 'rows', 'one row']),
  seed=st.integers(0, 9),
)
@settings(max_examples=8)
def test_the_gradient_by_hand_is_that_of_a_plain_softmax(
  sizes, causal, bias_shape, seed
):
  b, n_kv, group, t = sizes
  s, n = (t if causal else t + 2), n_kv * group
  q, k, v, probe = (
    jnp.asarray(normal(b, *size, 3, seed=seed + i))
    for i, size in enumerate([(t, n), (n_kv, s), (n_kv, s), (t, n)])
  )
  rows = {'heads': (), 'rows': (b,), 'one row': (1,)}[bias_shape]
  bias = jnp.asarray(normal(*rows, n, t, s, seed=seed + 4))
  segments = np.random.default_rng(seed).integers(0, 3, (2, b, max(t, s)))
  queries, keys = segments[0][:, :t], segments[1 - causal][:, :s]
  mask = visible(jnp.asarray(queries), jnp.asarray(keys), causal=causal)

  def ours(q, k, v, bias):
    return attend(q, k, v, mask, scale=0.6, bias=bias, causal=causal)

  def theirs(q, k, v, bias):
    return plain(q, k, v, mask, 0.6, bias)

  @jax.jit
  def both(*read):
    (y, pull), (y_plain, pull_plain) = (
      jax.vjp(f, *read) for f in (ours, theirs)
    )
    return (y, *pull(probe)), (y_plain, *pull_plain(probe))

  for one, other in zip(*both(q, k, v, bias), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('length', [65, 300])
def test_blocks_leave_out_nothing_that_is_seen(length):
  q, k, v, probe = (
    jnp.asarray(normal(2, *size, 4, seed=i))
    for i, size in enumerate(
      [(length, 2), (2, length), (2, length), (length, 2)]
    )
  )
  bias = jnp.asarray(normal(2, length, length, seed=5))
  segments = jnp.ones((2, length), int).at[1, length // 3 :].set(2)
  mask = visible(segments, segments, causal=True, window=length // 2)

  def run(causal):
    def read(q, k, v, bias):
      return attend(q, k, v, mask, scale=1.0, bias=bias, causal=causal)

    y, pull = jax.jit(lambda *x: jax.vjp(read, *x))(q, k, v, bias)
    return y, *pull(probe)

  for blocks, whole in zip(run(True), run(False), strict=True):
    np.testing.assert_allclose(blocks, whole, rtol=1e-5, atol=1e-5)


def test_a_query_that_sees_nothing_has_no_gradient():
  q, k, v, mask, _ = map(jnp.asarray, inputs(2))
  none = jnp.zeros_like(mask)
  pull = jax.vjp(lambda *x: attend(*x, none, scale=1.0), q, k, v)[1]
  for gradient in pull(jnp.ones_like(q)):
    np.testing.assert_array_equal(gradient, 0)


def test_scores_too_large_for_exp_are_averaged_all_the_same():
  q, k = jnp.full((1, 1, 1, 1), 1e4), jnp.array([1.0, 1, -1])[None, None]
  weights = weigh(q, k[..., None], jnp.ones((1, 1, 3), bool), scale=1.0)
  np.testing.assert_array_equal(weights[0, 0, 0], [0.5, 0.5, 0])


def test_dropped_weights_keep_their_mean():
  q, k = jnp.zeros((1, 1, 1, 2)), jnp.zeros((1, 1, 4000, 2))
  mask = jnp.ones((1, 1, 4000), bool)
  y = attend(
    q, k, jnp.ones_like(k), mask, scale=1.0, rate=0.25, key=jax.random.key(0)
  )
  # Five standard deviations: 5 (0.25 / 0.75 / 4000)^0.5.
  np.testing.assert_allclose(y, 1, atol=0.046)
  assert (y != 1).all()


def test_the_gradient_drops_the_weights_that_the_averages_drop():
  q, k, v, _, _ = map(jnp.asarray, inputs(2))
  mask = jnp.ones((2, 5, 7), bool)
  probe = jnp.asarray(normal(*q.shape, seed=7))

  @jax.jit
  def value(q, k, v):
    how = {'scale': 1.0, 'rate': 0.4, 'key': jax.random.key(1)}
    return jnp.sum(attend(q, k, v, mask, **how) * probe)

  gradient = jax.grad(value, (0, 1, 2))(q, k, v)
  rng, step = np.random.default_rng(0), 1e-2
  for i, x in enumerate((q, k, v)):
    way = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    ends = [
      value(*(a + sign * way if a is x else a for a in (q, k, v)))
      for sign in (step, -step)
    ]
    slope = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(jnp.sum(gradient[i] * way), slope, rtol=2e-2)
