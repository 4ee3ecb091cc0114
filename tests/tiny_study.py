"""A study of seconds: what every part of a study is tested on.

Its corpus is the JSONL file that TINY_CORPUS names.
"""

import dataclasses
import json
import os
import pathlib
import random

from research.data.corpora import JSONL
from research.data.pipeline import DataConfig
from research.models.config import ModelConfig
from research.scaling.ladder import Ladder, PowerLaw
from research.study.cells import NGram
from research.study.evaluation import Evaluation
from research.study.executors import InProcess, Pool
from research.study.plan import Axis, Grid, IsoFlop, StudyConfig
from research.train.checkpoints import Checkpoints
from research.train.config import TrainConfig
from research.train.metrics import Logging

DATA = DataConfig(
  corpus=JSONL(path=os.environ.get('TINY_CORPUS', 'tiny.jsonl')),
  validation_share=0.1,
)
TRAIN = TrainConfig(
  model=ModelConfig(
    vocab_size=274, seq_len=32, d_model=16, n_heads=2, n_layers=1
  ),
  data=DATA,
  batch_size=4,
  n_steps=20,
  warmup_steps=2,
  checkpoints=Checkpoints(every=2),
  logging=Logging(every=1),
)


def write_corpus(path: pathlib.Path) -> None:
  """Words drawn at random, in two domains."""
  draw = random.Random(0)
  words = 'the sea a whale of and captain ship in white was cape down'.split()
  with path.open('w') as file:
    for i in range(60):
      text = ' '.join(draw.choices(words, k=100))
      domain = ('novel', 'speech')[i % 2]
      file.write(json.dumps({'domain': domain, 'text': text}) + '\n')


def train() -> TrainConfig:
  """One run."""
  return TRAIN


def study() -> StudyConfig:
  """Two learning rates, which share a compiled step, and a baseline."""
  return _study((1e-3, 1e-2))


def pool() -> StudyConfig:
  """As `study`, in a process of its own."""
  return dataclasses.replace(study(), executor=Pool(processes=1))


def failing() -> StudyConfig:
  """As `study`, with a learning rate between that no model survives."""
  return _study((1e-3, 1e30, 1e-2))


def long() -> StudyConfig:
  """A short cell, and one that is long enough to be interrupted."""
  return _study((1e-2,), n_steps=(5, 4000))


def long_pool() -> StudyConfig:
  """As `long`, in a process of its own."""
  return dataclasses.replace(long(), executor=Pool(processes=1))


def ladder() -> StudyConfig:
  """One isoFLOP curve, of three sizes."""
  ladder = Ladder(
    base=TRAIN.model,
    width=8,
    depth=0.5,
    d_head=8,
    learning_rate=PowerLaw(value=1e-2),
    batch_size=PowerLaw(value=4),
  )
  isoflop = IsoFlop(train=TRAIN, ladder=ladder, dials=(1, 2, 3), budgets=(3e8,))
  return dataclasses.replace(study(), designs=(isoflop, *study().designs[1:]))


def _study(rates, n_steps=(20,)) -> StudyConfig:
  axes = (
    Axis(field='learning_rate', values=rates),
    Axis(field='n_steps', values=n_steps),
  )
  train = dataclasses.replace(TRAIN, checkpoints=Checkpoints(every=None))
  return StudyConfig(
    title='Tiny',
    question='Does every part of a study do what it should?',
    designs=(Grid(train=train, axes=axes), NGram(data=DATA, order=2)),
    evaluation=Evaluation(
      n_tokens=128, window=32, n_spans=2, span_length=4, context=16
    ),
    executor=InProcess(),
  )
