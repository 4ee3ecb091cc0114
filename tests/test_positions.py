"""Positions equal their papers: closed forms, and references in numpy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import variants

from research.config import BadInput
from research.models import parts, positions


def t5_bucket(distance, bidirectional, n_buckets, max_distance) -> int:
  """One distance's bucket in whole numbers (Raffel et al. 2020, section 2.1).

  Of m buckets a side, e = m / 2 hold one distance each; bucket e + j starts
  where (distance / e)^(m - e) reaches (max_distance / e)^j.
  """
  if bidirectional:
    m, offset = n_buckets // 2, n_buckets // 2 if distance > 0 else 0
    past = abs(distance)
  else:
    m, offset, past = n_buckets, 0, max(-distance, 0)
  e = m // 2
  if past < e:
    return offset + past
  j = 0
  while j + 1 < m - e and (
    past ** (m - e) * e ** (j + 1) >= max_distance ** (j + 1) * e ** (m - e)
  ):
    j += 1
  return offset + e + j


@pytest.mark.parametrize('bidirectional', [True, False])
@pytest.mark.parametrize(
  'n_buckets, max_distance', [(32, 128), (8, 16), (4, 5), (16, 100), (64, 512)]
)
def test_buckets_are_t5s(bidirectional, n_buckets, max_distance):
  distance = np.arange(-2 * max_distance, 2 * max_distance + 1)
  expected = [
    t5_bucket(int(d), bidirectional, n_buckets, max_distance) for d in distance
  ]
  buckets = positions.relative_buckets(
    jnp.asarray(distance),
    bidirectional=bidirectional,
    n_buckets=n_buckets,
    max_distance=max_distance,
  )
  np.testing.assert_array_equal(buckets, expected)
  used = set(expected) | {n_buckets // 2} if bidirectional else set(expected)
  assert used == set(range(n_buckets))


def test_a_bias_is_the_row_of_its_bucket():
  cfg = variants.config('encoder', 'buckets')
  module = variants.build(cfg).stack.position
  bias = module.bias(jnp.arange(8), jnp.arange(8))
  for q in range(8):
    for k in range(8):
      row = module.table[...][t5_bucket(k - q, True, 8, 16)]
      np.testing.assert_array_equal(bias[:, q, k], row)


def test_the_slopes_of_eight_heads_are_the_papers():
  expected = [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
  np.testing.assert_array_equal(positions.alibi_slopes(8), expected)


def test_the_slopes_of_sixteen_heads_interpolate_those_of_eight():
  slopes = positions.alibi_slopes(16)
  np.testing.assert_allclose(slopes[1::2], positions.alibi_slopes(8))
  np.testing.assert_allclose(slopes[1:] / slopes[:-1], 2**-0.5)


def test_the_slopes_of_twelve_heads_add_every_second_of_sixteen():
  slopes = positions.alibi_slopes(12)
  np.testing.assert_allclose(slopes[:8], positions.alibi_slopes(8))
  np.testing.assert_allclose(slopes[8:], positions.alibi_slopes(16)[:8:2])


def test_alibi_falls_linearly_with_distance():
  bias = positions.ALiBi(parts.ALiBi(), 8).bias(jnp.arange(6), jnp.arange(6))
  assert bias is not None and bias.shape == (8, 6, 6)
  for head in range(8):
    for q in range(6):
      for k in range(6):
        assert bias[head, q, k] == -abs(q - k) / 2 ** (head + 1)


def test_a_larger_last_exponent_makes_gentler_slopes():
  slopes = positions.alibi_slopes(4, max_exponent=16)
  np.testing.assert_array_equal(slopes, 2.0 ** -np.array([4, 8, 12, 16]))


def test_rounded_alibi_has_the_bits_of_bfloat16_and_its_scale():
  """As tiiuae's code: slopes and their products with positions in bfloat16."""
  module = positions.ALiBi(parts.ALiBi(scale=0.25, rounded=True), 12)
  index = jnp.arange(300)
  bias = np.asarray(jax.jit(module.bias)(index, index))
  slopes = positions.alibi_slopes(12).astype(jnp.bfloat16)
  steps = (slopes[:, None] * np.arange(300).astype(jnp.bfloat16)).astype(float)
  for query in 0, 7, 299:
    past = bias[:, query, : query + 1]
    expected = steps[:, : query + 1] - steps[:, query, None]
    np.testing.assert_array_equal(past, 0.25 * expected)


def test_stretched_rotation_turns_by_the_position_s_share():
  x = np.random.default_rng(0).normal(size=(1, 4, 2, 8)).astype(np.float32)
  spec = parts.Rotary(stretch=4.0)
  angles = positions.Rotary(spec, 8).rotation(jnp.arange(0, 16, 4)[None])
  ours = positions.rotate(jnp.asarray(x), angles)
  np.testing.assert_allclose(ours, rotated(x, np.arange(4)[None]), atol=1e-6)


def test_sinusoids_are_the_closed_form():
  d, base = 6, 100.0
  where = np.array([[0, 1, 7], [300, 2, 5]])
  ours = positions.sinusoids(jnp.asarray(where), d, base)
  for (b, t), p in np.ndenumerate(where):
    for i in range(d // 2):
      angle = p / base ** (2 * i / d)
      np.testing.assert_allclose(ours[b, t, 2 * i], math.sin(angle), atol=3e-5)
      np.testing.assert_allclose(
        ours[b, t, 2 * i + 1], math.cos(angle), atol=3e-5
      )


def rotated(x, where, fraction=1.0):
  spec = parts.Rotary(fraction=fraction)
  angles = positions.Rotary(spec, x.shape[-1]).rotation(jnp.asarray(where))
  return positions.rotate(jnp.asarray(x), angles)


def test_rotation_multiplies_by_a_unit_complex_number():
  x = np.random.default_rng(0).normal(size=(2, 5, 3, 8)).astype(np.float32)
  where = np.array([[0, 1, 2, 3, 4], [9, 0, 50, 7, 7]])
  frequency = 10_000.0 ** (-2 * np.arange(4) / 8)
  turn = np.exp(1j * where[..., None] * frequency)[:, :, None]
  z = (x[..., :4] + 1j * x[..., 4:]) * turn
  expected = np.concatenate([z.real, z.imag], axis=-1)
  np.testing.assert_allclose(rotated(x, where), expected, atol=2e-5)


@pytest.mark.parametrize('fraction', [1.0, 0.5])
def test_rotated_products_depend_on_distance_alone(fraction):
  rng = np.random.default_rng(0)
  q, k = rng.normal(size=(2, 1, 6, 2, 8)).astype(np.float32)

  def products(shift):
    where = np.arange(6)[None] + shift
    a, b = (rotated(x, where, fraction) for x in (q, k))
    return jnp.einsum('btnh,bsnh->bnts', a, b)

  np.testing.assert_allclose(products(0), products(37), atol=5e-5)
  plain = jnp.einsum('btnh,bsnh->bnts', q, k)
  off = ~np.eye(6, dtype=bool)
  assert (abs(products(0) - plain)[..., off] > 1e-4).mean() > 0.9


def test_partial_rotation_leaves_the_rest_alone():
  x = np.random.default_rng(0).normal(size=(1, 5, 2, 8)).astype(np.float32)
  where = np.arange(1, 6)[None]
  ours = rotated(x, where, 0.5)
  np.testing.assert_array_equal(ours[..., 4:], x[..., 4:])
  np.testing.assert_array_equal(ours[..., :4], rotated(x[..., :4], where))
  assert (np.asarray(ours[..., :4]) != x[..., :4]).all()


def test_learned_positions_add_the_row_of_each_position():
  cfg = variants.config('decoder', 'learned')
  module = variants.build(cfg).stack.position
  x = np.random.default_rng(0).normal(size=(1, 4, 16)).astype(np.float32)
  where = np.array([[3, 0, 0, 7]])
  ours = module.add(jnp.asarray(x), jnp.asarray(where))
  table = np.asarray(module.table[...])
  np.testing.assert_array_equal(ours, x + table[where])


def test_more_tokens_than_learned_positions_are_refused():
  cfg = variants.config('decoder', 'learned')
  module = variants.build(cfg).stack.position
  with pytest.raises(BadInput, match='9 tokens .* 8 learned'):
    module.add(jnp.zeros((1, 9, 16)), jnp.arange(9)[None])
