"""Which abilities emerge: skills of known truth mixed into text, and tested.

    python -m experiments.study --config=configs.emergence:skills \
        --workdir=runs/emergence

A decoder's width and depth are varied apart (32 or 64 wide, 2 or 4 deep), so
that what jumps with one can be told from what jumps with the other.
"""

import dataclasses

from research.data.corruption import (
  Causal,
  Masked,
  SpanCorruption,
  SuffixPrediction,
)
from research.data.mixture import Mixed
from research.data.pipeline import DataConfig
from research.data.skills import (
  Addition,
  Copy,
  Hops,
  Labels,
  Parity,
  Recall,
  Reverse,
  Sort,
)
from research.models.config import (
  Architecture,
  ModelConfig,
  RelativeBuckets,
  Rotary,
)
from research.study.evaluation import Evaluation
from research.study.executors import InProcess, Pool
from research.study.plan import Axis, Grid, StudyConfig
from research.train.checkpoints import Checkpoints
from research.train.config import TrainConfig
from research.train.optimizers import AdamW

SEQ_LEN = 192  # holds four shots with their chains of thought
TARGET_LEN = 40  # what span corruption of 192 tokens needs
SKILLS = (
  Copy(length=8),
  Reverse(length=6),
  Sort(length=5),
  Hops(hops=2, nodes=5),
  Addition(digits=2),
  Parity(bits=10, subset=4),
  Labels(length=3),
)
Sizes = tuple[tuple[int, int], ...]  # width and blocks


def data(skills=SKILLS, share: float = 0.75, keep: float = 0.3) -> DataConfig:
  """Text, and skills at a stated share of all bytes; bytes are tokens."""
  return DataConfig(
    corpus=Mixed(skills=skills, share=share, keep=keep), validation_share=0.03
  )


def train(architecture: Architecture, width: int, depth: int) -> TrainConfig:
  """One size: suffix prediction teaches all but decoders to answer."""
  suffix = SuffixPrediction(max_length=32, share=0.5)
  objectives = {
    'decoder': (Causal(),),
    'encoder': (Masked(share=0.5), suffix),
    'encoder_decoder': (SpanCorruption(share=0.5), suffix),
  }
  return TrainConfig(
    model=ModelConfig(
      architecture=architecture,
      vocab_size=274,
      seq_len=SEQ_LEN,
      target_len=TARGET_LEN if architecture == 'encoder_decoder' else None,
      d_model=width,
      n_layers=depth,
      n_heads=max(width // 16, 1),
      position=Rotary() if architecture == 'decoder' else RelativeBuckets(),
      embedding_norm=True,
    ),
    data=data(),
    objectives=objectives[architecture],
    optimizer=AdamW(b2=0.99),
    learning_rate=5e-3,
    batch_size=12,
    n_steps=3000,
    warmup_steps=150,
    checkpoints=Checkpoints(every=1000),
  )


def grids(
  architecture: Architecture, sizes: Sizes, seeds: tuple[int, ...], **changes
) -> tuple[Grid, ...]:
  """A cell for each size and seed."""
  return tuple(
    Grid(
      train=dataclasses.replace(train(architecture, *size), **changes),
      axes=(Axis(field='seed', values=seeds),),
    )
    for size in sizes
  )


def evaluation(skills=SKILLS, n_items: int = 200) -> Evaluation:
  """Every skill, without shots and with four, plainly and thought out."""
  return Evaluation(
    window=SEQ_LEN,
    context=128,
    tasks=skills,
    shots=(0, 4),
    prompting=('plain', 'chain_of_thought'),
    n_items=n_items,
  )


def skills() -> StudyConfig:
  """Seven skills: seven decoders with three seeds, four of each other kind."""
  return StudyConfig(
    title='Emergence of skills',
    question=(
      'Which skills emerge with size, under which metric, and does width or'
      ' depth bring them?'
    ),
    designs=(
      *grids(
        'decoder',
        ((16, 2), (24, 2), (32, 2), (32, 4), (48, 3), (64, 2), (64, 4)),
        seeds=(0, 1, 2),
      ),
      *grids('encoder', ((16, 2), (32, 2), (32, 4), (64, 4)), seeds=(0,)),
      *grids(
        'encoder_decoder', ((16, 1), (32, 1), (32, 2), (64, 2)), seeds=(0,)
      ),
    ),
    evaluation=evaluation(),
    executor=Pool(),
    flops_per_second=3e10,
    seconds_per_shape=60,
  )


QUICK = (
  Copy(length=4),
  Recall(pairs=3),
  Addition(digits=2),
  Parity(bits=10, subset=3),
)


def quick() -> StudyConfig:
  """Four easier skills, four decoders and one of each other kind."""
  short = {'data': data(QUICK, 0.8, 0.2), 'n_steps': 1200, 'warmup_steps': 60}
  return StudyConfig(
    title='Emergence, quick',
    question='Do skills of known truth come with size, and under which metric?',
    designs=(
      *grids('decoder', ((16, 1), (16, 2), (32, 2), (64, 2)), (0,), **short),
      *grids('encoder', ((32, 2),), (0,), **short),
      *grids('encoder_decoder', ((32, 1),), (0,), **short),
    ),
    evaluation=evaluation(QUICK, n_items=100),
    executor=Pool(),
    flops_per_second=3e10,
    seconds_per_shape=60,
  )


def full() -> StudyConfig:
  """The same at 1M to 200M parameters, for one GPU. Not run by us."""
  long = {
    'data': data(share=0.9, keep=1.0),
    'n_steps': 20_000,
    'warmup_steps': 1000,
    'batch_size': 128,
    'learning_rate': 1e-3,
  }
  sizes = ((128, 4), (256, 4), (256, 8), (512, 8), (768, 12), (1024, 16))
  study = skills()
  return dataclasses.replace(
    study,
    title='Emergence of skills, full',
    designs=(
      *grids('decoder', sizes, (0, 1, 2), **long),
      *grids('encoder', sizes[:4], (0,), **long),
      *grids('encoder_decoder', sizes[:4], (0,), **long),
    ),
    executor=InProcess(),
    flops_per_second=1e14,
  )
