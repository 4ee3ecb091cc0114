"""How a transformer is told the order of tokens.

Every kind is a module with the same three methods, most of them idle: `add` to
the embeddings, `rotation` of queries and keys, `bias` on the scores. `add` and
`rotation` read the batch's positions; `bias` reads distances in the array,
which within a packed document are the same, unless it rounds positions.
"""

import math

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

from research.config import BadInput
from research.models import layers, parts
from research.models.shape import StackShape


class NoPosition(nnx.Module):
  """Says nothing about order; the base of the kinds that do.

  Attributes:
    by_position: Whether `bias` reads positions, [b, t], and not indices, [t].
  """

  by_position = False

  def add(
    self, x: Float[Array, 'b t d'], positions: Int[Array, 'b t']
  ) -> Float[Array, 'b t d']:
    """Embeddings with positions added."""
    return x

  def rotation(
    self, positions: Int[Array, 'b t']
  ) -> Float[Array, 'b t r'] | None:
    """Angles by which `rotate` turns queries and keys, or None."""
    return None

  def bias(
    self, query: Int[Array, '*b t'], key: Int[Array, '*b s']
  ) -> Float[Array, '*b n t s'] | None:
    """What is added to the scores of queries and keys at these indices."""
    return None


class Sinusoidal(NoPosition):
  """Fixed sines and cosines, added to the embeddings."""

  def __init__(self, spec: parts.Sinusoidal):
    self.spec = spec

  def add(self, x, positions):
    return x + sinusoids(positions, x.shape[-1], self.spec.base).astype(x.dtype)


class Learned(NoPosition):
  """One learned vector a position, added to the embeddings."""

  def __init__(self, length: int, d_model: int, rngs: nnx.Rngs):
    size = length, d_model
    self.table = layers.weight(
      rngs, size, ('position', 'embed'), std=layers.EMBEDDING_STD
    )

  def add(self, x, positions):
    if x.shape[1] > self.table.shape[0]:
      raise BadInput(
        f'a sequence of {x.shape[1]} tokens is longer than the'
        f' {self.table.shape[0]} learned positions: shorten it, or raise'
        ' seq_len or target_len'
      )
    return x + self.table[...][positions].astype(x.dtype)


class Rotary(NoPosition):
  """Turns pairs of each head's dimensions by an angle that grows with t."""

  def __init__(self, spec: parts.Rotary, d_head: int):
    self.base, self.stretch = spec.base, spec.stretch
    self.n_rotated = spec.n_rotated(d_head)

  def rotation(self, positions):
    n = self.n_rotated
    frequency = self.base ** -(np.arange(0, n, 2, dtype=np.float32) / n)
    return positions[..., None] * jnp.asarray(
      frequency / self.stretch, jnp.float32
    )


class ALiBi(NoPosition):
  """A penalty on the scores, linear in distance."""

  def __init__(self, spec: parts.ALiBi, n_heads: int):
    self.spec, self.n_heads = spec, n_heads
    # Padding before a row moves what is rounded, though not how far it is.
    self.by_position = spec.rounded

  def bias(self, query, key):
    spec = self.spec
    slopes = alibi_slopes(self.n_heads, spec.max_exponent)
    slopes = jnp.asarray(slopes, jnp.float32)[:, None, None]
    if not spec.rounded:
      return -spec.scale * slopes * jnp.abs(query[:, None] - key[None, :])
    # Falcon adds slope·key alone: softmax does not feel what all keys share.
    at_query, at_key = (
      _rounded(_rounded(slopes) * _rounded(index.astype(jnp.float32)))
      for index in (query[..., None, :, None], key[..., None, None, :])
    )
    return -spec.scale * jnp.abs(at_query - at_key)


def _rounded(x: Float[Array, '*b']) -> Float[Array, '*b']:
  """`x` to the eight bits of bfloat16; a compiler may drop a cast there."""
  return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


class RelativeBuckets(NoPosition):
  """A learned bias a head and bucket of distance, one table for all layers."""

  def __init__(
    self,
    spec: parts.RelativeBuckets,
    n_heads: int,
    causal: bool,
    rngs: nnx.Rngs,
  ):
    self.spec, self.causal = spec, causal
    self.table = layers.weight(
      rngs,
      (spec.n_buckets, n_heads),
      ('position', 'heads'),
      std=layers.EMBEDDING_STD,
    )

  def bias(self, query, key):
    buckets = relative_buckets(
      key[None, :] - query[:, None],
      bidirectional=not self.causal,
      n_buckets=self.spec.n_buckets,
      max_distance=self.spec.max_distance,
    )
    return self.table[...].T[:, buckets]


def build(shape: StackShape, rngs: nnx.Rngs) -> NoPosition:
  """The module for the config's kind of position."""
  cfg = shape.config
  match cfg.position:
    case parts.NoPosition():
      return NoPosition()
    case parts.Sinusoidal() as spec:
      return Sinusoidal(spec)
    case parts.Learned():
      return Learned(shape.length, cfg.d_model, rngs)
    case parts.Rotary() as spec:
      return Rotary(spec, cfg.attention.d_head)
    case parts.ALiBi() as spec:
      return ALiBi(spec, cfg.n_heads)
    case parts.RelativeBuckets() as spec:
      return RelativeBuckets(spec, cfg.n_heads, shape.causal, rngs)


def sinusoids(
  positions: Int[Array, '*b'], d: int, base: float = 10_000.0
) -> Float[Array, '*b d']:
  """Sines in the even, cosines in the odd of `d` channels.

  Channels 2i and 2i+1 have frequency base^(-2i/d) (Vaswani et al. 2017,
  section 3.5).
  """
  frequency = base ** -(np.arange(0, d, 2, dtype=np.float32) / d)
  angle = positions[..., None] * jnp.asarray(frequency, jnp.float32)
  both = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
  return both.reshape(*positions.shape, d)


def rotate(
  x: Float[Array, 'b t n h'], angles: Float[Array, 'b t r']
) -> Float[Array, 'b t n h']:
  """Turns channel pairs (i, i + r) of the first 2r channels by `angles`.

  The half-split layout of GPT-NeoX and LLaMA (Su et al. 2021, eq. 34, with
  channels permuted). Channels from 2r on are left as they are.
  """
  r = angles.shape[-1]
  sin, cos = jnp.sin(angles)[:, :, None], jnp.cos(angles)[:, :, None]
  y = x.astype(jnp.float32)
  a, b, rest = y[..., :r], y[..., r : 2 * r], x[..., 2 * r :]
  turned = [a * cos - b * sin, b * cos + a * sin]
  return jnp.concatenate([*(p.astype(x.dtype) for p in turned), rest], axis=-1)


def alibi_slopes(n_heads: int, max_exponent: float = 8.0) -> np.ndarray:
  """The slopes of Press et al. (2022), section 3, float64 [n_heads].

  For n a power of two: 2^(-max_exponent·i/n), i = 1…n. Otherwise, as in the
  authors' code, those of the next lower power of two, then every second one of
  the next higher.
  """
  lower = 2 ** math.floor(math.log2(n_heads))
  slopes = 2.0 ** (-max_exponent * np.arange(1, lower + 1) / lower)
  odd = np.arange(1, 2 * lower + 1, 2)
  between = 2.0 ** (-max_exponent / 2 * odd / lower)
  return np.concatenate([slopes, between])[:n_heads]


def relative_buckets(
  distance: Int[Array, '*b'],
  *,
  bidirectional: bool,
  n_buckets: int,
  max_distance: int,
) -> Int[Array, '*b']:
  """T5's bucket of each distance, key index minus query index.

  Half of the buckets hold one distance each, the others grow logarithmically
  up to `max_distance` (Raffel et al. 2020, section 2.1, and the authors' code).
  Bidirectionally, half of all buckets are for keys after the query; else such
  keys share bucket 0. Looked up in a table, so equal on every device.
  """
  offset = jnp.zeros_like(distance)
  past = jnp.maximum(-distance, 0)
  if bidirectional:
    n_buckets //= 2
    offset = jnp.where(distance > 0, n_buckets, 0)
    past = jnp.abs(distance)
  table = jnp.asarray(_past_buckets(n_buckets, max_distance), distance.dtype)
  return offset + table[jnp.minimum(past, max_distance)]


def _past_buckets(n_buckets: int, max_distance: int) -> np.ndarray:
  """The bucket of each distance from 0 to `max_distance`."""
  distance = np.arange(max_distance + 1)
  exact = n_buckets // 2
  ratio = np.float32(np.maximum(distance, exact)) / np.float32(exact)
  share = np.log(ratio) / np.float32(math.log(max_distance / exact))
  coarse = exact + (share * (n_buckets - exact)).astype(np.int32)
  return np.where(distance < exact, distance, np.minimum(coarse, n_buckets - 1))
