"""One dial to a size: width, depth, heads, and the training rule beside them.

A ladder is a list of dials. Everything a size needs follows from its dial by
the rule stated here, so that two points of a curve differ in scale and in
nothing else.
"""

import dataclasses
import math

from research.config import BadInput
from research.models.config import ModelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerLaw:
  """`value * (params / at) ** exponent`.

  Attributes:
    value: What the rule gives at `at` parameters.
    at: Non-embedding parameters where the rule is anchored.
    exponent: How it moves with size.
  """

  value: float
  at: float = 1e5
  exponent: float = 0.0

  def __post_init__(self):
    for name in ('value', 'at'):
      if getattr(self, name) <= 0:
        raise BadInput(f'{name}={getattr(self, name)} must be positive')

  def __call__(self, params: float) -> float:
    return self.value * (params / self.at) ** self.exponent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ladder:
  """The sizes of one architecture, and how each of them is trained.

  Attributes:
    base: Architecture, vocabulary, lengths and parts; its sizes are replaced.
    width: `d_model` for one unit of the dial.
    depth: Blocks for one unit of the dial (at least one is built; an
      encoder-decoder has as many on either side).
    d_head: Wished width of a head; the nearest that divides `d_model`.
    learning_rate: Peak learning rate by non-embedding parameters.
    batch_size: Sequences a batch by non-embedding parameters, rounded to a
      power of two. It does not depend on the budget, so that all budgets of a
      size share one compiled step.
    warmup_share: Share of the steps spent warming up.
  """

  base: ModelConfig
  width: int = 64
  depth: float = 1.0
  d_head: int = 64
  learning_rate: PowerLaw = PowerLaw(value=3e-3)
  batch_size: PowerLaw = PowerLaw(value=8)
  warmup_share: float = 0.05

  def __post_init__(self):
    for name in ('width', 'depth', 'd_head'):
      if getattr(self, name) <= 0:
        raise BadInput(f'{name}={getattr(self, name)} must be positive')
    if not 0 <= self.warmup_share < 1:
      raise BadInput(f'warmup_share={self.warmup_share} must lie in [0, 1)')

  def size(self, dial: int) -> ModelConfig:
    """The model at `dial`."""
    if dial < 1:
      raise BadInput(f'dial={dial} must be at least 1')
    d_model = self.width * dial
    wished = max(1, round(d_model / self.d_head))
    n_heads = next(n for n in range(wished, 0, -1) if d_model % n == 0)
    n_layers = max(1, round(self.depth * dial))
    return dataclasses.replace(
      self.base,
      d_model=d_model,
      n_layers=n_layers,
      n_decoder_layers=None,
      n_heads=n_heads,
      n_kv_heads=None,
      d_head=None,
      d_ff=None,
    )

  def sequences(self, model: ModelConfig) -> int:
    """Sequences in a batch of `model`: the rule, as a power of two."""
    wished = self.batch_size(model.n_params_non_embedding)
    return 2 ** max(0, round(math.log2(wished)))

  def steps(self, model: ModelConfig, budget: float) -> int:
    """Updates that spend `budget` model FLOPs; at least one."""
    return max(1, round(budget / (model_flops(model) * self.sequences(model))))

  def rate(self, model: ModelConfig) -> float:
    """Peak learning rate of `model`."""
    return self.learning_rate(model.n_params_non_embedding)

  def warmup(self, n_steps: int) -> int:
    """Warm-up steps of a run of `n_steps`."""
    return max(1, round(self.warmup_share * n_steps))


def model_flops(model) -> int:
  """Forward and backward FLOPs of one training sequence, plain path."""
  return model.train_flops(model.seq_len, getattr(model, 'target_len', None))
