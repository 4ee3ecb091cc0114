"""The shape of one stack of a transformer, and exact counts of it.

Nothing here imports JAX.
"""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from research.models.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class StackShape:
  """One stack of equal blocks, with what comes before and after them.

  Attributes:
    config: The model the stack is part of.
    n_layers: Number of blocks.
    length: Longest sequence, in tokens.
    causal: Whether a token sees only those before it.
    cross: Whether each block attends to another stack's output, too.
  """

  config: 'ModelConfig'
  n_layers: int
  length: int
  causal: bool
  cross: bool

  @property
  def n_sublayers(self) -> int:
    """Sublayers of a block: attention, cross attention if any, and MLP."""
    return 2 + self.cross

  @property
  def final_norm(self) -> bool:
    """Whether a norm follows the last block."""
    wished = self.config.final_norm
    return self.config.residual != 'post' if wished is None else wished

  @property
  def n_params(self) -> int:
    """Blocks and norms; positions apart."""
    cfg = self.config
    block = (1 + self.cross) * cfg.attention.n_params + cfg.mlp.n_params
    shared = cfg.residual == 'parallel_shared'
    norms = self.n_layers * (1 if shared else self.n_sublayers)
    norms += cfg.embedding_norm + self.final_norm
    return self.n_layers * block + norms * cfg.norm.n_params(cfg.d_model)

  @property
  def n_position_params(self) -> int:
    cfg = self.config
    return cfg.position.n_params(self.length, cfg.d_model, cfg.n_heads)

  def block_flops(self, length: int, memory_length: int) -> int:
    """Of one block's forward pass over one sequence."""
    cfg = self.config
    flops = cfg.attention.flops(length, length) + cfg.mlp.flops(length)
    if self.cross:
      flops += cfg.attention.flops(length, memory_length)
    return flops

  def recomputed_flops(self, length: int, memory_length: int) -> int:
    """Of what a rematerialised block computes a second time.

    With 'dots', attention's products alone. Otherwise all, but a projection
    that is only added to the stream has no part in any gradient: the last one
    of a pre-norm block, every one of a parallel block.
    """
    cfg = self.config
    if cfg.remat == 'dots':
      read = (length, memory_length) if self.cross else (length,)
      return sum(cfg.attention.score_flops(length, n) for n in read)
    flops = self.block_flops(length, memory_length)
    if cfg.residual != 'post':
      flops -= cfg.mlp.output_flops(length)
    if cfg.residual.startswith('parallel'):
      flops -= (1 + self.cross) * cfg.attention.output_flops(length)
    return flops
