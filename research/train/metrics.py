"""The training curve: one line of `metrics.jsonl` a logged step.

The device is never waited for: a step's numbers are read a few steps later.
"""

from collections import deque
from collections.abc import Mapping
import dataclasses
import errno
import json
import math
import time
from typing import Any, NamedTuple

from etils import epath
import jax
import numpy as np

from research.config import BadInput
from research.files import write_whole
from research.train.peak import peak


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logging:
  """What is told of a run while it goes on.

  Attributes:
    every: Steps from one line of `metrics.jsonl` to the next; the last step
      always has one.
    peak_flops: FLOP/s of one device, the divisor of `mfu`; None takes the
      maker's figure, or on a CPU what a matrix product reaches; `mfu` is null
      where neither is known.
    tensorboard: Whether to write event files, too (needs tensorboardX).
  """

  every: int = 10
  peak_flops: float | None = None
  tensorboard: bool = False

  def __post_init__(self):
    if self.every < 1:
      raise BadInput(f'every={self.every} must be at least 1')
    if self.peak_flops is not None and self.peak_flops <= 0:
      raise BadInput(f'peak_flops={self.peak_flops} must be positive')


class NonFinite(BadInput):
  """The loss or its gradient is no number any more."""


class Cost(NamedTuple):
  """What one step costs.

  Attributes:
    tokens: Corpus tokens.
    flops: Model FLOPs.
  """

  tokens: int
  flops: int


class Curve:
  """Writes the curve of a run, from a step on."""

  def __init__(
    self,
    folder: epath.Path,
    cfg: Logging,
    cost: Cost,
    *,
    n_steps: int,
    n_devices: int,
    start: int = 0,
    lag: int = 3,
  ):
    """The curve in `folder`, of which the lines up to step `start` stay.

    Args:
      folder: The run's.
      cfg: What is logged.
      cost: What one step costs.
      n_steps: Steps of the whole run.
      n_devices: Devices that share a step.
      start: Steps already made.
      lag: Steps that may be under way before one is waited for.
    """
    self._cfg, self._cost, self._n_steps = cfg, cost, n_steps
    stated = cfg.peak_flops
    self._peak = stated * n_devices if stated else peak(n_devices)
    self._lag = lag
    self._waiting: deque[tuple[int, str, Mapping[str, Any]]] = deque()
    self._mark: tuple[int, float] | None = None
    first = jax.process_index() == 0
    self._board = _board(folder, start) if first and cfg.tensorboard else None
    self._lines = _Lines(folder / 'metrics.jsonl', start) if first else None
    self.step = start
    self.last: dict[str, Any] = self._lines.last if self._lines else {}

  def add(self, step: int, data_hash: str, metrics: Mapping[str, Any]) -> None:
    """Notes that `step` was dispatched; reads the step `lag` before it.

    Raises:
      NonFinite: That step's loss or gradient is not finite.
    """
    self._waiting.append((step, data_hash, metrics))
    while len(self._waiting) > self._lag:
      self._read()

  def drain(self) -> None:
    """Waits for every step dispatched so far.

    Raises:
      NonFinite: As `add`.
    """
    while self._waiting:
      self._read()

  def close(self) -> None:
    """Ends the files, whatever is still under way."""
    if self._lines is not None:
      self._lines.close()
    if self._board is not None:
      self._board.close()

  def _read(self) -> None:
    step, data_hash, metrics = self._waiting.popleft()
    loss, norm = float(metrics['loss']), float(metrics['grad_norm'])
    if not (math.isfinite(loss) and math.isfinite(norm)):
      what = f'loss is {loss}, gradient norm {norm}'
      raise NonFinite(f'step {step}: {what} (batch with data hash {data_hash})')
    self.step = step
    if self._mark is None:  # What it took to compile is not speed.
      self._mark = step, time.perf_counter()
    if step % self._cfg.every == 0 or step == self._n_steps:
      self._log(step, data_hash, metrics)

  def _log(self, step, data_hash, metrics) -> None:
    values = {k: float(np.asarray(v)) for k, v in metrics.items()}
    row = {'step': step}
    for name in ('loss', 'grad_norm', 'learning_rate'):
      row[name] = values.pop(name)
    row |= {'tokens': step * self._cost.tokens} | self._speed(step)
    row |= {'data_hash': data_hash} | values
    if self._lines is not None:
      self._lines.write(row)
    if self._board is not None:
      for name, value in row.items():
        if isinstance(value, float):
          self._board.add_scalar(name, value, step)
    self.last = row

  def _speed(self, step: int) -> dict[str, float | None]:
    assert self._mark is not None
    now, (before, then) = time.perf_counter(), self._mark
    self._mark = step, now
    if step == before:
      return {'tokens_per_second': None, 'mfu': None}
    rate = (step - before) / (now - then)
    mfu = self._peak and rate * self._cost.flops / self._peak
    return {'tokens_per_second': rate * self._cost.tokens, 'mfu': mfu}


class _Lines:
  """A file of JSON lines that only ever holds whole ones.

  A bucket cannot be appended to: there the file is written anew, at most twice
  a minute.
  """

  def __init__(self, path: epath.Path, start: int):
    self._path = path
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.exists() else ''
    self._text, self.last = _up_to(start, text)
    if text != self._text:
      self._write_whole()
    self._remote = '://' in str(path)
    self._file = None if self._remote else open(path, 'ab', buffering=0)
    self._written = time.monotonic()

  def write(self, row: dict[str, Any]) -> None:
    line = json.dumps(row) + '\n'
    if self._file is None:
      self._text += line
      if time.monotonic() - self._written > 30:
        self._write_whole()
      return
    end = self._file.tell()
    try:
      if self._file.write(line.encode()) < len(line):
        raise OSError(errno.ENOSPC, 'no room for a line', str(self._path))
    except OSError:
      self._file.truncate(end)
      raise

  def close(self) -> None:
    if self._file is None:
      self._write_whole()
    else:
      self._file.close()

  def _write_whole(self) -> None:
    write_whole(self._path, self._text)
    self._written = time.monotonic()


def _up_to(step: int, text: str) -> tuple[str, dict[str, Any]]:
  """The whole lines of `text` up to `step`, and the last of them."""
  kept, last = [], {}
  for line in text.splitlines():
    try:
      row = json.loads(line)
    except ValueError:  # Cut off when the process was killed.
      break
    if row['step'] <= step:
      kept.append(line + '\n')
      last = row
  return ''.join(kept), last


def _board(folder: epath.Path, start: int):
  try:
    from tensorboardX import SummaryWriter
  except ImportError:
    raise BadInput(
      'logging.tensorboard=true needs tensorboardX: pip install tensorboardX'
    ) from None
  return SummaryWriter(str(folder / 'tensorboard'), purge_step=start + 1)
