"""Multi-head, grouped and multi-query attention, and who may see whom.

Dimensions: `b` batch, `t` queries, `s` keys, `d` d_model, `n` query heads, `k`
key and value heads, `h` d_head.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from research.models import parts, positions
from research.models.dot_product import attend, weigh
from research.models.layers import affine, weight, zeros


def visible(
  query_segments: Int[Array, 'b t'],
  key_segments: Int[Array, 'b s'],
  *,
  causal: bool = False,
  prefix: Bool[Array, 'b s'] | None = None,
  window: int | None = None,
  start: Int[Array, ''] | int = 0,
) -> Bool[Array, 'b t s']:
  """Which keys a query may look at.

  Those of its own segment, where 0 is padding that neither sees nor is seen;
  if causal, of these only keys no later in the array and, with a window, less
  than `window` before; or keys in the prefix. The first query stands at key
  `start`.
  """
  same = query_segments[:, :, None] == key_segments[:, None, :]
  mask = same & (key_segments != 0)[:, None, :]
  if not causal:
    return mask
  t, s = mask.shape[1:]
  distance = (start + jnp.arange(t)[:, None] - jnp.arange(s)[None, :])[None]
  past = distance >= 0
  past = past if window is None else past & (distance < window)
  return mask & (past if prefix is None else past | prefix[:, None, :])


class Attention(nnx.Module):
  """Projections around `attend`: self attention, or cross with a memory."""

  def __init__(
    self, spec: parts.Attention, rngs: nnx.Rngs, *, output_scale: float = 1.0
  ):
    d, n, k, h = spec.d_model, spec.n_heads, spec.n_kv_heads, spec.d_head
    self.spec = spec
    keys = ('embed', 'kv_heads', 'head')
    self.query = weight(
      rngs, (d, n, h), ('embed', 'heads', 'head'), std=d**-0.5
    )
    self.key = weight(rngs, (d, k, h), keys, std=d**-0.5)
    self.value = weight(rngs, (d, k, h), keys, std=d**-0.5)
    std = (n * h) ** -0.5 * output_scale
    self.out = weight(rngs, (n, h, d), ('heads', 'head', 'embed'), std=std)
    self.query_bias = zeros(n * h, 'heads') if spec.qkv_bias else None
    self.key_bias = zeros(k * h, 'kv_heads') if spec.qkv_bias else None
    self.value_bias = zeros(k * h, 'kv_heads') if spec.qkv_bias else None
    self.out_bias = zeros(d, 'embed') if spec.out_bias else None

  def __call__(
    self,
    x: Float[Array, 'b t d'],
    memory: Float[Array, 'b s d'],
    mask: Bool[Array, '#b t s'],
    *,
    angles: Float[Array, 'b t r'] | None = None,
    **how: Any,
  ) -> tuple[Float[Array, 'b t d'], Float[Array, 'b n t s'] | None]:
    """What each of `x` reads from `memory` (itself, in self attention).

    The rest, and what is returned, are `read`'s.
    """
    q, (k, v) = self.queries(x, angles), self.project(memory, angles)
    return self.read(q, k, v, mask, **how)

  def heads(
    self, x: Float[Array, 'b t d'], angles: Float[Array, 'b t r'] | None = None
  ) -> tuple[
    Float[Array, 'b t n h'], Float[Array, 'b k t h'], Float[Array, 'b k t h']
  ]:
    """Queries, keys and values of `x`, for self attention."""
    return self.queries(x, angles), *self.project(x, angles)

  def queries(
    self, x: Float[Array, 'b t d'], angles: Float[Array, 'b t r'] | None = None
  ) -> Float[Array, 'b t n h']:
    """The queries of `x`, rotated."""
    return self._turned(affine(x, self.query, self.query_bias), angles)

  def project(
    self,
    memory: Float[Array, 'b s d'],
    angles: Float[Array, 'b s r'] | None = None,
  ) -> tuple[Float[Array, 'b k s h'], Float[Array, 'b k s h']]:
    """The keys, rotated, and values of `memory`: all that is read of it."""
    k = self._turned(affine(memory, self.key, self.key_bias), angles)
    v = self._turned(affine(memory, self.value, self.value_bias))
    return k.swapaxes(1, 2), v.swapaxes(1, 2)

  def read(
    self,
    q: Float[Array, 'b t n h'],
    k: Float[Array, 'b k s h'],
    v: Float[Array, 'b k s h'],
    mask: Bool[Array, '#b t s'],
    *,
    bias: Float[Array, '*#b n t s'] | None = None,
    causal: bool = False,
    rate: float = 0.0,
    key: jax.Array | None = None,
    weights: bool = False,
  ) -> tuple[Float[Array, 'b t d'], Float[Array, 'b n t s'] | None]:
    """What each query reads from keys and values that `project` made.

    Returns:
      The output and, if asked for, the attention weights before dropout,
      computed a second time.
    """
    scale = self.spec.scale
    y = attend(
      *(q, k, v, mask),
      scale=scale,
      bias=bias,
      causal=causal,
      rate=rate,
      key=key,
    )
    seen = weigh(q, k, mask, scale=scale, bias=bias) if weights else None
    return affine(y, self.out, self.out_bias, 2), seen

  def _turned(self, x, angles=None):
    clip = self.spec.clip
    x = x if clip is None else jnp.clip(x, -clip, clip)
    return x if angles is None else positions.rotate(x, angles)


class Joined(Attention):
  """Self attention whose queries, keys and values come of one product.

  A row of a decoder reads one matrix faster than three.
  """

  def __init__(self, apart: Attention):
    weights = apart.query, apart.key, apart.value
    biases = apart.query_bias, apart.key_bias, apart.value_bias
    self.spec = apart.spec
    self.every = _joined(weights, axis=1)
    self.every_bias = None if None in biases else _joined(biases, axis=0)
    self.out, self.out_bias = apart.out, apart.out_bias

  def heads(self, x, angles=None):
    n, k = self.spec.n_heads, self.spec.n_kv_heads
    every = affine(x, self.every, self.every_bias)
    q, k, v = jnp.split(every, (n, n + k), axis=2)
    q, k = self._turned(q, angles), self._turned(k, angles)
    return q, k.swapaxes(1, 2), self._turned(v).swapaxes(1, 2)

  def queries(self, x, angles=None):
    return self.heads(x, angles)[0]

  def project(self, memory, angles=None):
    return self.heads(memory, angles)[1:]


def _joined(params, axis: int) -> nnx.Param:
  whole = jnp.concatenate([param[...] for param in params], axis)
  return nnx.Param(whole, axes=params[0].axes)
