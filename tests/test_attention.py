"""Attention equals a softmax written out in numpy, whoever may see whom."""

import dataclasses

import by_hand
from flax import nnx
import jax.numpy as jnp
import numpy as np
import pytest

from research.models import parts
from research.models.attention import Attention, Joined, visible


def normal(*size: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=size).astype(np.float32)


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
  for ours, theirs in zip(
    grouped(x, x, mask, weights=True),
    full(x, x, mask, weights=True),
    strict=True,
  ):
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize('n_kv_heads', [4, 2, 1])
def test_one_product_gives_the_queries_keys_and_values_of_three(n_kv_heads):
  apart = module(n_kv_heads)
  apart.spec = dataclasses.replace(apart.spec, clip=0.7)
  for i, name in enumerate(('query_bias', 'key_bias', 'value_bias')):
    bias = getattr(apart, name)
    bias[...] = jnp.asarray(normal(*bias.shape, seed=i))
  x, angles = jnp.asarray(normal(2, 5, 8)), jnp.asarray(normal(2, 5, 1))
  joined = Joined(apart)
  names = {'every', 'every_bias', 'out', 'out_bias'}
  assert set(nnx.to_pure_dict(nnx.state(joined))) == names
  for ours, theirs in zip(
    joined.heads(x, angles), apart.heads(x, angles), strict=True
  ):
    assert np.abs(ours).max() > 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_as_many_key_heads_as_query_heads_is_multi_head_attention():
  attention = module(4)
  x = normal(1, 5, 8)
  q, k, v = (
    np.einsum('btd,dnh->btnh', x, np.asarray(w[...]))
    for w in (attention.query, attention.key, attention.value)
  )
  mask = np.tril(np.ones((1, 5, 5), bool))
  y, weights = by_hand.averages(q, k, v, mask, 0.5, np.zeros((4, 5, 5)))
  expected = np.einsum('btnh,nhd->btd', y, np.asarray(attention.out[...]))
  ours = attention(
    jnp.asarray(x), jnp.asarray(x), jnp.asarray(mask), weights=True
  )
  np.testing.assert_allclose(ours[0], expected, atol=2e-6)
  np.testing.assert_allclose(ours[1], weights, atol=1e-6)


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
  y, _ = by_hand.averages(q, k, v, mask, 0.5, np.zeros((2, 5, 5)))
  expected = np.einsum('btnh,nhd->btd', y, np.asarray(attention.out[...]))
  ours, _ = attention(jnp.asarray(x), jnp.asarray(x), jnp.asarray(mask))
  np.testing.assert_allclose(ours, expected, atol=2e-6)
