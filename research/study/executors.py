"""How cells are executed: in order in one process, or by a pool of them.

An executor takes groups of cells. The cells of a group share shapes, hence
one compiled step, so a group stays in one process. A cell that fails is news,
and the rest go on.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import multiprocessing
from multiprocessing import connection
import os
import signal
import threading
from typing import Any, NamedTuple

from research import provenance
from research.config import BadInput
from research.train import process


class Event(NamedTuple):
  """News of one cell.

  Attributes:
    cell: Its index in the plan.
    state: `running`, `done` or `failed`.
    share: Share of its training that is done, in [0, 1].
    reason: Why it failed, in one line.
  """

  cell: int
  state: str
  share: float = 0.0
  reason: str = ''


Cell = tuple[int, Any]
"""An index in the plan, and what `Work` is called with."""

Work = Callable[[Any, Callable[[float], None]], None]
"""`work(cell, report)`: runs a cell; calls `report(share)` as it goes on."""

Listen = Callable[[Event], None]


@dataclasses.dataclass(frozen=True)
class InProcess:
  """Cells one after another in this process, which uses every core."""

  @property
  def at_once(self) -> int:
    """How many cells are run at the same time."""
    return 1

  def run(
    self, groups: Sequence[Sequence[Cell]], work: Work, listen: Listen
  ) -> None:
    """Runs every cell, telling `listen` how it goes."""
    for group in groups:
      for cell in group:
        _attempt(cell, work, listen)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool:
  """A pool of spawned processes, each with its share of the cores.

  Small models do not fill several cores: two processes of one core each train
  two of them in little more than the time of one.

  Attributes:
    processes: How many; None means one for each usable core.
  """

  processes: int | None = None

  def __post_init__(self):
    if self.processes is not None and self.processes < 1:
      raise BadInput(f'processes={self.processes} must be at least 1')

  @property
  def at_once(self) -> int:
    """How many cells are run at the same time."""
    return len(_shares(self.processes))

  def run(
    self, groups: Sequence[Sequence[Cell]], work: Work, listen: Listen
  ) -> None:
    """Runs every cell, telling `listen` how it goes.

    Ctrl-C and SIGTERM end the processes by SIGTERM, on which a run saves
    itself; a process that dies fails the cell it was at, and another takes its
    place.
    """
    waiting = [list(group) for group in groups]
    shares = _shares(self.processes)
    with _termination_raised():
      workers = [_Worker(cores, work) for cores in shares[: len(waiting)]]
      try:
        for worker in workers:
          worker.take(waiting)
        while busy := [w for w in workers if w.group]:
          for ready in connection.wait([w.pipe for w in busy]):
            worker = next(w for w in busy if w.pipe is ready)
            worker.hear(listen, waiting)
      finally:
        for worker in workers:
          worker.end()


@contextlib.contextmanager
def _termination_raised() -> Iterator[None]:
  """Makes SIGTERM end this process as an exception, so that it ends others.

  Only the main thread can listen to signals.
  """

  def end(number, frame):
    raise SystemExit(128 + number)

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = signal.signal(signal.SIGTERM, end)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


class _Worker:
  """A process and the group of cells it is at."""

  def __init__(self, cores: set[int], work: Work):
    self.cores, self.work = cores, work
    self.group: list[Cell] = []
    self._start()

  def _start(self) -> None:
    context = multiprocessing.get_context('spawn')
    self.pipe, theirs = context.Pipe()
    arguments = (theirs, self.cores, self.work)
    self.process = context.Process(target=_serve, args=arguments)
    self.process.start()
    theirs.close()

  def take(self, waiting: list[list[Cell]]) -> None:
    """Takes the next group of `waiting`, if there is one."""
    self.group = waiting.pop(0) if waiting else []
    if self.group:
      self.pipe.send(self.group)

  def hear(self, listen: Listen, waiting: list[list[Cell]]) -> None:
    """Passes one event on; takes more work when the group is done."""
    try:
      event = self.pipe.recv()
    except (EOFError, ConnectionResetError):
      self.process.join()
      reason = f'its process ended with status {self.process.exitcode}'
      event = Event(self.group[0][0], 'failed', reason=reason)
      waiting.insert(0, self.group[1:]) if self.group[1:] else None
      self.group = []
      self._start()
    listen(event)
    if event.state != 'running':
      self.group = self.group[1:]
    if not self.group:
      self.take(waiting)

  def end(self) -> None:
    """Ends the process, which saves the run it is at."""
    self.pipe.close()
    if self.group:
      self.process.terminate()
    self.process.join()


def _serve(pipe, cores: set[int], work: Work) -> None:
  """Runs the groups that come through `pipe` until it closes."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  if cores:
    os.sched_setaffinity(0, cores)
  process.prepare()
  while True:
    try:
      group = pipe.recv()
    except EOFError:
      return
    for cell in group:
      _attempt(cell, work, pipe.send)


def _attempt(cell: Cell, work: Work, listen: Listen) -> None:
  index, what = cell
  listen(Event(index, 'running'))
  try:
    work(what, lambda share: listen(Event(index, 'running', share)))
  except Exception as error:
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())
    listen(Event(index, 'failed', reason=reason))
  else:
    listen(Event(index, 'done', 1.0))


def _shares(processes: int | None) -> list[set[int]]:
  """The usable cores dealt out to `processes`; empty sets where unknown."""
  if not hasattr(os, 'sched_getaffinity'):  # macOS
    return [set() for _ in range(processes or provenance.cores())]
  cores = sorted(os.sched_getaffinity(0))
  count = processes or len(cores)
  if count > len(cores):
    return [set() for _ in range(count)]
  return [set(cores[i::count]) for i in range(count)]
