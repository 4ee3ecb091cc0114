"""The shape of an LSTM language model, with its exact counts; no JAX."""

import dataclasses
from typing import Literal

from research.config import BadInput


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
  """Sizes of a stack of LSTM layers between an embedding and a head.

  Attributes:
    vocab_size: Number of token ids.
    seq_len: Longest sequence the model is trained on.
    d_model: Width of the embedding and of every layer's state.
    n_layers: Number of LSTM layers.
    tied_head: Whether the head is the embedding again.
    dtype: Type of the matrix products; parameters and states are float32.
  """

  vocab_size: int = 512
  seq_len: int = 128
  d_model: int = 64
  n_layers: int = 1
  tied_head: bool = True
  dtype: Literal['float32', 'bfloat16'] = 'float32'

  def __post_init__(self):
    for name in ('vocab_size', 'seq_len', 'd_model', 'n_layers'):
      if getattr(self, name) < 1:
        raise BadInput(f'{name}={getattr(self, name)} must be at least 1')

  @property
  def architecture(self) -> Literal['lstm']:
    return 'lstm'

  @property
  def n_params(self) -> int:
    """All trained parameters."""
    tables = 1 if self.tied_head else 2
    return self.n_params_non_embedding + tables * self.vocab_size * self.d_model

  @property
  def n_params_non_embedding(self) -> int:
    """Trained parameters without the embedding and an untied head."""
    return self.n_layers * (8 * self.d_model**2 + 4 * self.d_model)

  def forward_flops(
    self, source_len: int, target_len: int | None = None
  ) -> int:
    """FLOPs of the matrix products of one forward pass over one sequence.

    Args:
      source_len: Number of tokens read.
      target_len: Must be None: there is no second side.
    """
    if target_len is not None:
      raise BadInput(f'target_len={target_len}: an LSTM has one side; use None')
    d = self.d_model
    return 2 * source_len * d * (8 * d * self.n_layers + self.vocab_size)

  def train_flops(self, source_len: int, target_len: int | None = None) -> int:
    """As `forward_flops`, of one forward and backward pass."""
    return 3 * self.forward_flops(source_len, target_len)

  def executed_flops(
    self, source_len: int, target_len: int | None = None
  ) -> int:
    """As `train_flops`: nothing is computed twice and nothing skipped."""
    return self.train_flops(source_len, target_len)
