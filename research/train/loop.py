"""The training of a language model: from a config to a model in a folder."""

from collections.abc import Callable
import contextlib
import dataclasses
import functools
import json
import os
from typing import Any

from etils import epath
from flax import nnx
import jax
import numpy as np

from research import sharding
from research.config import BadInput
from research.data import pipeline
from research.models import transformer
from research.objectives.language import cross_entropy
from research.train import workdir as workdirs
from research.train.checkpoints import Checkpoints, Folder
from research.train.config import TrainConfig
from research.train.fit import Job, Outcome, Progress, Stopped, fit
from research.train.metrics import Cost, Logging
from research.train.step import Hyper, Program, TrainState

__all__ = ['Progress', 'Result', 'Stopped', 'TrainConfig', 'restore', 'train']

Path = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
  """A finished run.

  Attributes:
    steps: Steps made.
    tokens: Corpus tokens consumed.
    flops: Model FLOPs spent.
    loss: Training loss of the last step, nats a token.
    data_hash: Of every token read.
    seconds: Time in the loop, over all processes that went on with the run.
    compile_seconds: Time to the dispatch of the first step, in the last one.
    tokens_per_second: In the last one, that time and the wait for the last
      checkpoint apart; None if it made no more than a step.
    load: Gives the final state.
  """

  steps: int
  tokens: int
  flops: int
  loss: float
  data_hash: str
  seconds: float
  compile_seconds: float
  tokens_per_second: float | None
  load: Callable[[], TrainState] = dataclasses.field(repr=False, compare=False)

  @property
  def state(self) -> TrainState:
    """The state after the last step."""
    return self.load()

  @property
  def model(self) -> Any:
    """The trained model."""
    return self.state.model


def train(
  cfg: TrainConfig,
  workdir: Path,
  *,
  on_progress: Callable[[Progress], None] | None = None,
) -> Result:
  """Trains what `cfg` describes, from where `workdir` stands.

  A finished run returns at once.

  Args:
    cfg: The run.
    workdir: Its folder; made if absent.
    on_progress: Told how far the run is, at most ten times a second.

  Raises:
    BadInput: The config does not fit its data, its devices or `workdir`.
    NonFinite: The loss is no number any more.
    OSError: `workdir` cannot be written; nothing half-written is left.
    Stopped: SIGTERM came; the run is saved. Ctrl-C saves it, too.
  """
  folder = epath.Path(workdir)
  workdirs.check(cfg, folder)
  finished = folder / workdirs.FINISHED
  if finished.exists():
    load = functools.cache(lambda: restore(folder)[1])
    return Result(**json.loads(finished.read_text()), load=load)
  job = _job(cfg)
  workdirs.claim(cfg, folder)  # Now that the config is known to be good.
  outcome = fit(job, folder, on_progress)
  rate = outcome.steps_per_second
  found = {
    'steps': cfg.n_steps,
    'tokens': cfg.n_steps * cfg.tokens_per_step,
    'flops': cfg.n_steps * cfg.flops_per_step,
    'loss': outcome.row['loss'],
    'data_hash': outcome.data_hash,
    'seconds': outcome.seconds,
    'compile_seconds': outcome.compile_seconds,
    'tokens_per_second': rate and rate * cfg.tokens_per_step,
  }
  if jax.process_index() == 0:
    workdirs.write(finished, found)
  return Result(**found, load=functools.cache(outcome.state))


def restore(
  workdir: Path,
  step: int | None = None,
  parallelism: sharding.Parallelism | None = None,
) -> tuple[TrainConfig, TrainState]:
  """The config and state of a run.

  Args:
    workdir: Its folder.
    step: Of the checkpoint; None for the newest.
    parallelism: Where the state is laid out; None as it was trained.

  Raises:
    BadInput: There is no such run, no such checkpoint, or too few devices.
  """
  folder = epath.Path(workdir)
  cfg = workdirs.read(folder)
  if parallelism is not None:
    cfg = dataclasses.replace(cfg, parallelism=parallelism)
  path = folder / workdirs.CHECKPOINTS
  with contextlib.closing(Folder(path, cfg.checkpoints, cfg.n_steps)) as saved:
    found = saved.restore(program(cfg).abstract, step)
  if found is None:
    raise BadInput(f'workdir={workdir} has no checkpoint')
  return cfg, found[0]


def program(cfg: TrainConfig) -> Program:
  """The compiled parts of a run.

  Runs that differ in length, warm-up, learning rate, seed or data share them.

  Raises:
    BadInput: There are fewer devices than the config asks for.
  """
  return _program(
    dataclasses.replace(
      cfg,
      data=pipeline.DataConfig(),
      learning_rate=0.0,
      warmup_steps=0,
      n_steps=1,
      seed=0,
      checkpoints=Checkpoints(),
      logging=Logging(),
    )
  )


@functools.lru_cache(maxsize=16)
def _program(cfg: TrainConfig) -> Program:
  dropout = getattr(cfg.model, 'dropout', 0.0)

  def objective(model, batch, key):
    key = key if dropout else None
    return cross_entropy(model, batch, key, z_loss=cfg.z_loss)

  return Program(
    lambda key: transformer.build(cfg.model, nnx.Rngs(key)),
    cfg.parallelism,
    optimizer=cfg.optimizer.build(),
    objective=objective,
    schedule=cfg.schedule,
    clip=cfg.clip,
    accumulation=cfg.accumulation,
  )


def check(cfg: TrainConfig) -> None:
  """Refuses what does not fit its data or its devices; trains nothing.

  Devices are left alone where one is enough.

  Raises:
    BadInput: As `train`.
  """
  dataset = pipeline.prepare(cfg.data)
  if not dataset.tokenizer.lossless:
    raise BadInput(
      'data.tokenizer: it changes text, so bits per byte would be of another'
      ' text; train with one that loses nothing'
    )
  needed = dataset.tokenizer.vocab_size
  if cfg.model.vocab_size < needed:
    raise BadInput(
      f'model.vocab_size={cfg.model.vocab_size} is smaller than the'
      f" tokenizer's {needed}; set model.vocab_size={needed}"
    )
  parts = cfg.accumulation
  if not cfg.parallelism.single:
    parts *= sharding.batch_parts(sharding.mesh(cfg.parallelism))
  if cfg.batch_size % parts:
    raise BadInput(
      f'batch_size={cfg.batch_size} must be divisible by {parts}: the'
      ' devices that share it times accumulation'
    )
  _batches(cfg, dataset, 0, None).close()  # Refuses what does not fit.


def memory(cfg: TrainConfig) -> int | None:
  """Bytes that training holds on each device; None where XLA does not say.

  Raises:
    BadInput: As `train`.
  """
  job = _job(cfg)
  with contextlib.closing(job.batches(0, None)) as batches:
    batch, _ = next(batches)
  return job.program.memory(batch, job.hyper)


def rehearse(cfg: TrainConfig, folder: Path) -> Outcome:
  """Makes the steps of `cfg` from a state of zeros, as a plan's trials do.

  They take what any steps take, and `init` need not be compiled.

  Raises:
    BadInput: As `train`.
  """
  job = dataclasses.replace(_job(cfg), seed=None)
  return fit(job, epath.Path(folder))


def _job(cfg: TrainConfig) -> Job:
  check(cfg)
  dataset = pipeline.prepare(cfg.data)
  return Job(
    program=program(cfg),
    batches=functools.partial(_batches, cfg, dataset),
    hyper=Hyper(
      np.float32(cfg.learning_rate),
      np.int32(cfg.warmup_steps),
      np.int32(cfg.n_steps),
    ),
    seed=cfg.seed,
    n_steps=cfg.n_steps,
    cost=Cost(cfg.tokens_per_step, cfg.flops_per_step),
    checkpoints=cfg.checkpoints,
    logging=cfg.logging,
  )


def _batches(cfg, dataset, start: int, data_hash: str | None) -> Any:
  architecture = cfg.model.architecture
  return pipeline.batches(
    dataset,
    architecture='decoder' if architecture == 'lstm' else architecture,
    objectives=cfg.objectives,
    seq_len=cfg.model.seq_len,
    target_len=getattr(cfg.model, 'target_len', None),
    batch_size=cfg.batch_size,
    seed=cfg.seed,
    start_step=start,
    n_steps=cfg.n_steps - start,
    previous_hash=data_hash,
  )
