"""A study of a minute, to see that everything works; its numbers mean little.

python -m experiments.study --config=configs.smoke:study --workdir=…
"""

import dataclasses

from configs import quickstart
from research.data.tokenizers import Bytes
from research.models.config import Architecture
from research.scaling.ladder import PowerLaw
from research.study.cells import NGram
from research.study.evaluation import Evaluation
from research.study.executors import InProcess
from research.study.plan import IsoFlop, StudyConfig

DATA = dataclasses.replace(quickstart.DATA, tokenizer=Bytes(n_sentinels=14))


def study() -> StudyConfig:
  """Three architectures, three sizes, two budgets of seconds."""
  return StudyConfig(
    title='Smoke',
    question='Does every part of a study work?',
    designs=(
      arm('decoder'),
      arm('encoder'),
      arm('encoder_decoder'),
      NGram(data=DATA, order=3, n_tokens=100_000),
    ),
    evaluation=Evaluation(
      n_tokens=1024, window=128, n_spans=6, span_length=4, context=32
    ),
    executor=InProcess(),
  )


def arm(architecture: Architecture) -> IsoFlop:
  """Three sizes at two budgets."""
  base = dataclasses.replace(quickstart.base(architecture), vocab_size=272)
  return IsoFlop(
    train=dataclasses.replace(
      quickstart.train(architecture), data=DATA, model=base
    ),
    ladder=dataclasses.replace(
      quickstart.ladder(architecture),
      base=base,
      batch_size=PowerLaw(value=2),
    ),
    dials=(1, 2, 3),
    budgets=(5e8, 1e9),
  )
