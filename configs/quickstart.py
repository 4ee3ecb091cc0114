"""The quickstart: three architectures on the embedded corpus, two CPU cores.

python -m experiments.study --config=configs.quickstart:study --workdir=…
"""

import dataclasses

from research.data.corruption import (
  Causal,
  Masked,
  SpanCorruption,
  SuffixPrediction,
)
from research.data.pipeline import DataConfig
from research.data.tokenizers import BPE
from research.models.config import (
  Architecture,
  ModelConfig,
  RelativeBuckets,
  Rotary,
)
from research.models.recurrent_config import RecurrentConfig
from research.scaling.ladder import Ladder, PowerLaw
from research.study.cells import NGram
from research.study.evaluation import Evaluation
from research.study.executors import Pool
from research.study.plan import Grid, IsoFlop, StudyConfig
from research.train.config import TrainConfig
from research.train.optimizers import AdamW
from research.train.schedules import Cosine

# 512 tokens: the head of a model 32 wide is no larger than its two blocks,
# and a token is 2.1 bytes.
DATA = DataConfig(tokenizer=BPE(vocab_size=512, n_sentinels=8))
SEQ_LEN = 128
TARGET_LEN = 26  # what span corruption of 128 tokens needs


def train(architecture: Architecture) -> TrainConfig:
  """What the cells of one architecture share."""
  objectives = {
    'decoder': (Causal(),),
    'encoder': (Masked(share=0.8), suffix(16, share=0.2)),
    'encoder_decoder': (SpanCorruption(share=0.5), suffix(24, share=0.5)),
  }
  return TrainConfig(
    model=base(architecture),
    data=DATA,
    objectives=objectives[architecture],
    optimizer=AdamW(b2=0.99),  # small batches: Porian et al. 2024
    schedule=Cosine(),
  )


def suffix(longest: int, share: float) -> SuffixPrediction:
  """What the yardstick asks for, as a stated share of the rows."""
  return SuffixPrediction(min_length=1, max_length=longest, share=share)


def base(architecture: Architecture) -> ModelConfig:
  """The parts of one architecture, before a dial sets its sizes."""
  paired = architecture == 'encoder_decoder'
  return ModelConfig(
    architecture=architecture,
    vocab_size=512,
    seq_len=SEQ_LEN,
    target_len=TARGET_LEN if paired else None,
    position=Rotary() if architecture == 'decoder' else RelativeBuckets(),
    embedding_norm=True,  # 2.82 → 2.52 bits per byte at 1e11 FLOPs, 32x2
  )


def ladder(architecture: Architecture) -> Ladder:
  """How a dial makes a size, and the tuned rule of its training.

  BUILD.md has the table that brackets the rule (`configs.tuning`).
  """
  rate, batch = {
    'decoder': (
      PowerLaw(value=1.13e-2, at=3e3, exponent=-0.1),
      PowerLaw(value=4, at=3e3, exponent=-0.2),
    ),
    'encoder': (
      PowerLaw(value=8e-3, at=3136, exponent=-0.5),
      PowerLaw(value=4, at=3136, exponent=-0.3),
    ),
    'encoder_decoder': (
      PowerLaw(value=8e-3, at=7312, exponent=-1 / 3),
      PowerLaw(value=8, at=7312, exponent=-0.4),
    ),
  }[architecture]
  return Ladder(
    base=base(architecture),
    width=8,
    depth=0.5,
    d_head=16,
    learning_rate=rate,
    batch_size=batch,
  )


def study() -> StudyConfig:
  """Five sizes or more of each architecture, and two baselines."""
  return StudyConfig(
    title='Quickstart',
    question=(
      'How do bits per byte fall with compute for an encoder, a decoder and an'
      ' encoder-decoder of 5 to 230 thousand parameters, and where is the best'
      ' size at each budget?'
    ),
    designs=(
      arm('decoder', (2, 3, 4, 6, 8), (1e11, 2e11, 4e11, 8e11), 3, True),
      # Cheap decoders reach what the other two do, so that compute compares;
      # no law is fitted to them: their rule was tuned at 3e11 FLOPs.
      dataclasses.replace(
        arm('decoder', (1, 2, 3), (6e9, 1.2e10, 2.5e10, 5e10)), fitted=False
      ),
      arm('encoder', (1, 2, 3, 4, 6), (1e11, 2e11, 4e11), 2),
      arm('encoder_decoder', (1, 2, 3, 4, 6), (1e11, 2e11, 4e11), 2),
      *(lstm(flops) for flops in (1e11, 4e11)),
      *(NGram(data=DATA, order=order) for order in (2, 5)),
    ),
    evaluation=Evaluation(window=SEQ_LEN),
    executor=Pool(),
    flops_per_second=3e10,
  )


def arm(
  architecture: Architecture,
  dials: tuple[int, ...],
  budgets: tuple[float, ...],
  seeds: int = 1,
  predicted: bool = False,
) -> IsoFlop:
  """One architecture's isoFLOP grid; its first budget is repeated over seeds.

  If `predicted`, its largest budget waits for a registered prediction.
  """
  return IsoFlop(
    train=train(architecture),
    ladder=ladder(architecture),
    dials=dials,
    budgets=budgets,
    seeds=tuple(range(seeds)),
    repeated=budgets[:1],
    predicted=predicted,
  )


def lstm(flops: float) -> Grid:
  """The recurrent baseline at one budget."""
  return Grid(
    train=TrainConfig(
      model=RecurrentConfig(vocab_size=512, seq_len=SEQ_LEN, d_model=48),
      data=DATA,
      objectives=(Causal(),),
      optimizer=AdamW(b2=0.99),
      learning_rate=3e-2,
      batch_size=4,
    ),
    flops=flops,
  )
