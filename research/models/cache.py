"""Key/value cache: what causal blocks have read, so that it is read once.

All rows of a batch are written at one place, so a shorter prompt is padded on
its left with segment 0. Distances in the array are then those in the text, and
every kind of position works alike.

Dimensions: `b` batch, `t` new tokens, `s` room, `m` memory, `k` key and value
heads, `h` d_head.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from research.models.shape import StackShape


class KeysValues(NamedTuple):
  """Keys, already rotated, and values of one layer.

  Dimensions of one (a single row or head) are left out. Otherwise XLA's CPU
  backend writes what is new twice, and copies everything for it.
  """

  keys: Float[Array, '*heads s h']
  values: Float[Array, '*heads s h']

  @classmethod
  def of(
    cls, keys: Float[Array, 'b k s h'], values: Float[Array, 'b k s h']
  ) -> 'KeysValues':
    """Those that attention made."""
    heads = [n for n in keys.shape[:2] if n > 1]
    return cls(*(x.reshape(*heads, *x.shape[2:]) for x in (keys, values)))

  def read(
    self, n_rows: int
  ) -> tuple[Float[Array, 'b k s h'], Float[Array, 'b k s h']]:
    """Keys and values, for attention of `n_rows` rows."""
    *heads, s, h = self.keys.shape
    whole = n_rows, math.prod(heads) // n_rows, s, h
    return self.keys.reshape(whole), self.values.reshape(whole)

  def write(
    self, new: 'KeysValues', start: Int[Array, ''] | int
  ) -> 'KeysValues':
    """These with `new` in the places from `start` on."""

    def put(old, new):
      axis = old.ndim - 2
      return jax.lax.dynamic_update_slice_in_dim(old, new, start, axis)

    return KeysValues(*map(put, self, new))

  def rows(self, n_rows: int, index: Int[Array, ' c']) -> 'KeysValues':
    """Of `n_rows` rows those at `index`."""
    keys, values = self.read(n_rows)
    return KeysValues.of(keys[index], values[index])


class Memory(NamedTuple):
  """What cross attention reads: another stack's output, projected once.

  Attributes:
    read: Keys and values of each layer.
    segments: 1 for tokens, 0 for padding.
  """

  read: tuple[KeysValues, ...]
  segments: Int[Array, 'b m']


class Cache(NamedTuple):
  """What a causal stack has read, with room for more.

  Attributes:
    read: Keys and values of self attention of each layer.
    segments: 1 where a token stands, 0 for padding and where nothing is yet.
    length: Places written, padding included. Nothing checks that it stays
      within the room: whoever makes a cache knows how much will be read.
    memory: Of cross attention, if the stack has it.
  """

  read: tuple[KeysValues, ...]
  segments: Int[Array, 'b s']
  length: Int[Array, '']
  memory: Memory | None = None

  @classmethod
  def empty(
    cls,
    shape: StackShape,
    n_rows: int,
    length: int,
    memory: Memory | None = None,
  ) -> 'Cache':
    """A cache of `n_rows` rows with room for `length` tokens."""
    spec, dtype = shape.config.attention, shape.config.dtype
    empty = jnp.zeros((n_rows, spec.n_kv_heads, length, spec.d_head), dtype)
    read = (KeysValues.of(empty, empty),) * shape.n_layers
    segments = jnp.zeros((n_rows, length), jnp.int32)
    return cls(read, segments, jnp.int32(0), memory)

  def positions(self, segments: Int[Array, 'b t']) -> Int[Array, 'b t']:
    """Positions in their rows of new tokens; 0 for padding."""
    before = jnp.sum(self.segments, axis=1, keepdims=True)
    return jnp.maximum(before + jnp.cumsum(segments, axis=1) - 1, 0)

  def where(self) -> Int[Array, 'b s']:
    """Positions in their rows of what is in the cache; 0 for padding."""
    return jnp.maximum(jnp.cumsum(self.segments, axis=1) - 1, 0)

  def mark(self, segments: Int[Array, 'b t']) -> 'Cache':
    """The cache with places taken for new tokens, not yet written."""
    marked = jax.lax.dynamic_update_slice_in_dim(
      self.segments, segments, self.length, 1
    )
    length = self.length + segments.shape[1]
    return self._replace(segments=marked, length=length)

  def rows(self, index: Int[Array, ' c']) -> 'Cache':
    """The rows at `index`, in that order, each as often as it is named."""
    n = len(self.segments)

    def take(read):
      return tuple(layer.rows(n, index) for layer in read)

    memory = self.memory and Memory(
      take(self.memory.read), self.memory.segments[index]
    )
    return Cache(take(self.read), self.segments[index], self.length, memory)
