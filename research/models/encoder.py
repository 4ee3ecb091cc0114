"""Encoder-only transformer: each token is read from both sides (BERT)."""

from collections.abc import Mapping

from flax import nnx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from research.models.attention import visible
from research.models.config import ModelConfig
from research.models.heads import Embedding, VocabularyHead
from research.models.stack import Stack


class Encoder(nnx.Module):
  """Predicts the token at each position from all tokens of its segment."""

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
      batch: `tokens`, `segments` and `positions` [b, t], and `token_types` if
        the model has them (absent: all 0).
      key: For dropout; None: no dropout.
      attention_weights: Whether to return `{'encoder': [l, b, n, t, t]}`, too.
    """
    x, weights = self.hidden(
      batch, key=key, attention_weights=attention_weights
    )
    logits = self.head(x, self.embedding.table[...])
    if attention_weights:
      return logits, {'encoder': weights['self']}
    return logits

  def hidden(
    self,
    batch: Mapping[str, ArrayLike],
    *,
    key: jax.Array | None = None,
    attention_weights: bool = False,
  ) -> tuple[Float[Array, 'b t d'], dict[str, Float[Array, 'l b n t t']]]:
    """What the head reads: the stream after the last norm, with no head on it.

    Takes what `__call__` takes; returns attention weights if asked for, too.
    """
    tokens, segments, positions = (
      jnp.asarray(batch[name]) for name in ('tokens', 'segments', 'positions')
    )
    types = batch.get('token_types')
    types = None if types is None else jnp.asarray(types)
    return self.stack(
      self.embedding(tokens, types),
      visible(segments, segments),
      positions,
      key=key,
      attention_weights=attention_weights,
    )
