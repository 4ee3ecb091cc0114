"""Attention equals a softmax written out in numpy, whoever may see whom."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models import parts
from research.models.attention import (
  Attention,
  attend,
  masked_softmax,
  visible,
)


def normal(*size: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def reference(q, k, v, mask, scale, bias):
  """Averages and weights, one query of one head at a time, in float64."""
  q, k, v, bias = (x.astype(np.float64) for x in (q, k, v, bias))
  b, t, n, h = q.shape
  group = n // k.shape[2]
  y, weights = np.zeros((b, t, n, h)), np.zeros((b, n, t, k.shape[1]))
  for i, j, m in np.ndindex(b, t, n):
    seen = np.flatnonzero(mask[i, j])
    if not seen.size:
      continue
    scores = k[i, seen, m // group] @ q[i, j, m] * scale + bias[m, j, seen]
    e = np.exp(scores - scores.max())
    weights[i, m, j, seen] = e / e.sum()
    y[i, j, m] = weights[i, m, j, seen] @ v[i, seen, m // group]
  return y, weights


def inputs(kv_heads: int):
  q = normal(2, 5, 4, 3, seed=1)
  k, v = normal(2, 2, 7, kv_heads, 3, seed=2)
  mask = np.random.default_rng(3).random((2, 5, 7)) < 0.5
  mask[0, 2], mask[1, 3] = False, True
  return q, k, v, mask, normal(4, 5, 7, seed=4)


@pytest.mark.parametrize('kv_heads', [4, 2, 1])
def test_attention_is_the_plain_softmax(kv_heads):
  q, k, v, mask, bias = inputs(kv_heads)
  y, weights = attend(
    *map(jnp.asarray, (q, k, v, mask)), scale=0.7, bias=jnp.asarray(bias)
  )
  expected, expected_weights = reference(q, k, v, mask, 0.7, bias)
  np.testing.assert_allclose(y, expected, atol=2e-6)
  np.testing.assert_allclose(weights, expected_weights, atol=1e-6)
  assert not np.asarray(y[0, 2]).any()


@pytest.mark.parametrize('kv_heads', [2, 1])
def test_grouped_heads_are_repeated_heads(kv_heads):
  q, k, v, mask, _ = map(jnp.asarray, inputs(kv_heads))
  grouped = attend(q, k, v, mask, scale=1.0)
  k, v = (jnp.repeat(x, 4 // kv_heads, axis=2) for x in (k, v))
  repeated = attend(q, k, v, mask, scale=1.0)
  for ours, theirs in zip(grouped, repeated, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def module(n_kv_heads: int) -> Attention:
  spec = parts.Attention(
    d_model=8,
    n_heads=4,
    n_kv_heads=n_kv_heads,
    d_head=2,
    qkv_bias=True,
    out_bias=True,
    scale=0.5,
  )
  return Attention(spec, nnx.Rngs(0))


@pytest.mark.parametrize('n_kv_heads', [2, 1])
def test_a_grouped_module_is_a_multi_head_one_with_weights_repeated(n_kv_heads):
  grouped, full = module(n_kv_heads), module(4)
  times = 4 // n_kv_heads
  full.query[...], full.out[...] = grouped.query[...], grouped.out[...]
  for name in 'key', 'value':
    matrix = getattr(grouped, name)[...]
    getattr(full, name)[...] = jnp.repeat(matrix, times, axis=1)
  x, mask = jnp.asarray(normal(2, 5, 8)), jnp.ones((2, 5, 5), bool)
  for ours, theirs in zip(grouped(x, x, mask), full(x, x, mask), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_as_many_key_heads_as_query_heads_is_multi_head_attention():
  attention = module(4)
  x = normal(1, 5, 8)
  q, k, v = (
    np.einsum('btd,dnh->btnh', x, np.asarray(w[...]))
    for w in (attention.query, attention.key, attention.value)
  )
  mask = np.tril(np.ones((1, 5, 5), bool))
  y, weights = reference(q, k, v, mask, 0.5, np.zeros((4, 5, 5)))
  expected = np.einsum('btnh,nhd->btd', y, np.asarray(attention.out[...]))
  ours = attention(jnp.asarray(x), jnp.asarray(x), jnp.asarray(mask))
  np.testing.assert_allclose(ours[0], expected, atol=2e-6)
  np.testing.assert_allclose(ours[1], weights, atol=1e-6)


def test_the_hand_written_gradient_is_that_of_a_plain_softmax():
  scores = jnp.asarray(normal(2, 3, 5))
  mask = jnp.asarray(np.random.default_rng(0).random((2, 3, 5)) < 0.6)
  mask = mask.at[..., 0].set(True)
  probe = jnp.asarray(normal(2, 3, 5, seed=1))

  def ours(scores):
    return jnp.sum(masked_softmax(scores, mask) * probe)

  def plain(scores):
    return jnp.sum(jax.nn.softmax(scores, where=mask) * probe)

  np.testing.assert_allclose(
    jax.grad(ours)(scores), jax.grad(plain)(scores), atol=1e-6
  )


def test_a_row_that_sees_nothing_is_zero_and_so_is_its_gradient():
  scores, mask = jnp.asarray(normal(2, 5)), jnp.zeros((2, 5), bool)
  assert not masked_softmax(scores, mask).any()
  probe = jnp.asarray(normal(2, 5, seed=1))
  gradient = jax.grad(lambda s: jnp.sum(masked_softmax(s, mask) * probe))
  np.testing.assert_array_equal(gradient(scores), 0)


def test_scores_too_large_for_exp_are_averaged_all_the_same():
  weights = masked_softmax(jnp.array([1e4, 1e4, -1e4]), jnp.ones(3, bool))
  np.testing.assert_array_equal(weights, [0.5, 0.5, 0])


@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize('prefixed', [True, False])
@pytest.mark.parametrize('window', [None, 1, 3])
def test_a_query_sees_what_the_rules_say(causal, prefixed, window):
  rng = np.random.default_rng(0)
  segments = rng.integers(0, 3, (4, 6))
  prefix = rng.random((4, 6)) < 0.4
  mask = visible(
    jnp.asarray(segments),
    jnp.asarray(segments),
    causal=causal,
    prefix=jnp.asarray(prefix) if prefixed else None,
    window=window,
  )
  for b, t, s in np.ndindex(4, 6, 6):
    expected = segments[b, t] == segments[b, s] != 0
    near = s <= t and (window is None or s > t - window)
    if causal and not near and not (prefixed and prefix[b, s]):
      expected = False
    assert mask[b, t, s] == expected


def test_clipped_projections_are_those_of_clipped_products():
  rng = nnx.Rngs(0)
  spec = parts.Attention(
    d_model=6,
    n_heads=2,
    n_kv_heads=1,
    d_head=3,
    qkv_bias=False,
    out_bias=False,
    scale=0.5,
    clip=0.4,
  )
  attention = Attention(spec, rng)
  x, mask = normal(2, 5, 6), np.ones((1, 5, 5), bool)
  q, k, v = (
    np.einsum('btd,dnh->btnh', x, np.asarray(w[...])).clip(-0.4, 0.4)
    for w in (attention.query, attention.key, attention.value)
  )
  assert (abs(q) == 0.4).mean() > 0.3
  mask = np.tile(mask, (2, 1, 1))
  y, _ = reference(q, k, v, mask, 0.5, np.zeros((2, 5, 5)))
  expected = np.einsum('btnh,nhd->btd', y, np.asarray(attention.out[...]))
  ours, _ = attention(jnp.asarray(x), jnp.asarray(x), jnp.asarray(mask))
  np.testing.assert_allclose(ours, expected, atol=2e-6)


def test_dropped_weights_keep_their_mean():
  q, k = jnp.zeros((1, 1, 1, 2)), jnp.zeros((1, 4000, 1, 2))
  mask = jnp.ones((1, 1, 4000), bool)
  y, weights = attend(
    q, k, jnp.ones_like(k), mask, scale=1.0, rate=0.25, key=jax.random.key(0)
  )
  np.testing.assert_allclose(weights, 1 / 4000, rtol=1e-5)
  # Five standard deviations: 5 (0.25 / 0.75 / 4000)^0.5.
  np.testing.assert_allclose(y, 1, atol=0.046)
  assert (y != 1).all()
