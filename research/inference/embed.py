"""Embeddings: one vector a text, the mean of what an encoder makes of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from research.config import BadInput
from research.inference.rows import Ids, bucket, padded
from research.models.config import Learned


def embed(
  model: Any, rows: Sequence[Ids], *, batch_size: int = 32
) -> Float[np.ndarray, 'n d']:
  """Unit vectors of `rows`, so that a product of two is their cosine.

  The mean of the last hidden states over all ids of a row, then its L2 norm:
  the pooling of Sentence-BERT (Reimers and Gurevych 2019, section 3) that
  all-MiniLM-L6-v2 was trained with.

  Args:
    model: An encoder; its head is not used.
    rows: Ids as the model reads them, with what frames a text ([CLS], [SEP]).
    batch_size: Rows a forward pass; the last pass is filled up with copies.

  Raises:
    BadInput: The model is no encoder, or a row is empty or too long.
  """
  _check(model, rows)
  found = []
  for start in range(0, len(rows), batch_size):
    index = np.minimum(np.arange(start, start + batch_size), len(rows) - 1)
    part = [rows[i] for i in index]
    width = bucket(max(map(len, part)))
    if isinstance(model.cfg.position, Learned):
      width = min(width, model.cfg.seq_len)
    found.append(np.asarray(_pooled(model, padded(part, width)._asdict())))
  if not found:
    return np.zeros((0, model.cfg.d_model), np.float32)
  return np.concatenate(found)[: len(rows)]


@jax.jit
def _pooled(model, batch: Mapping[str, Array]) -> Float[Array, 'b d']:
  states, _ = model.hidden(batch)
  kept = batch['segments'][..., None]
  total = jnp.sum(states.astype(jnp.float32) * kept, axis=1)
  mean = total / jnp.sum(kept, axis=1)
  return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


def _check(model, rows: Sequence[Ids]) -> None:
  architecture, seq_len = model.cfg.architecture, model.cfg.seq_len
  if architecture != 'encoder':
    raise BadInput(
      f'architecture={architecture}: has no hidden states that see the whole'
      ' text; give an encoder'
    )
  for i, row in enumerate(rows):
    if not len(row):
      raise BadInput(f'rows[{i}] is empty: write at least one id')
    if isinstance(model.cfg.position, Learned) and len(row) > seq_len:
      raise BadInput(
        f'rows[{i}]: {len(row)} ids are longer than seq_len={seq_len};'
        ' shorten it'
      )
