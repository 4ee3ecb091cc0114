"""Decoder-only transformer: reads tokens left to right (GPT)."""

from collections.abc import Mapping

from flax import nnx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from research.models.attention import visible
from research.models.cache import Cache
from research.models.config import ModelConfig
from research.models.heads import Embedding, VocabularyHead
from research.models.stack import Block, Stack


class Decoder(nnx.Module):
  """Predicts each token from the ones before it, and from a prefix if any."""

  def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
    self.cfg = cfg
    self.embedding = Embedding(cfg, rngs)
    self.stack = Stack(cfg.stacks[0], rngs)
    self.head = VocabularyHead(cfg, rngs)

  def __call__(
    self,
    batch: Mapping[str, ArrayLike],
    *,
    key: jax.Array | None = None,
    attention_weights: bool = False,
  ):
    """Logits [b, t, v] in float32.

    Args:
      batch: `tokens`, `segments` and `positions` [b, t]; optionally `prefix`
        [b, t], True where a token is seen by all of its segment, and
        `token_types`.
      key: For dropout; None: no dropout.
      attention_weights: Whether to return `{'decoder': [l, b, n, t, t]}`, too.
    """
    tokens, segments, positions = (
      jnp.asarray(batch[name]) for name in ('tokens', 'segments', 'positions')
    )
    prefix, types = (
      None if name not in batch else jnp.asarray(batch[name])
      for name in ('prefix', 'token_types')
    )
    mask = visible(
      segments, segments, causal=True, prefix=prefix, window=self.cfg.window
    )
    x = self.embedding(tokens, types)
    x, weights = self.stack(
      x,
      mask,
      positions,
      causal=prefix is None,
      key=key,
      attention_weights=attention_weights,
    )
    logits = self.head(x, self.embedding.table[...])
    if attention_weights:
      return logits, {'decoder': weights['self']}
    return logits

  def start(self, n_rows: int, length: int) -> Cache:
    """An empty cache of `n_rows` rows with room for `length` tokens."""
    return Cache.empty(self.cfg.stacks[0], n_rows, length)

  def layers(self) -> tuple[Block, ...]:
    """The blocks, one by one, for `extend`."""
    return self.stack.layers()

  def extend(
    self,
    cache: Cache,
    tokens: Int[Array, 'b t'],
    segments: Int[Array, 'b t'],
    layers: tuple[Block, ...] | None = None,
  ) -> tuple[Float[Array, 'b v'], Cache]:
    """Reads `tokens` after those in the cache.

    Args:
      cache: What was read before; there must be room for `tokens`.
      tokens: A prompt, or one more token.
      segments: 1 for tokens, 0 for the padding before a shorter prompt.
      layers: What `layers` gives, to be taken apart once for many tokens.

    Returns:
      Logits of what comes after the last token, float32, and the cache.
    """
    layers = self.layers() if layers is None else layers
    x = self.embedding(tokens)
    x, cache = self.stack.extend(x, segments, cache, layers)
    return self.head(x[:, -1:], self.embedding.table[...])[:, 0], cache
