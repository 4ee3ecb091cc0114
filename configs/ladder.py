"""A ladder from 10M to 1B parameters, for one GPU or a TPU slice.

    python -m experiments.study --config=configs.ladder:study \
        --workdir=… --mode=plan

Not run by us: no accelerator was at hand. Text comes from TFDS and needs a
network once; for your own, set `corpus` below to a TextFolder or a JSONL. Over
several devices: `--config.designs.0.train.parallelism.fsdp=8`, and likewise
for designs 1 and 2.
"""

from research.data.corpora import TFDS
from research.data.corruption import (
  Causal,
  Masked,
  SpanCorruption,
  SuffixPrediction,
)
from research.data.pipeline import DataConfig
from research.data.tokenizers import BPE
from research.models.config import Architecture, ModelConfig
from research.scaling.ladder import Ladder, PowerLaw
from research.study.evaluation import Evaluation
from research.study.plan import IsoFlop, StudyConfig
from research.train.config import TrainConfig
from research.train.optimizers import AdamW

VOCAB_SIZE = 32_768
SEQ_LEN = 2048
TARGET_LEN = 410  # what span corruption of 2048 tokens needs
DATA = DataConfig(
  corpus=TFDS(name='wiki40b/en'),
  tokenizer=BPE(vocab_size=VOCAB_SIZE, n_sentinels=128),
)
SUFFIX = SuffixPrediction(min_length=1, max_length=256, share=0.5)
OBJECTIVES = {
  'decoder': (Causal(),),
  'encoder': (Masked(share=0.5), SUFFIX),
  'encoder_decoder': (SpanCorruption(share=0.5), SUFFIX),
}


def arm(architecture: Architecture) -> IsoFlop:
  """Nine sizes at five budgets, by the rule of Porian et al. (2024)."""
  paired = architecture == 'encoder_decoder'
  base = ModelConfig(
    architecture=architecture,
    vocab_size=VOCAB_SIZE,
    seq_len=SEQ_LEN,
    target_len=TARGET_LEN if paired else None,
    dtype='bfloat16',
    remat=True,
  )
  return IsoFlop(
    train=TrainConfig(
      model=base,
      data=DATA,
      objectives=OBJECTIVES[architecture],
      optimizer=AdamW(b2=0.95),
    ),
    ladder=Ladder(
      base=base,
      width=64,
      depth=1.0,
      d_head=64,
      learning_rate=PowerLaw(value=0.0047, at=108e6, exponent=-1 / 3),
      batch_size=PowerLaw(value=160, at=108e6, exponent=2 / 3),
    ),
    dials=(4, 6, 8, 10, 12, 16, 20, 24, 28),
    budgets=(1e17, 3e17, 1e18, 3e18, 1e19),
  )


def study() -> StudyConfig:
  """Three architectures, 10M to 1B parameters."""
  return StudyConfig(
    title='Ladder',
    question='Does what the quickstart shows hold from 10M to 1B parameters?',
    designs=(arm('decoder'), arm('encoder'), arm('encoder_decoder')),
    evaluation=Evaluation(
      n_tokens=1_000_000, window=SEQ_LEN, n_spans=1024, context=1024
    ),
    flops_per_second=2e14,
    seconds_per_shape=120,
  )
