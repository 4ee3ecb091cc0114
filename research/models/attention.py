"""Multi-head, grouped and multi-query attention over explicit masks.

Dimensions: `b` batch, `t` queries, `s` keys, `d` d_model, `n` query heads, `k`
key and value heads, `g` = n / k, `h` d_head. Query head i reads key and value
head i // g.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from research.models import layers, parts, positions
from research.models.layers import affine, weight, zeros

MASKED = -1e30
"""Added to the score of a key that must not be seen."""


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


def attend(
  q: Float[Array, 'b t n h'],
  k: Float[Array, 'b s k h'],
  v: Float[Array, 'b s k h'],
  mask: Bool[Array, '#b t s'],
  *,
  scale: float,
  bias: Float[Array, '*#b n t s'] | None = None,
  rate: float = 0.0,
  key: jax.Array | None = None,
) -> tuple[Float[Array, 'b t n h'], Float[Array, 'b n t s']]:
  """Averages of `v`, weighted by softmax(scale · q·k + bias) where `mask`.

  A query that may look at nothing gets zeros. Scores and softmax are float32.
  Every other way to compute attention (cuDNN, flash) replaces this function.

  Args:
    q: Queries.
    k: Keys.
    v: Values.
    mask: Which keys each query looks at.
    scale: Factor on q·k.
    bias: Added to the scores.
    rate: Dropout on the weights, if a key is given.
    key: For dropout.

  Returns:
    The averages, and the weights before dropout.
  """
  b, t, n, h = q.shape
  s, kv = k.shape[1:3]
  q = (q * scale).reshape(b, t, kv, n // kv, h)
  scores = jnp.einsum(
    'btkgh,bskh->bkgts', q, k, preferred_element_type=jnp.float32
  )
  if bias is not None:
    scores = scores + bias.reshape(*bias.shape[:-3], kv, n // kv, t, s)
  weights = masked_softmax(scores, mask[:, None, None])
  dropped = layers.dropout(weights, rate, key).astype(v.dtype)
  y = jnp.einsum('bkgts,bskh->btkgh', dropped, v)
  return y.reshape(b, t, n, h), weights.reshape(b, n, t, s)


@jax.custom_vjp
def masked_softmax(scores, mask):
  """Softmax over the last axis where `mask`, 0 elsewhere; never NaN.

  Its gradient keeps the result alone.
  """
  scores = scores + jnp.where(mask, 0.0, MASKED)
  e = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
  seeing = jnp.any(mask, axis=-1, keepdims=True)
  return e * jnp.where(seeing, 1 / jnp.sum(e, axis=-1, keepdims=True), 0.0)


def _softmax_forward(scores, mask):
  weights = masked_softmax(scores, mask)
  return weights, weights


def _softmax_backward(weights, g):
  inner = jnp.sum(weights * g, axis=-1, keepdims=True)
  return weights * (g - inner), None


masked_softmax.defvjp(_softmax_forward, _softmax_backward)


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
    bias: Float[Array, '*#b n t s'] | None = None,
    angles: Float[Array, 'b t r'] | None = None,
    rate: float = 0.0,
    key: jax.Array | None = None,
  ) -> tuple[Float[Array, 'b t d'], Float[Array, 'b n t s']]:
    """What each of `x` reads from `memory` (itself, in self attention).

    Returns:
      The output, and the attention weights in float32.
    """
    k, v = self.project(memory, angles)
    return self.read(
      x, k, v, mask, bias=bias, angles=angles, rate=rate, key=key
    )

  def project(
    self,
    memory: Float[Array, 'b s d'],
    angles: Float[Array, 'b s r'] | None = None,
  ) -> tuple[Float[Array, 'b s k h'], Float[Array, 'b s k h']]:
    """The keys, rotated, and values of `memory`: all that is read of it."""
    k = affine(memory, self.key, self.key_bias)
    v = affine(memory, self.value, self.value_bias)
    k, v = self._clipped(k), self._clipped(v)
    return (k if angles is None else positions.rotate(k, angles)), v

  def read(
    self,
    x: Float[Array, 'b t d'],
    k: Float[Array, 'b s k h'],
    v: Float[Array, 'b s k h'],
    mask: Bool[Array, '#b t s'],
    *,
    bias: Float[Array, '*#b n t s'] | None = None,
    angles: Float[Array, 'b t r'] | None = None,
    rate: float = 0.0,
    key: jax.Array | None = None,
  ) -> tuple[Float[Array, 'b t d'], Float[Array, 'b n t s']]:
    """What each of `x` reads from keys and values that `project` made."""
    q = self._clipped(affine(x, self.query, self.query_bias))
    if angles is not None:
      q = positions.rotate(q, angles)
    y, weights = attend(
      q, k, v, mask, scale=self.spec.scale, bias=bias, rate=rate, key=key
    )
    return affine(y, self.out, self.out_bias, 2), weights

  def _clipped(self, x):
    clip = self.spec.clip
    return x if clip is None else jnp.clip(x, -clip, clip)
