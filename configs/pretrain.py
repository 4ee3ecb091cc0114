"""Pretraining of one model on the embedded corpus, bytes as tokens.

python -m experiments.train --config=configs.pretrain:decoder --workdir=…
"""

from research.data.corruption import (
  Causal,
  Masked,
  SpanCorruption,
  SuffixPrediction,
)
from research.data.pipeline import DataConfig
from research.data.tokenizers import Bytes
from research.models.config import ModelConfig
from research.train.config import TrainConfig


def decoder() -> TrainConfig:
  """A GPT of 0.8M parameters."""
  return TrainConfig(model=ModelConfig(vocab_size=288, d_model=128, n_layers=4))
