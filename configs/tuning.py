"""Is the quickstart's rule between worse ones? Brackets of rate and batch.

    python -m experiments.study --config=configs.tuning:study --workdir=…

At two sizes of each architecture, the rule's learning rate and batch against
less and more of each, at 3e11 FLOPs. The table is in BUILD.md.
"""

import dataclasses

from configs import quickstart
from research.models.config import Architecture
from research.study.evaluation import Evaluation
from research.study.executors import Pool
from research.study.plan import Axis, Grid, StudyConfig

FLOPS = 3e11
# Architecture, dial, and the factor to the neighbours. A larger encoder has not
# begun to learn at this budget. Where the loss is flat within twice, the
# neighbours stand further off: a seed moves it by .03.
SIZES: tuple[tuple[Architecture, int, int], ...] = (
  ('decoder', 2, 2),
  ('decoder', 4, 2),
  ('encoder', 1, 4),
  ('encoder', 2, 2),
  ('encoder_decoder', 2, 4),
  ('encoder_decoder', 3, 4),
)


def brackets(
  architecture: Architecture, dial: int, factor: int
) -> tuple[Grid, Grid]:
  """The rule's point with its neighbours in learning rate and in batch."""
  ladder = quickstart.ladder(architecture)
  model = ladder.size(dial)
  rate, batch = ladder.rate(model), ladder.sequences(model)
  n_steps = ladder.steps(model, FLOPS)
  train = dataclasses.replace(
    quickstart.train(architecture),
    model=model,
    learning_rate=rate,
    batch_size=batch,
    n_steps=n_steps,
    warmup_steps=ladder.warmup(n_steps),
  )
  axes = (
    Axis(field='learning_rate', values=(rate / factor, rate, rate * factor)),
    Axis(field='batch_size', values=(batch // factor, batch, batch * factor)),
  )
  rates, batches = (Grid(train=train, axes=(a,), flops=FLOPS) for a in axes)
  return rates, batches


def study() -> StudyConfig:
  """Five cells a size, two sizes an architecture."""
  return StudyConfig(
    title='Tuning',
    question=(
      'Is the quickstart’s rule for learning rate and batch bracketed by worse'
      ' ones, for each architecture at two sizes?'
    ),
    designs=tuple(
      grid
      for architecture, dial, factor in SIZES
      for grid in brackets(architecture, dial, factor)
    ),
    evaluation=Evaluation(window=quickstart.SEQ_LEN, n_spans=192),
    executor=Pool(),
  )
