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
    k, v = self.project(memory, angles)
    return self.read(x, k, v, mask, angles=angles, **how)

  def project(
    self,
    memory: Float[Array, 'b s d'],
    angles: Float[Array, 'b s r'] | None = None,
  ) -> tuple[Float[Array, 'b k s h'], Float[Array, 'b k s h']]:
    """The keys, rotated, and values of `memory`: all that is read of it."""
    k = affine(memory, self.key, self.key_bias)
    v = affine(memory, self.value, self.value_bias)
    k, v = self._clipped(k), self._clipped(v)
    k = k if angles is None else positions.rotate(k, angles)
    return k.swapaxes(1, 2), v.swapaxes(1, 2)

  def read(
    self,
    x: Float[Array, 'b t d'],
    k: Float[Array, 'b k s h'],
    v: Float[Array, 'b k s h'],
    mask: Bool[Array, '#b t s'],
    *,
    bias: Float[Array, '*#b n t s'] | None = None,
    angles: Float[Array, 'b t r'] | None = None,
    causal: bool = False,
    rate: float = 0.0,
    key: jax.Array | None = None,
    weights: bool = False,
  ) -> tuple[Float[Array, 'b t d'], Float[Array, 'b n t s'] | None]:
    """What each of `x` reads from keys and values that `project` made.

    Returns:
      The output and, if asked for, the attention weights before dropout,
      computed a second time.
    """
    q = self._clipped(affine(x, self.query, self.query_bias))
    if angles is not None:
      q = positions.rotate(q, angles)
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

  def _clipped(self, x):
    clip = self.spec.clip
    return x if clip is None else jnp.clip(x, -clip, clip)
