"""What a study's cells will cost, from some of its shapes tried on the device.

The cells of a shape share a compiled step. As many shapes as a minute allows
are compiled and stepped, first those that are furthest apart, by the executor
that the study itself will use (`trials.py`); what the others take follows from
these.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
import pathlib
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from research import config, files, provenance, sharding
from research.config import BadInput
from research.data import cache
from research.study import trials
from research.study.cells import Cell
from research.study.plan import StudyConfig, cells, groups
from research.study.published import GIB
from research.train.config import TrainConfig

BUDGET = 32.0
"""Seconds after which no other shape is compiled."""


class Cost(NamedTuple):
  """What a shape takes.

  Attributes:
    seconds: Of a step.
    save: Of a checkpoint.
    memory: Bytes on a device while it trains; None where XLA does not say.
    measured: Whether it was tried; else it follows from those that were.
  """

  seconds: float
  save: float
  memory: float | None
  measured: bool


@dataclasses.dataclass(frozen=True)
class Costs:
  """What the cells of a study take.

  Attributes:
    by_cell: By a cell's name; cells that are not trained have none.
    processes: How many cells are trained at a time.
    tried: How many shapes were tried.
  """

  by_cell: Mapping[str, Cost]
  processes: int
  tried: int

  def training(self, cell: Cell) -> float | None:
    """Seconds of the cell's run, compiled; None where it is not trained."""
    if cell.name not in self.by_cell:
      return None
    assert isinstance(cell.config, TrainConfig)
    cost, n_steps = self.by_cell[cell.name], cell.config.n_steps
    n_saves = len(cell.config.checkpoints.steps(n_steps))
    return n_steps * cost.seconds + n_saves * cost.save

  def total(self, study: StudyConfig) -> float:
    """Seconds of the study: of its runs, and what it states for each shape.

    The cells of a shape stay in one process, so the longest shape is a bound.
    """
    shapes = [
      study.seconds_per_shape + sum(self.training(cell) or 0 for _, cell in g)
      for g in groups(cells(study))
    ]
    return max(sum(shapes) / self.processes, *shapes)


def calibrate(study: StudyConfig) -> Costs:
  """Tries shapes of the study, or reads what was found when it was last asked.

  Results are kept in the user's cache, apart for each device and version.

  Raises:
    BadInput: A shape does not fit its devices, or no shape can be tried here.
  """
  shapes = [g for g in groups(cells(study)) if _trained(g[0][1])]
  firsts = [g[0][1] for g in shapes]
  path = _kept(study)
  if path.exists():
    tried = json.loads(path.read_text())
  else:
    tried = _try(study, firsts)
    if firsts and not tried:
      raise BadInput(
        f'no shape of the study makes {trials.LEAST} steps on this device'
        f' within {BUDGET:.0f} s'
      )
    files.write_whole(path, json.dumps(tried))
  known = {int(i): Cost(**cost, measured=True) for i, cost in tried.items()}
  costs = {
    cell.name: known.get(i) or _follow(firsts, known, firsts[i])
    for i, group in enumerate(shapes)
    for _, cell in group
  }
  return Costs(costs, study.executor.at_once, len(known))


def check_time(study: StudyConfig, costs: Costs, max_hours: float) -> None:
  """Refuses a study that takes too long.

  Raises:
    BadInput: It does.
  """
  hours = costs.total(study) / 3600
  if not hours <= max_hours:  # NaN allows nothing.
    raise BadInput(
      f'max_hours={max_hours:g}: the study takes about {hours:.3g} hours here;'
      ' allow more, or plan fewer or smaller cells'
    )


def check_memory(study: StudyConfig, costs: Costs | None = None) -> None:
  """Refuses a study whose cells do not fit in memory.

  Args:
    study: What is planned.
    costs: What was found by trying; None: parameters, gradients and moments
      are what is known to be needed.

  Raises:
    BadInput: The line names the largest cell.
  """
  needed: dict[str, float] = {}
  for cell in cells(study):
    if costs is not None and cell.name in costs.by_cell:
      needed[cell.name] = costs.by_cell[cell.name].memory or 0
    elif isinstance(cell.config, TrainConfig):
      needed[cell.name] = trials.state(cell.config)
  if not needed:
    return
  worst = max(needed, key=lambda name: needed[name])
  at_once = study.executor.at_once
  # A pool is one of the machine's cores; it alone leaves devices to others.
  there = sharding.memory() if at_once == 1 else sharding.host_memory()
  if needed[worst] * at_once > there:
    raise BadInput(
      f'cell {worst} needs {needed[worst] / GIB:.3g} GiB of memory for each of'
      f' {at_once} processes, and {there / GIB:.3g} GiB are there; plan a'
      ' smaller model or batch_size, or raise accumulation or fsdp'
    )


def _try(study: StudyConfig, firsts: Sequence[Cell]) -> dict[str, Any]:
  """What each shape that was tried takes, by its index."""

  def listen(event):
    if event.state == 'failed':
      name = firsts[event.cell].name
      raise BadInput(f'cell {name} cannot be tried: {event.reason}')

  def work(indices):
    return [(i, (i, firsts[i].config)) for i in indices]

  with tempfile.TemporaryDirectory() as name:
    folder, rate = pathlib.Path(name), study.flops_per_second
    compiling = trials.Compilation(folder, rate, time.time() + BUDGET)
    each = [work([i]) for i in _spread(firsts)]
    study.executor.run(each, compiling, listen)
    compiled = [
      i for i in range(len(firsts)) if (folder / f'{i}.json').exists()
    ]
    # A process makes all trials of a shape, having loaded its program once.
    n = study.executor.at_once
    shared = [work(compiled[k::n] * trials.ROUNDS) for k in range(n)]
    trying = trials.Trial(folder, rate)
    study.executor.run([group for group in shared if group], trying, listen)
    return trials.found(folder)


def _spread(firsts: Sequence[Cell]) -> list[int]:
  """Every index: ends of each architecture's sizes first, then between them."""
  by_kind: dict[str, list[int]] = {}
  for i in sorted(range(len(firsts)), key=lambda i: _features(firsts[i])[1]):
    by_kind.setdefault(firsts[i].architecture, []).append(i)
  ranked = []
  for indices in by_kind.values():
    last = max(len(indices) - 1, 1)
    for place, i in enumerate(indices):
      ranked.append((_depth(place, last), i))
  return [i for _, i in sorted(ranked)]


def _depth(place: int, last: int) -> int:
  """How often [0, last] is halved until `place` is an end; 0 for the ends."""
  low, high, depth = 0, last, 0
  while place not in (low, high):
    depth, middle = depth + 1, (low + high) // 2
    low, high = (low, middle) if place <= middle else (middle, high)
  return depth


def _follow(
  firsts: Sequence[Cell], known: Mapping[int, Cost], cell: Cell
) -> Cost:
  """The cost of a shape that was not tried: a sum over what a step handles.

  Coefficients are not negative and make relative errors small; shapes of the
  same architecture are preferred where four of them were tried.
  """
  kin = [i for i in known if firsts[i].architecture == cell.architecture]
  used = kin if len(kin) >= 4 else list(known)
  features = np.array([_features(firsts[i]) for i in used])
  mine = _features(cell)

  def predict(values: list[float | None]) -> float | None:
    if None in values:
      return None
    y = np.array(values, float)
    scale = features.max(axis=0)
    found, _ = scipy.optimize.nnls(
      features / scale / y[:, None], np.ones(len(y))
    )
    return float(mine / scale @ found)

  costs = [known[i] for i in used]
  seconds = predict([c.seconds for c in costs])
  assert seconds is not None
  return Cost(
    seconds,
    float(np.mean([c.save for c in costs])),
    predict([c.memory for c in costs]),
    measured=False,
  )


def _features(cell: Cell) -> np.ndarray:
  """What a step handles: itself, FLOPs, parameters, logits, stream, scores."""
  cfg = cell.config
  assert isinstance(cfg, TrainConfig)
  model = cfg.model
  rows = cfg.batch_size // cfg.accumulation
  source, target = model.seq_len, getattr(model, 'target_len', None)
  tokens, pairs, predicted = source, source**2, source
  if target is not None:  # A second stack, with cross attention.
    tokens, pairs = tokens + target, pairs + target**2 + source * target
    predicted = target
  heads = getattr(model, 'n_heads', 1)
  return np.array(
    [
      1.0,
      cfg.flops_per_step,
      model.n_params,
      rows * predicted * model.vocab_size,
      rows * tokens * model.n_layers * model.d_model,
      rows * pairs * model.n_layers * heads,
    ]
  )


def _trained(cell: Cell) -> bool:
  return isinstance(cell.config, TrainConfig)


def _kept(study: StudyConfig) -> pathlib.Path:
  """Where this study's findings on this device are kept."""
  at_once = study.executor.at_once
  told = json.dumps([provenance.provenance(), at_once, Cost._fields])
  here = hashlib.sha256(told.encode()).hexdigest()[:12]
  name = f'{config.fingerprint(study)}-{here}.json'
  return cache.default_folder() / 'calibration' / name
