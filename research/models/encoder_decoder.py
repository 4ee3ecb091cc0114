"""Encoder-decoder transformer: reads one sequence, writes another (T5)."""

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


class EncoderDecoder(nnx.Module):
  """Predicts each target token from those before it and all of the source."""

  def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
    self.cfg = cfg
    encoder, decoder = cfg.stacks
    self.embedding = Embedding(cfg, rngs)
    self.encoder = Stack(encoder, rngs)
    self.decoder = Stack(decoder, rngs)
    self.head = VocabularyHead(cfg, rngs)

  def __call__(
    self,
    batch: Mapping[str, ArrayLike],
    *,
    key: jax.Array | None = None,
    attention_weights: bool = False,
  ):
    """Logits [b, t, v] in float32, of the decoder's tokens.

    Args:
      batch: `tokens`, `segments` and `positions` [b, s], and the same with
        `decoder_` before the name, [b, t]. A target looks at the source with
        its own segment number. Optionally `token_types` [b, s].
      key: For dropout; None: no dropout.
      attention_weights: Whether to return `{'encoder': [l, b, n, s, s],
        'decoder': [l, b, n, t, t], 'cross': [l, b, n, t, s]}`, too.
    """
    names = 'tokens', 'segments', 'positions'
    tokens, segments, positions = (jnp.asarray(batch[n]) for n in names)
    targets, target_segments, target_positions = (
      jnp.asarray(batch[f'decoder_{n}']) for n in names
    )
    types = batch.get('token_types')
    types = None if types is None else jnp.asarray(types)
    keys = (None, None) if key is None else jax.random.split(key)
    memory, read = self.encoder(
      self.embedding(tokens, types),
      visible(segments, segments),
      positions,
      key=keys[0],
      attention_weights=attention_weights,
    )
    x, written = self.decoder(
      self.embedding(targets),
      visible(
        target_segments,
        target_segments,
        causal=True,
        window=self.cfg.window,
      ),
      target_positions,
      memory=memory,
      memory_mask=visible(target_segments, segments),
      causal=True,
      key=keys[1],
      attention_weights=attention_weights,
    )
    logits = self.head(x, self.embedding.table[...])
    if attention_weights:
      return logits, {
        'encoder': read['self'],
        'decoder': written['self'],
        'cross': written['cross'],
      }
    return logits

  def start(self, batch: Mapping[str, ArrayLike], length: int) -> Cache:
    """Reads the source, `tokens`, `segments` and `positions` [b, s].

    Returns:
      A cache with the keys and values of the source, computed once, and room
      for `length` tokens of the decoder.
    """
    tokens, segments, positions = (
      jnp.asarray(batch[name]) for name in ('tokens', 'segments', 'positions')
    )
    memory, _ = self.encoder(
      self.embedding(tokens), visible(segments, segments), positions
    )
    return Cache.empty(
      self.cfg.stacks[1],
      len(tokens),
      length,
      self.decoder.remember(memory, segments),
    )

  def layers(self) -> tuple[Block, ...]:
    """The decoder's blocks, one by one, for `extend`."""
    return self.decoder.layers()

  def extend(
    self,
    cache: Cache,
    tokens: Int[Array, 'b t'],
    segments: Int[Array, 'b t'],
    layers: tuple[Block, ...] | None = None,
  ) -> tuple[Float[Array, 'b v'], Cache]:
    """Reads decoder `tokens` after those in the cache, as `Decoder.extend`."""
    layers = self.layers() if layers is None else layers
    x = self.embedding(tokens)
    x, cache = self.decoder.extend(x, segments, cache, layers)
    return self.head(x[:, -1:], self.embedding.table[...])[:, 0], cache
