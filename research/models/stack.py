"""A stack of equal blocks, with positions before and a norm after it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from research.models import layers, positions
from research.models.attention import Attention, Joined, visible
from research.models.cache import Cache, KeysValues, Memory
from research.models.shape import StackShape


class Surroundings(NamedTuple):
  """What the blocks of a stack have in common.

  Attributes:
    mask: What each token may look at in its own sequence.
    bias: Added to the scores of self attention.
    angles: Rotation of queries and keys in self attention.
    memory: Another stack's output.
    memory_mask: What each token may look at in the memory.
    causal: Whether `mask` hides whatever comes after a token.
    start: Where in the cache, if there is one, the first token stands.
  """

  mask: Bool[Array, '#b t s']
  bias: Float[Array, '*b n t s'] | None = None
  angles: Float[Array, 'b t r'] | None = None
  memory: Float[Array, 'b m d'] | None = None
  memory_mask: Bool[Array, 'b t m'] | None = None
  causal: bool = False
  start: Int[Array, ''] | None = None


class Past(NamedTuple):
  """What one block has in a cache.

  Attributes:
    read: Keys and values of its self attention.
    memory: Those of its cross attention, if it has any.
  """

  read: KeysValues
  memory: KeysValues | None


class Block(nnx.Module):
  """Attention, cross attention if any, and an MLP, added to the stream."""

  def __init__(self, shape: StackShape, rngs: nnx.Rngs):
    cfg = shape.config
    small = (shape.n_sublayers * shape.n_layers) ** -0.5
    shared = cfg.residual == 'parallel_shared'

    def attention():
      return Attention(cfg.attention, rngs, output_scale=small)

    def norm():
      return layers.norm(cfg.norm, cfg.d_model)

    self.shape = shape
    self.attention = attention()
    self.attention_norm = norm()
    self.cross = attention() if shape.cross else None
    self.cross_norm = norm() if shape.cross and not shared else None
    self.mlp = layers.MLP(cfg.mlp, rngs, output_scale=small)
    self.mlp_norm = None if shared else norm()

  def __call__(
    self,
    x: Float[Array, 'b t d'],
    around: Surroundings,
    key: jax.Array | None = None,
    past: Past | None = None,
    attention_weights: bool = False,
  ) -> tuple[
    Float[Array, 'b t d'], dict[str, Float[Array, 'b n t _']], KeysValues
  ]:
    """The stream after this block.

    Returns:
      The stream, the weights of its attention if asked for, and the keys and
      values of its self attention, those of the past included.
    """
    cfg, weights, made = self.shape.config, {}, []
    how: dict[str, Any] = {'rate': cfg.dropout, 'weights': attention_weights}
    keys = iter([None] * 6 if key is None else jax.random.split(key, 6))

    def attention(y):
      queries, *own = self.attention.heads(y, around.angles)
      read = KeysValues.of(*own)
      if past is not None:
        assert around.start is not None
        read = past.read.write(read, around.start)
      made.append(read)
      y, weights['self'] = self.attention.read(
        queries,
        *read.read(len(y)),
        around.mask,
        bias=around.bias,
        causal=around.causal,
        key=next(keys),
        **how,
      )
      return layers.dropout(y, cfg.dropout, next(keys))

    def cross(y):
      assert self.cross is not None and around.memory_mask is not None
      if past is None:
        assert around.memory is not None
        read = KeysValues.of(*self.cross.project(around.memory))
      else:
        assert past.memory is not None
        read = past.memory
      y, weights['cross'] = self.cross.read(
        self.cross.queries(y),
        *read.read(len(y)),
        around.memory_mask,
        key=next(keys),
        **how,
      )
      return layers.dropout(y, cfg.dropout, next(keys))

    def mlp(y):
      return layers.dropout(self.mlp(y), cfg.dropout, next(keys))

    branches = [(attention, self.attention_norm)]
    branches += [(cross, self.cross_norm)] if self.shape.cross else []
    branches += [(mlp, self.mlp_norm)]
    x = _RESIDUALS[cfg.residual](x, branches)
    return x, weights if attention_weights else {}, made[0]


def _pre(x, branches):
  for branch, norm in branches:
    x = x + branch(norm(x))
  return x


def _pre_normed(x, branches):
  for branch, norm in branches:
    x = norm(x)
    x = x + branch(x)
  return x


def _post(x, branches):
  for branch, norm in branches:
    x = norm(x + branch(x))
  return x


def _parallel(x, branches):
  return x + sum(branch(norm(x)) for branch, norm in branches)


def _parallel_shared(x, branches):
  y = branches[0][1](x)
  return x + sum(branch(y) for branch, _ in branches)


_RESIDUALS = {
  'pre': _pre,
  'pre_normed': _pre_normed,
  'post': _post,
  'parallel': _parallel,
  'parallel_shared': _parallel_shared,
}


class Stack(nnx.Module):
  """Positions, blocks with stacked weights one after another, final norm.

  Stacking keeps the compiled program, and the number of arrays, independent of
  depth.
  """

  def __init__(self, shape: StackShape, rngs: nnx.Rngs):
    cfg = shape.config
    self.shape = shape
    self.position = positions.build(shape, rngs)
    self.embedding_norm = (
      layers.norm(cfg.norm, cfg.d_model) if cfg.embedding_norm else None
    )
    keys = jax.random.split(rngs.params(), shape.n_layers)
    self.blocks = _name_layers(
      jax.vmap(lambda key: Block(shape, nnx.Rngs(key)))(keys)
    )
    self.norm = layers.norm(cfg.norm, cfg.d_model) if shape.final_norm else None

  def __call__(
    self,
    x: Float[Array, 'b t d'],
    mask: Bool[Array, '#b t t'],
    where: Int[Array, 'b t'],
    *,
    memory: Float[Array, 'b s d'] | None = None,
    memory_mask: Bool[Array, 'b t s'] | None = None,
    causal: bool = False,
    key: jax.Array | None = None,
    attention_weights: bool = False,
  ) -> tuple[Float[Array, 'b t d'], dict[str, Float[Array, 'l b n t _']]]:
    """Applies the stack to token embeddings `x` at positions `where`.

    Args:
      x: Token embeddings.
      mask: What each token may look at.
      where: Position of each token in its document.
      memory: Another stack's output, for cross attention.
      memory_mask: What each token may look at in the memory.
      causal: Whether `mask` hides whatever comes after a token.
      key: For dropout; None: no dropout.
      attention_weights: Whether to keep the attention weights.

    Returns:
      The stream after the last norm; if asked for, attention weights of all
      layers, of `self` attention and, with a memory, of `cross` attention.
    """
    cfg = self.shape.config
    place = where if self.position.by_position else jnp.arange(x.shape[1])
    around = Surroundings(
      mask,
      self.position.bias(place, place),
      self.position.rotation(where),
      memory,
      memory_mask,
      causal,
    )
    x = self._enter(x, where)
    keys = None
    if key is not None:
      first, rest = jax.random.split(key)
      keys = jax.random.split(rest, self.shape.n_layers)
      x = layers.dropout(x, cfg.dropout, first)

    def apply(x, layer):
      block, key = layer
      return block(x, around, key, attention_weights=attention_weights)[:2]

    if cfg.remat:
      policies = jax.checkpoint_policies
      kept = policies.dots_with_no_batch_dims_saveable
      policy = kept if cfg.remat == 'dots' else None
      apply = jax.checkpoint(apply, prevent_cse=False, policy=policy)
    unroll = cfg.unroll or 1
    x, weights = jax.lax.scan(apply, x, (self.blocks, keys), unroll=unroll)
    return self._leave(x), weights

  def extend(
    self,
    x: Float[Array, 'b t d'],
    segments: Int[Array, 'b t'],
    cache: Cache,
    layers: Sequence[Block],
  ) -> tuple[Float[Array, 'b t d'], Cache]:
    """Applies a causal stack to tokens that come after those in the cache.

    Args:
      x: Token embeddings.
      segments: 1 for tokens, 0 for the padding before a shorter row.
      cache: What was read before; there must be room for `x`.
      layers: The stack's own (`layers`).

    Returns:
      The stream after the last norm, and the cache with `x` in it.
    """
    start, where = cache.length, cache.positions(segments)
    kept = cache.mark(segments)
    memory = cache.memory
    if self.position.by_position:
      places = where, kept.where()
    else:
      room = kept.segments.shape[1]
      places = start + jnp.arange(x.shape[1]), jnp.arange(room)
    around = Surroundings(
      visible(
        segments,
        kept.segments,
        causal=True,
        window=self.shape.config.window,
        start=start,
      ),
      self.position.bias(*places),
      self.position.rotation(where),
      memory_mask=memory and visible(segments, memory.segments),
      start=start,
    )

    x, read = self._enter(x, where), []
    for i, block in enumerate(layers):
      past = Past(cache.read[i], memory and memory.read[i])
      x, _, made = block(x, around, past=past)
      read.append(made)
    return self._leave(x), kept._replace(read=tuple(read))

  def layers(self) -> tuple[Block, ...]:
    """The blocks, each with arrays of its own.

    A loop over tokens reads these faster: from the stacked ones every product
    would first copy its layer. Queries, keys and values are one product.
    """

    def layer(i):
      block = jax.tree.map(lambda x: x[i], self.blocks)
      block.attention = Joined(block.attention)
      return block

    return tuple(map(layer, range(self.shape.n_layers)))

  def remember(
    self, memory: Float[Array, 'b m d'], segments: Int[Array, 'b m']
  ) -> Memory:
    """The keys and values of cross attention with `memory`, all layers."""
    read = []
    for block in self.layers():
      assert block.cross is not None
      read.append(KeysValues.of(*block.cross.project(memory)))
    return Memory(tuple(read), segments)

  def _enter(self, x, where):
    x = self.position.add(x, where)
    return x if self.embedding_norm is None else self.embedding_norm(x)

  def _leave(self, x):
    return x if self.norm is None else self.norm(x)


def _name_layers(blocks: Block) -> Block:
  """The stacked blocks, with `layers` first among the axes' names."""

  def name(param):
    return nnx.Param(param[...], axes=('layers', *param.axes))

  return jax.tree.map(name, blocks, is_leaf=lambda x: isinstance(x, nnx.Param))
