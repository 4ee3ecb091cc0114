"""The config of a run: everything that decides its numbers, and its logging."""

import dataclasses

from research.config import BadInput
from research.data.corruption import Causal, Objective
from research.data.pipeline import DataConfig
from research.models.config import ModelConfig
from research.models.recurrent_config import RecurrentConfig
from research.sharding import Parallelism
from research.train.checkpoints import Checkpoints
from research.train.metrics import Logging
from research.train.optimizers import AdamW, Optimizer
from research.train.schedules import Cosine, Schedule

_NO_NUMBERS = {'fingerprint': False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
  """A run.

  Attributes:
    model: What is trained.
    data: On which tokens.
    objectives: What is predicted from what, each for its share of the rows.
    optimizer: How gradients become updates.
    schedule: Course of the learning rate.
    learning_rate: Its peak.
    warmup_steps: Steps of its linear rise.
    batch_size: Rows of a step, each of `model.seq_len` corpus tokens.
    n_steps: Steps of the run.
    seed: Of weights, order, corruption and dropout.
    accumulation: Microbatches that a batch is cut into.
    clip: Largest global norm of the gradient; None for no limit.
    z_loss: Coefficient of the squared log of the softmax's divisor.
    parallelism: How a step is spread over devices.
    checkpoints: When the run is saved.
    logging: What is told of it while it goes on.
  """

  model: ModelConfig | RecurrentConfig = ModelConfig()
  data: DataConfig = DataConfig()
  objectives: tuple[Objective, ...] = (Causal(),)
  optimizer: Optimizer = AdamW()
  schedule: Schedule = Cosine()
  learning_rate: float = 3e-3
  warmup_steps: int = 100
  batch_size: int = 16
  n_steps: int = 1000
  seed: int = 0
  accumulation: int = 1
  clip: float | None = 1.0
  z_loss: float = 0.0
  parallelism: Parallelism = dataclasses.field(
    default=Parallelism(), metadata=_NO_NUMBERS
  )
  checkpoints: Checkpoints = dataclasses.field(
    default=Checkpoints(), metadata=_NO_NUMBERS
  )
  logging: Logging = dataclasses.field(default=Logging(), metadata=_NO_NUMBERS)

  def __post_init__(self):
    limits = {'batch_size': 1, 'n_steps': 1, 'accumulation': 1}
    for name, least in {**limits, 'warmup_steps': 0, 'seed': 0}.items():
      if getattr(self, name) < least:
        raise BadInput(f'{name}={getattr(self, name)} must be at least {least}')
    if self.learning_rate < 0:
      raise BadInput(f'learning_rate={self.learning_rate} must not be negative')
    if self.clip is not None and self.clip <= 0:
      raise BadInput(f'clip={self.clip} must be positive, or none')
    if self.z_loss < 0:
      raise BadInput(f'z_loss={self.z_loss} must not be negative')
    if not self.objectives:
      raise BadInput('objectives is empty: name at least one')
    data = self.parallelism.data or 1
    parts = data * self.parallelism.fsdp * self.accumulation
    if self.batch_size % parts:
      raise BadInput(
        f'batch_size={self.batch_size} must be divisible by data x fsdp x'
        f' accumulation = {data} x {self.parallelism.fsdp} x'
        f' {self.accumulation}'
      )

  @property
  def tokens_per_step(self) -> int:
    """Corpus tokens."""
    return self.batch_size * self.model.seq_len

  @property
  def flops_per_step(self) -> int:
    """Model FLOPs, forward and backward."""
    target_len = getattr(self.model, 'target_len', None)
    return self.batch_size * self.model.train_flops(
      self.model.seq_len, target_len
    )
