"""What is measured: shapes, and their targets (BENCHMARKS.md)."""

import dataclasses
from typing import Any

from research.models.config import (
  LayerNorm,
  Learned,
  ModelConfig,
  RelativeBuckets,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """One thing that is timed.

  Attributes:
    suite: `step`, `sweep`, `score`, `decode`, `input` or `checkpoint`.
    name: Unique within the suite.
    model: Its shape; in a sweep, the last one.
    batch: Rows.
    n_new: Tokens written after each prompt.
    target: What is aimed at, in words.
    chosen: Whether it is measured when no case is named.
  """

  suite: str
  name: str
  model: ModelConfig
  batch: int = 8
  n_new: int = 0
  target: str = ''
  chosen: bool = True


def gpt2(d_model: int, n_layers: int, seq_len: int, vocab: int) -> ModelConfig:
  """GPT-2's parts (Radford et al. 2019), heads of 64, layers unrolled."""
  return ModelConfig(
    vocab_size=vocab,
    seq_len=seq_len,
    d_model=d_model,
    n_layers=n_layers,
    n_heads=d_model // 64,
    norm=LayerNorm(),
    position=Learned(),
    activation='gelu_tanh',
    bias=True,
    unroll=True,
  )


BERT = ModelConfig(
  architecture='encoder',
  vocab_size=8192,
  seq_len=256,
  d_model=256,
  n_layers=4,
  n_heads=4,
  norm=LayerNorm(eps=1e-12),
  residual='post',
  position=Learned(),
  activation='gelu',
  bias=True,
  head_bias=True,
  head_transform=True,
  embedding_norm=True,
  n_token_types=2,
  unroll=True,
)
T5 = ModelConfig(
  architecture='encoder_decoder',
  vocab_size=8192,
  seq_len=256,
  target_len=64,
  d_model=256,
  n_layers=4,
  n_heads=4,
  position=RelativeBuckets(),
  activation='relu',
  attention_scale=1.0,
  logit_scale=256**-0.5,
  unroll=True,
)
_42M = gpt2(512, 8, 512, 32768)  # 42.3M parameters
_BIG = '>= 1.0 x torch.compile with flash attention, on one H100'

# The sweep: decoders of bytes, 7k to 1.8M parameters, five steps of 16 x 256.
SWEEP = tuple(
  ModelConfig(
    vocab_size=256,
    seq_len=256,
    d_model=d_model,
    n_layers=n_layers,
    n_heads=max(1, d_model // 32),
  )
  for d_model, n_layers in (
    (16, 1),
    (32, 2),
    (64, 2),
    (96, 3),
    (128, 4),
    (192, 4),
  )
)

CASES = (
  Case(
    suite='step',
    name='gpt2-d256',
    model=gpt2(256, 4, 256, 8192),
    target='>= 1.1 x transformers, >= 70 % of the product',
  ),
  Case(
    suite='step',
    name='gpt2-d512',
    model=gpt2(512, 8, 512, 16384),
    batch=4,
    target='>= 1.1 x transformers, >= 75 % of the product',
  ),
  Case(
    suite='step',
    name='gpt2-d128',
    model=gpt2(128, 3, 128, 2048),
    target='>= 1.0 x transformers',
  ),
  Case(
    suite='step', name='bert-d256', model=BERT, target='>= 1.1 x transformers'
  ),
  Case(suite='step', name='t5-d256', model=T5, target='>= 1.1 x transformers'),
  Case(
    suite='step',
    name='gpt2-124m',
    model=gpt2(768, 12, 1024, 50257),
    target=_BIG,
    chosen=False,
  ),
  Case(
    suite='step',
    name='decoder-1b',
    model=dataclasses.replace(gpt2(2048, 20, 1024, 50257), unroll=1),
    target='>= 50 % MFU, on one H100',
    chosen=False,
  ),
  Case(suite='sweep', name='cold', model=SWEEP[-1], target='<= 22 CPU seconds'),
  Case(suite='sweep', name='warm', model=SWEEP[-1], target='<= 12 CPU seconds'),
  Case(
    suite='score',
    name='42m',
    model=_42M,
    target='>= 1.8 x transformers, >= 1.0 x ctranslate2',
  ),
  Case(
    suite='decode',
    name='42m-batch1',
    model=_42M,
    batch=1,
    n_new=64,
    target='>= 1.8 x transformers, >= 1.25 x ctranslate2',
  ),
  Case(
    suite='decode',
    name='42m-batch8',
    model=_42M,
    n_new=64,
    target='>= 1.7 x transformers, >= 1.15 x ctranslate2',
  ),
  Case(
    suite='input',
    name='decoder',
    model=gpt2(256, 4, 256, 8192),
    target='< .5 % of a step',
  ),
  Case(suite='input', name='encoder', model=BERT, target='< .5 % of a step'),
  Case(
    suite='input', name='encoder-decoder', model=T5, target='< .5 % of a step'
  ),
  Case(
    suite='checkpoint',
    name='blocks',
    model=gpt2(512, 8, 512, 49152),  # 50.7M parameters
    target='< .1 s',
  ),
  Case(suite='checkpoint', name='saves', model=gpt2(512, 8, 512, 49152)),
  Case(suite='checkpoint', name='restores', model=gpt2(512, 8, 512, 49152)),
)
PROMPT = 128
"""Tokens of each prompt of the suite `decode`."""

SUITES = tuple(dict.fromkeys(case.suite for case in CASES))


def find(suite: str, name: str) -> Case:
  """The case of this name."""
  return next(c for c in CASES if (c.suite, c.name) == (suite, name))


def numbers(case: Case) -> dict[str, Any]:
  """What decides the tokens that are drawn (`inputs.py`)."""
  return {
    'architecture': case.model.architecture,
    'vocab': case.model.vocab_size,
    'batch': case.batch,
    'length': case.model.seq_len,
    'target_length': case.model.longest_target,
  }
