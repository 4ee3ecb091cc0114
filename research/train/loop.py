"""The loop: from a config to a trained model in a folder, whatever happens."""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import json
import os
import signal
import threading
import time
from typing import Any, NamedTuple

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
from research.train.metrics import Cost, Curve, Logging, NonFinite
from research.train.step import Hyper, Program, TrainState

__all__ = ['Progress', 'Result', 'Stopped', 'TrainConfig', 'restore', 'train']

Path = str | os.PathLike[str]


class Stopped(SystemExit):
  """SIGTERM came and the run is saved; ends the process with status 143."""

  def __init__(self):
    super().__init__(128 + signal.SIGTERM)


class Progress(NamedTuple):
  """How far a run is.

  Attributes:
    step: Steps made.
    n_steps: Steps of the run.
    row: The newest line of `metrics.jsonl`; empty before the first.
  """

  step: int
  n_steps: int
  row: dict[str, Any]


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
    tokens_per_second: In the last one, that time apart; None if it made no
      more than a step.
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
  run = _Run(cfg, folder, on_progress)
  found = run.go()
  if jax.process_index() == 0:
    workdirs.write(finished, found)
  return Result(**found, load=functools.cache(run.state))


def restore(
  workdir: Path, step: int | None = None
) -> tuple[TrainConfig, TrainState]:
  """The config and state of a run: its newest checkpoint, or that of `step`.

  Raises:
    BadInput: There is no such run or no such checkpoint.
  """
  folder = epath.Path(workdir)
  cfg = workdirs.read(folder)
  path = folder / workdirs.CHECKPOINTS
  with contextlib.closing(Folder(path, cfg.checkpoints, cfg.n_steps)) as saved:
    found = saved.restore(program(cfg).abstract, step)
  if found is None:
    raise BadInput(f'workdir={workdir} has no checkpoint')
  return cfg, found[0]


def program(cfg: TrainConfig) -> Program:
  """The compiled parts of a run, shared by all runs that differ in length,
  learning rate, seed or data.

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


class _Run:
  """What one process does for a run."""

  def __init__(self, cfg: TrainConfig, folder: epath.Path, on_progress):
    self.cfg = cfg
    self.program = program(cfg)
    self.dataset = pipeline.prepare(cfg.data)
    _check(cfg, self.program, self.dataset)
    self.start, self.data_hash = 0, None
    self._batches().close()  # Refuses what does not fit the data.
    workdirs.claim(cfg, folder)  # Now that the config is known to be good.
    self.on_progress, self.told = on_progress, 0.0
    self.saves = cfg.checkpoints.steps(cfg.n_steps)
    self.saved = Folder(
      folder / workdirs.CHECKPOINTS, cfg.checkpoints, cfg.n_steps
    )
    state, about = self.saved.restore(self.program.abstract) or (None, {})
    self.start = about.get('step', 0)
    self.before = about.get('seconds', 0.0)
    self.data_hash = about.get('data_hash')
    self.leaves = (
      self.program.begin(cfg.seed)
      if state is None
      else self.program.leaves(state)
    )
    self.curve = Curve(
      folder,
      cfg.logging,
      Cost(cfg.tokens_per_step, cfg.flops_per_step),
      n_steps=cfg.n_steps,
      n_devices=self.program.mesh.size,
      start=self.start,
    )

  def state(self) -> TrainState:
    return self.program.state(self.leaves)

  def go(self) -> dict[str, Any]:
    """Makes the steps that are left and says what came out."""
    begun = compiled = time.perf_counter()
    with contextlib.ExitStack() as stack:
      stack.callback(self.curve.close)
      stack.enter_context(contextlib.closing(self.saved))
      caught = stack.enter_context(_signals())
      batches = stack.enter_context(contextlib.closing(self._batches()))
      try:
        for step, (batch, data_hash) in enumerate(batches, self.start + 1):
          self._step(step, batch, data_hash)
          if step == self.start + 1:
            compiled = time.perf_counter()
          if step in self.saves or caught:
            self._save(step, begun)
          self._stop(caught)
          self._tell()
        self.curve.drain()
      except NonFinite as error:
        raise self._last_good(error) from None
      self.saved.wait()
      self._tell(last=True)
    return self._found(begun, compiled)

  def _batches(self) -> Any:
    cfg = self.cfg
    architecture = cfg.model.architecture
    return pipeline.batches(
      self.dataset,
      architecture='decoder' if architecture == 'lstm' else architecture,
      objectives=cfg.objectives,
      seq_len=cfg.model.seq_len,
      target_len=getattr(cfg.model, 'target_len', None),
      batch_size=cfg.batch_size,
      seed=cfg.seed,
      start_step=self.start,
      n_steps=cfg.n_steps - self.start,
      previous_hash=self.data_hash,
      host_index=jax.process_index(),
      host_count=jax.process_count(),
    )

  def _step(self, step: int, batch, data_hash: str) -> None:
    cfg = self.cfg
    hyper = Hyper(
      np.float32(cfg.learning_rate),
      np.int32(cfg.warmup_steps),
      np.int32(cfg.n_steps),
    )
    batch = sharding.place(batch, self.program.mesh)
    self.leaves, metrics = self.program.step(self.leaves, batch, hyper)
    self.data_hash = data_hash
    self.curve.add(step, data_hash, metrics)

  def _save(self, step: int, begun: float) -> None:
    self.curve.drain()  # A checkpoint is only ever of finite numbers.
    seconds = self.before + time.perf_counter() - begun
    about = {'data_hash': self.data_hash, 'seconds': seconds}
    self.saved.save(step, self.state(), about)

  def _stop(self, caught: list[int]) -> None:
    if caught:
      self.saved.wait()
      raise Stopped if caught[0] == signal.SIGTERM else KeyboardInterrupt

  def _tell(self, last: bool = False) -> None:
    now = time.perf_counter()
    if self.on_progress and (last or now - self.told > 0.1):
      self.told = now
      self.on_progress(
        Progress(self.curve.step, self.cfg.n_steps, self.curve.last)
      )

  def _last_good(self, error: NonFinite) -> NonFinite:
    self.saved.wait()
    newest = self.saved.newest
    good = 'there is no checkpoint'
    if newest is not None:
      good = f'the last good checkpoint is {self.saved.path / str(newest)}'
    return NonFinite(f'{error}; {good}; try a lower learning_rate')

  def _found(self, begun: float, compiled: float) -> dict[str, Any]:
    cfg, now = self.cfg, time.perf_counter()
    made = cfg.n_steps - self.start - 1
    rate = made * cfg.tokens_per_step / (now - compiled) if made > 0 else None
    return {
      'steps': cfg.n_steps,
      'tokens': cfg.n_steps * cfg.tokens_per_step,
      'flops': cfg.n_steps * cfg.flops_per_step,
      'loss': self.curve.last['loss'],
      'data_hash': self.data_hash,
      'seconds': self.before + now - begun,
      'compile_seconds': compiled - begun,
      'tokens_per_second': rate,
    }


def _check(cfg: TrainConfig, program: Program, dataset) -> None:
  needed = dataset.tokenizer.vocab_size
  if cfg.model.vocab_size < needed:
    raise BadInput(
      f'model.vocab_size={cfg.model.vocab_size} is smaller than the'
      f" tokenizer's {needed}; set model.vocab_size={needed}"
    )
  parts = sharding.batch_parts(program.mesh) * cfg.accumulation
  if cfg.batch_size % parts:
    raise BadInput(
      f'batch_size={cfg.batch_size} must be divisible by {parts}: the'
      ' devices that share it times accumulation'
    )


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
  """Collects SIGTERM and SIGINT, which then end no step half-way.

  A second one interrupts at once. Only the main thread can listen.
  """
  caught: list[int] = []
  if threading.current_thread() is not threading.main_thread():
    yield caught
    return

  def note(number, frame):
    if caught:
      raise KeyboardInterrupt
    caught.append(number)

  before = {
    number: signal.signal(number, note)
    for number in (signal.SIGTERM, signal.SIGINT)
  }
  try:
    yield caught
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
