"""Norms, activations and the linear map equal their formulas."""

import math

from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from research.models import layers, parts

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple)


def normal(*size: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=size).astype(np.float32)


@pytest.mark.parametrize(
  'name, formula',
  [
    ('gelu', lambda x: x * (1 + scipy.special.erf(x / math.sqrt(2))) / 2),
    (
      'gelu_tanh',
      lambda x: (
        x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
      ),
    ),
    ('relu', lambda x: np.where(x > 0, x, 0)),
    ('silu', lambda x: x / (1 + np.exp(-x))),
    ('relu2', lambda x: np.where(x > 0, x * x, 0)),
  ],
)
def test_activations_are_their_formulas(name, formula):
  x = np.linspace(-8, 8, 321).astype(np.float32)
  ours = layers.activation(name, jnp.asarray(x))
  np.testing.assert_allclose(
    ours, formula(x.astype(np.float64)), rtol=1e-5, atol=2e-6
  )


@pytest.mark.parametrize('bias', [True, False])
def test_layer_norm_is_its_formula(bias):
  module = layers.LayerNorm(parts.LayerNorm(eps=1e-3, bias=bias), 7)
  scale, shift = normal(2, 7, seed=1)
  module.scale[...] = jnp.asarray(scale)
  if module.bias is not None:
    module.bias[...] = jnp.asarray(shift)
  x = normal(3, 4, 7) * 5 + 2
  y = x.astype(np.float64)
  mean, variance = y.mean(-1, keepdims=True), y.var(-1, keepdims=True)
  expected = (y - mean) / np.sqrt(variance + 1e-3) * scale + bias * shift
  np.testing.assert_allclose(module(jnp.asarray(x)), expected, atol=5e-6)


def test_rms_norm_is_its_formula():
  module = layers.RMSNorm(parts.RMSNorm(eps=1e-3), 7)
  scale = normal(7, seed=1)
  module.scale[...] = jnp.asarray(scale)
  x = normal(3, 4, 7) * 5 + 2
  y = x.astype(np.float64)
  expected = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-3) * scale
  np.testing.assert_allclose(module(jnp.asarray(x)), expected, atol=5e-6)


def test_norms_of_bfloat16_are_computed_in_float32():
  x = jnp.asarray(normal(3, 64) + 100, jnp.bfloat16)
  for spec in parts.LayerNorm(), parts.RMSNorm():
    module = layers.norm(spec, 64)
    ours, exact = module(x), module(x.astype(jnp.float32))
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_array_equal(ours, exact.astype(jnp.bfloat16))


@given(batch=SIZES, inward=SIZES, outward=SIZES)
@settings(max_examples=15)
def test_the_linear_map_and_its_gradient_are_those_of_tensordot(
  batch, inward, outward
):
  x = jnp.asarray(normal(*batch, *inward))
  w = jnp.asarray(normal(*inward, *outward, seed=1))
  probe = jnp.asarray(normal(*batch, *outward, seed=2))

  def ours(x, w):
    return layers.linear(x, w, len(inward))

  def plain(x, w):
    return jnp.tensordot(x, w, len(inward))

  values, pull = jax.vjp(ours, x, w)
  expected, expected_pull = jax.vjp(plain, x, w)
  for a, b in zip(
    (values, *pull(probe)), (expected, *expected_pull(probe)), strict=True
  ):
    assert a.shape == b.shape and a.dtype == b.dtype
    scale = max(float(abs(b).max()), 1.0)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize('d, n', [(6, 5), (5, 5), (6, 24), (6, 25), (512, 512)])
def test_one_row_is_multiplied_as_in_a_batch(d, n):
  x, w = jnp.asarray(normal(2, d)), jnp.asarray(normal(d, n, seed=1))
  both = layers.linear(x, w)
  np.testing.assert_allclose(layers.linear(x[:1], w), both[:1], atol=5e-5)


def test_weights_of_a_bfloat16_map_have_float32_gradients():
  x, w = jnp.asarray(normal(3, 4), jnp.bfloat16), jnp.asarray(normal(4, 5))
  y, pull = jax.vjp(lambda x, w: layers.linear(x, w, 1, jnp.float32), x, w)
  dx, dw = pull(jnp.ones_like(y))
  assert (y.dtype, dx.dtype, dw.dtype) == (
    jnp.float32,
    jnp.bfloat16,
    jnp.float32,
  )
  expected = np.asarray(x, np.float32).sum(0)[:, None] * np.ones((4, 5))
  np.testing.assert_allclose(dw, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('gated', [False, True])
def test_an_mlp_is_its_formula_and_keeps_no_activated_layer(gated):
  """Value and gradient, by JAX of the formula written out; what is kept."""
  spec = parts.MLP(
    d_model=6, d_ff=10, activation='gelu_tanh', gated=gated, bias=True
  )
  mlp = layers.MLP(spec, nnx.Rngs(0))
  for i, bias in enumerate((mlp.up_bias, mlp.gate_bias, mlp.down_bias)):
    if bias is not None:
      bias[...] = jnp.asarray(normal(*bias.shape, seed=i))
  graph, params = nnx.split(mlp)
  x = jnp.asarray(normal(2, 5, 6))

  def ours(params, x):
    return nnx.merge(graph, params)(x)

  def plain(p, x):
    y = x @ p['up'] + p['up_bias']
    if gated:
      y = y * jax.nn.gelu(x @ p['gate'] + p['gate_bias'])
    else:
      y = jax.nn.gelu(y)
    return y @ p['down'] + p['down_bias']

  value, back = jax.vjp(ours, params, x)
  expected, by_jax = jax.vjp(plain, nnx.to_pure_dict(params), x)
  np.testing.assert_allclose(value, expected, atol=1e-5)
  (d_params, dx), theirs = back(value), by_jax(value)
  for a, b in zip(
    jax.tree.leaves((nnx.to_pure_dict(d_params), dx)),
    jax.tree.leaves(theirs),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  kept = [k for k in jax.tree.leaves(back) if jnp.shape(k) == (2, 5, 10)]
  assert len(kept) == 1 + gated


def test_dropout_zeroes_its_share_and_keeps_the_mean():
  x, key = jnp.ones(10_000), jax.random.key(0)
  y = layers.dropout(x, 0.2, key)
  assert set(np.unique(y)) == {np.float32(0), np.float32(1.25)}
  # Five standard deviations: 5 (0.2 · 0.8 / 10,000)^0.5.
  assert abs(float((y == 0).mean()) - 0.2) < 0.02
  assert layers.dropout(x, 0.2, None) is x
  assert layers.dropout(x, 0.0, key) is x
