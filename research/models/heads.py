"""From the stream at the foot of a model to vocabulary, and back at its top."""

import math

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from research.models import layers
from research.models.config import ModelConfig
from research.models.layers import EMBEDDING_STD, affine, weight, zeros


class Embedding(nnx.Module):
  """Vectors of tokens and of token types."""

  def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
    self.cfg = cfg
    d, v, types = cfg.d_model, cfg.vocab_size, cfg.n_token_types
    e = cfg.d_embedding or d
    self.table = weight(rngs, (v, e), ('vocab', 'embed'), std=EMBEDDING_STD)
    self.widen = (
      weight(rngs, (e, d), ('mlp', 'embed'), std=e**-0.5)
      if cfg.d_embedding
      else None
    )
    self.types = (
      weight(rngs, (types, d), ('position', 'embed'), std=EMBEDDING_STD)
      if types
      else None
    )

  def __call__(
    self,
    tokens: Int[Array, 'b t'],
    types: Int[Array, 'b t'] | None = None,
  ) -> Float[Array, 'b t d']:
    """Embeddings in the dtype of computation; without `types` all are 0."""
    x = self.table[...][tokens] * self.cfg.embedding_factor
    x = x if self.widen is None else layers.linear(x, self.widen[...])
    if self.types is not None:
      types = jnp.zeros_like(tokens) if types is None else types
      x = x + self.types[...][types]
    return x.astype(self.cfg.dtype)


class Transform(nnx.Module):
  """The dense layer, activation and norm that begin BERT's head."""

  def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
    d = cfg.d_model
    self.cfg = cfg
    self.dense = weight(rngs, (d, d), ('embed', 'mlp'), std=d**-0.5)
    self.bias = zeros(d, 'mlp')
    self.norm = layers.norm(cfg.norm, d)

  def __call__(self, x: Float[Array, 'b t d']) -> Float[Array, 'b t d']:
    x = affine(x, self.dense, self.bias)
    return self.norm(layers.activation(self.cfg.activation, x))


class VocabularyHead(nnx.Module):
  """Logits over the vocabulary, after BERT's transform if there is one."""

  def __init__(self, cfg: ModelConfig, rngs: nnx.Rngs):
    self.cfg = cfg
    d, v = cfg.d_model, cfg.vocab_size
    e = cfg.d_embedding or d
    self.transform = Transform(cfg, rngs) if cfg.head_transform else None
    self.narrow = (
      weight(rngs, (d, e), ('embed', 'mlp'), std=d**-0.5)
      if cfg.d_embedding
      else None
    )
    self.weight = (
      None
      if cfg.tied_head
      else weight(rngs, (e, v), ('embed', 'vocab'), std=EMBEDDING_STD)
    )
    self.bias = zeros(v, 'vocab') if cfg.head_bias else None

  def __call__(
    self, x: Float[Array, 'b t d'], table: Float[Array, 'v e']
  ) -> Float[Array, 'b t v']:
    """Logits in float32; a tied head multiplies by the embedding `table`."""
    if self.transform is not None:
      x = self.transform(x)
    x = x if self.narrow is None else layers.linear(x, self.narrow[...])
    if self.cfg.logit_scale != 1:
      x = x * self.cfg.logit_scale
    if self.weight is None:
      logits = _tied(x, table)
    else:
      logits = layers.linear(x, self.weight[...], 1, jnp.float32)
    return logits if self.bias is None else logits + self.bias[...]


# Below, XLA's CPU backend reads a table faster than the table transposed.
_FEW = 64


def _tied(x, table):
  n = math.prod(x.shape[:-1])
  if n == 1 or n >= _FEW:
    return layers.linear(x, table.T, 1, jnp.float32)
  columns = layers.in_memory(x.reshape(n, -1).T)
  logits = jnp.matmul(
    table.astype(x.dtype), columns, preferred_element_type=jnp.float32
  )
  return layers.in_memory(logits).T.reshape(*x.shape[:-1], -1)
