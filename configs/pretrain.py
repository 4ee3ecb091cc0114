"""Pretraining of one model on the embedded corpus, bytes as tokens.

python -m experiments.train --config=configs.pretrain:decoder --workdir=runs/a

An untrained model has a loss of ln 274 = 5.6 nats a token. `decoder` ends at
1.40 after 2.0 M tokens, 1.2e13 FLOPs: 390 s of two busy cores; `tiny` at 2.91.
"""

import dataclasses

from research.data.corruption import (
  Causal,
  Masked,
  SpanCorruption,
  SuffixPrediction,
)
from research.models.config import ModelConfig
from research.models.recurrent_config import RecurrentConfig
from research.train.config import TrainConfig
from research.train.metrics import Logging

VOCAB_SIZE = 274  # 256 bytes, separator, mask, 16 sentinels
SEQ_LEN = 128
TARGET_LEN = 32  # span corruption of 128 tokens needs 26
SUFFIX = SuffixPrediction(max_length=TARGET_LEN, share=0.5)
MODEL = ModelConfig(
  vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN, d_model=128, n_layers=4
)


def decoder() -> TrainConfig:
  """A GPT: each token from those before it."""
  return TrainConfig(model=MODEL)


def encoder() -> TrainConfig:
  """A BERT: masked tokens, and the end of a row from its beginning."""
  return TrainConfig(
    model=dataclasses.replace(
      MODEL, architecture='encoder', head_transform=True
    ),
    objectives=(Masked(share=0.5), SUFFIX),
  )


def encoder_decoder() -> TrainConfig:
  """A T5: spans that were taken out, and the end of a row."""
  return TrainConfig(
    model=dataclasses.replace(
      MODEL, architecture='encoder_decoder', target_len=TARGET_LEN, n_layers=2
    ),
    objectives=(SpanCorruption(share=0.5), SUFFIX),
  )


def lstm() -> TrainConfig:
  """What came before transformers."""
  return TrainConfig(
    model=RecurrentConfig(vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN, d_model=128),
    objectives=(Causal(),),
  )


def tiny() -> TrainConfig:
  """A decoder that trains on one core in seconds: tests, first tries."""
  return _tiny(decoder(), n_layers=2)


def tiny_encoder() -> TrainConfig:
  """As `tiny`, an encoder."""
  return _tiny(encoder(), n_layers=2)


def tiny_encoder_decoder() -> TrainConfig:
  """As `tiny`, an encoder-decoder."""
  return _tiny(encoder_decoder(), n_layers=1)


def _tiny(cfg: TrainConfig, n_layers: int) -> TrainConfig:
  sizes = {'d_model': 16, 'n_heads': 2, 'n_layers': n_layers}
  return dataclasses.replace(
    cfg,
    model=dataclasses.replace(cfg.model, **sizes),
    batch_size=8,
    n_steps=200,
    warmup_steps=10,
    learning_rate=1e-2,
    logging=Logging(every=1),
  )
