"""The fitting of any job: steps, checkpoints, curve, and stops on the way."""

from collections.abc import Callable, Generator, Iterator, Mapping
import contextlib
import dataclasses
import signal
import threading
import time
from typing import Any, NamedTuple

from etils import epath
import jax
from jax.experimental import multihost_utils

from research import sharding
from research.train.checkpoints import Checkpoints, Folder
from research.train.metrics import Cost, Curve, Logging, NonFinite
from research.train.step import Hyper, Program, TrainState

Batches = Generator[tuple[Mapping[str, Any], str], None, None]


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
class Job:
  """What is fitted: a program, what it reads, and for how long.

  Attributes:
    program: Init and update, compiled.
    batches: From (steps made, data hash so far or None): each further step's
      batch, whole in every process, with the data hash after it.
    hyper: Learning rate, warm-up and horizon.
    seed: Of the initial state; None: it is all zeros.
    n_steps: Steps of the run.
    cost: Of a step.
    checkpoints: When it is saved.
    logging: What is told of it.
  """

  program: Program
  batches: Callable[[int, str | None], Batches]
  hyper: Hyper
  seed: int | None
  n_steps: int
  cost: Cost
  checkpoints: Checkpoints
  logging: Logging


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
  """What came out of a fit.

  Attributes:
    state: Gives the final state.
    row: The last line of `metrics.jsonl`.
    data_hash: Of everything read.
    seconds: Time in the loop, over all processes that went on with the run.
    compile_seconds: Time to the dispatch of the first step, in this one.
    steps_per_second: In this one, that time and the wait for the last
      checkpoint apart; None if it made no more than a step.
  """

  state: Callable[[], TrainState]
  row: dict[str, Any]
  data_hash: str
  seconds: float
  compile_seconds: float
  steps_per_second: float | None


def fit(
  job: Job,
  folder: epath.Path,
  on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
  """Makes the steps of `job` that `folder` does not have yet.

  Args:
    job: What is fitted.
    folder: Where checkpoints and curve are.
    on_progress: Told how far the run is, at most ten times a second.

  Raises:
    BadInput: The checkpoints are of another shape.
    NonFinite: The loss is no number any more.
    OSError: `folder` cannot be written; nothing half-written is left.
    Stopped: SIGTERM came; the run is saved. Ctrl-C saves it, too.
  """
  return _Fit(job, folder, on_progress).go()


class _Fit:
  """What one process does."""

  def __init__(self, job: Job, folder: epath.Path, on_progress):
    program = self.program = job.program
    self.job = job
    self.on_progress, self.told = on_progress, 0.0
    self.saves = job.checkpoints.steps(job.n_steps)
    self.saved = Folder(folder / 'checkpoints', job.checkpoints, job.n_steps)
    state, about = self.saved.restore(program.abstract) or (None, {})
    self.start = about.get('step', 0)
    self.earlier = about.get('seconds', 0.0)
    self.data_hash = about.get('data_hash')
    if state is not None:
      self.leaves = program.leaves(state)
    elif job.seed is None:
      self.leaves = program.blank()
    else:
      self.leaves = program.begin(job.seed)
    self.curve = Curve(
      folder,
      job.logging,
      job.cost,
      n_steps=job.n_steps,
      n_devices=program.mesh.size,
      start=self.start,
    )

  def go(self) -> Outcome:
    begun = compiled = time.perf_counter()
    with contextlib.ExitStack() as stack:
      stack.callback(self.curve.close)
      stack.enter_context(contextlib.closing(self.saved))
      caught = stack.enter_context(_signals())
      batches = stack.enter_context(
        contextlib.closing(self.job.batches(self.start, self.data_hash))
      )
      try:
        for step, (batch, data_hash) in enumerate(batches, self.start + 1):
          self._step(step, batch, data_hash)
          if step == self.start + 1:
            compiled = time.perf_counter()
          _hear_others(step, caught)
          if step in self.saves or caught:
            self._save(step, begun)
          self._stop(caught)
          self._tell()
        self.curve.drain()
      except NonFinite as error:
        raise self._last_good(error) from None
      stepped = time.perf_counter()
      self.saved.wait()
      self._tell(last=True)
    return self._outcome(begun, compiled, stepped)

  def _step(self, step: int, batch, data_hash: str) -> None:
    batch = sharding.place(batch, self.program.mesh)
    self.leaves, metrics = self.program.step(self.leaves, batch, self.job.hyper)
    self.data_hash = data_hash
    self.curve.add(step, data_hash, metrics)

  def _save(self, step: int, begun: float) -> None:
    self.curve.drain()  # A checkpoint is only ever of finite numbers.
    seconds = self.earlier + time.perf_counter() - begun
    about = {'data_hash': self.data_hash, 'seconds': seconds}
    self.saved.save(step, self._state(), about)

  def _stop(self, caught: list[int]) -> None:
    if caught:
      self.saved.wait()
      raise Stopped if caught[0] == signal.SIGTERM else KeyboardInterrupt

  def _tell(self, last: bool = False) -> None:
    now = time.perf_counter()
    if self.on_progress and (last or now - self.told > 0.1):
      self.told = now
      self.on_progress(
        Progress(self.curve.step, self.job.n_steps, self.curve.last)
      )

  def _last_good(self, error: NonFinite) -> NonFinite:
    self.saved.wait()
    newest = self.saved.newest
    good = 'there is no checkpoint'
    if newest is not None:
      good = f'the last good checkpoint is {self.saved.path / str(newest)}'
    return NonFinite(f'{error}; {good}; try a lower learning_rate')

  def _state(self) -> TrainState:
    return self.program.state(self.leaves)

  def _outcome(self, begun: float, compiled: float, stepped: float) -> Outcome:
    now = time.perf_counter()
    made = self.job.n_steps - self.start - 1
    return Outcome(
      state=self._state,
      row=self.curve.last,
      data_hash=self.data_hash or '',
      seconds=self.earlier + now - begun,
      compile_seconds=compiled - begun,
      steps_per_second=made / (stepped - compiled) if made > 0 else None,
    )


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
  """Collects SIGTERM and SIGINT, which then end no step half-way.

  A second one interrupts at once. Only the main thread can listen. Several
  processes must stop after the same step, on which JAX makes them agree.
  """
  caught: list[int] = []
  main = threading.current_thread() is threading.main_thread()
  if not main or jax.process_count() > 1:
    yield caught
    return

  def note(number, frame):
    if caught:
      raise KeyboardInterrupt
    caught.append(number)

  before = {
    number: signal.signal(number, note)
    for number in (signal.SIGTERM, signal.SIGINT)
    if signal.getsignal(number) is not signal.SIG_IGN  # A pool's Ctrl-C.
  }
  try:
    yield caught
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _hear_others(step: int, caught: list[int]) -> None:
  """Notes a SIGTERM to any process, in all of them after the same step."""
  if jax.process_count() > 1:
    if multihost_utils.reached_preemption_sync_point(step):
      caught.append(signal.SIGTERM)
