"""A study: a question, designs that make cells, and how they are evaluated."""

from collections.abc import Iterator
import dataclasses
from typing import Any

from research import config
from research.config import BadInput
from research.data.pipeline import DataConfig
from research.models.config import ModelConfig
from research.scaling.ladder import Ladder
from research.scaling.laws.chinchilla import Chinchilla
from research.study.cells import Cell, NGram
from research.study.evaluation import Evaluation
from research.study.executors import InProcess, Pool
from research.study.published import Published
from research.train.config import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsoFlop:
  """Every size of a ladder at every budget: one isoFLOP curve a budget.

  Attributes:
    train: What all its cells share; model, batch size, steps, warm-up and
      learning rate are set by the ladder.
    ladder: How a dial makes a size.
    dials: The sizes.
    budgets: Model FLOPs of each curve.
    seeds: Cells are repeated over these.
    repeated: Budgets whose cells are repeated; the others are run with the
      first seed alone. None: all of them.
    predicted: Whether the cells of the largest budget wait until what the
      smaller ones say of them is registered (`study/predictions.py`).
    fitted: Whether laws are fitted to its cells, too, and not only drawn
      beside them: cells far from where the ladder was tuned bend a law.
  """

  train: TrainConfig
  ladder: Ladder
  dials: tuple[int, ...]
  budgets: tuple[float, ...]
  seeds: tuple[int, ...] = (0,)
  repeated: tuple[float, ...] | None = None
  predicted: bool = False
  fitted: bool = True

  def __post_init__(self):
    for name in ('dials', 'budgets', 'seeds'):
      if not getattr(self, name):
        raise BadInput(f'{name} is empty; name at least one')
    if unknown := set(self.repeated or ()) - set(self.budgets):
      raise BadInput(
        f'repeated={min(unknown):g} is none of the budgets; name some of'
        f' {", ".join(f"{b:g}" for b in self.budgets)}'
      )
    if self.predicted and len(set(self.budgets)) < 4:
      raise BadInput(
        f'predicted=True needs four budgets, three to learn from, not'
        f' {len(set(self.budgets))}'
      )

  def cells(self) -> Iterator[Cell]:
    """One cell a size, budget and seed."""
    for dial in self.dials:
      model = self.ladder.size(dial)
      for budget in self.budgets:
        once = self.repeated is not None and budget not in self.repeated
        for seed in self.seeds[:1] if once else self.seeds:
          labels = {'size': size_label(model), 'budget': budget, 'seed': seed}
          yield Cell(
            self._train(model, budget, seed), {**labels, 'fitted': self.fitted}
          )

  def waits(self, cell: Cell) -> bool:
    """Whether `cell`, of this design, waits for a registered prediction."""
    return self.predicted and cell.labels['budget'] == max(self.budgets)

  def _train(self, model, budget: float, seed: int) -> TrainConfig:
    n_steps = self.ladder.steps(model, budget)
    return dataclasses.replace(
      self.train,
      model=model,
      batch_size=self.ladder.sequences(model),
      learning_rate=self.ladder.rate(model),
      warmup_steps=self.ladder.warmup(n_steps),
      n_steps=n_steps,
      seed=seed,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
  """One swept field.

  Attributes:
    field: Dotted path in the config, such as `learning_rate` or
      `model.d_model`.
    values: What it takes.
  """

  field: str
  values: tuple[float | int | str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
  """Every combination of some fields' values; with no axes, one cell.

  Attributes:
    train: The config that is varied.
    axes: The swept fields.
    flops: If given, each cell's steps are set so that it spends this many
      model FLOPs, whatever its batch and size; warm-up keeps its share.
  """

  train: TrainConfig
  axes: tuple[Axis, ...] = ()
  flops: float | None = None

  def cells(self) -> Iterator[Cell]:
    """One cell a combination."""
    paths = {axis.field: axis.values for axis in self.axes}
    for made in config.grid(self.train, paths):
      made = self._spend(made)
      labels = {path: _at(made, path) for path in paths}
      yield Cell(
        made,
        {'size': size_label(made.model), 'budget': self.flops, **labels},
      )

  def _spend(self, made: TrainConfig) -> TrainConfig:
    if self.flops is None:
      return made
    steps = max(1, round(self.flops / made.flops_per_step))
    warmup = max(1, round(steps * made.warmup_steps / made.n_steps))
    return dataclasses.replace(made, n_steps=steps, warmup_steps=warmup)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
  """One size of a published suite: what it is called, and what it must be."""

  name: str
  model: ModelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
  """Published checkpoints: every size at every step, read and not trained.

  Attributes:
    name: What it is called, where a study has several: its `source`, if empty.
    source: Where one is, with `{size}` in it, and `{step}` if there are several
      steps: a folder or ORG/NAME@REVISION on the hub.
    sizes: Their names and parts.
    steps: Training steps.
    tokens_per_step: Tokens of a step.
    target_len: Of an encoder-decoder's rows in training, which FLOPs count;
      None: as long as the model's.
    once: Whether training is known to have read no text twice.
    data: What all are evaluated on, each by its own tokenizer.
    memory: Most GiB one may take, or it is skipped; None: all there are.
  """

  name: str = ''
  source: str
  sizes: tuple[Size, ...]
  steps: tuple[int, ...]
  tokens_per_step: int
  target_len: int | None = None
  once: bool = False
  data: DataConfig = DataConfig()
  memory: float | None = dataclasses.field(
    default=None, metadata={'fingerprint': False}
  )

  def __post_init__(self):
    for name, values in (('size', self.sizes), ('step', self.steps)):
      if not values:
        raise BadInput(f'{name}s is empty; name at least one')
      some = name == 'size' or len(values) > 1
      if some and f'{{{name}}}' not in self.source:
        raise BadInput(f'source={self.source} must have {{{name}}} in it')

  def cells(self) -> Iterator[Cell]:
    """One cell a size and step; its budget is what its training has spent.

    The label `series` is the same for the checkpoints of one training run.
    """
    for size in self.sizes:
      for step in self.steps:
        source = self.source.replace('{size}', size.name)
        made = Published(
          source=source.replace('{step}', str(step)),
          model=size.model,
          step=step,
          tokens_per_step=self.tokens_per_step,
          target_len=self.target_len,
          once=self.once,
          data=self.data,
          memory=self.memory,
        )
        labels = {
          'size': size.name,
          'budget': float(made.flops),
          'seed': None,
          'suite': self.name or self.source,
          'series': source,
        }
        yield Cell(made, labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyConfig:
  """A question, the cells that answer it, and how they are run.

  Attributes:
    title: The report's heading.
    question: What the study asks, in a sentence.
    designs: What is trained, or read.
    evaluation: How each cell is evaluated.
    law: What is fitted to each architecture; no part of the fingerprint.
    executor: How cells are run; no part of the fingerprint.
    flops_per_second: Sustained rate that the plan's times assume, measured on
      the machine the study is meant for; no part of the fingerprint.
    seconds_per_shape: Compilation of one size, likewise.
  """

  title: str
  question: str
  designs: tuple[IsoFlop | Grid | NGram | Suite, ...]
  evaluation: Evaluation = Evaluation()
  law: Chinchilla = dataclasses.field(
    default=Chinchilla(), metadata={'fingerprint': False}
  )
  executor: InProcess | Pool = dataclasses.field(
    default=InProcess(), metadata={'fingerprint': False}
  )
  flops_per_second: float = dataclasses.field(
    default=2e10, metadata={'fingerprint': False}
  )
  seconds_per_shape: float = dataclasses.field(
    default=10.0, metadata={'fingerprint': False}
  )


def cells(study: StudyConfig) -> list[Cell]:
  """The cells of every design, in order, each once."""
  found: dict[str, Cell] = {}
  for design in study.designs:
    for cell in _cells(design):
      found.setdefault(cell.name, cell)
  return list(found.values())


def waiting(study: StudyConfig) -> list[Cell]:
  """The cells that wait until predictions of them are registered."""
  found = {
    cell.name: cell
    for design in study.designs
    if isinstance(design, IsoFlop)
    for cell in design.cells()
    if design.waits(cell)
  }
  return list(found.values())


def _cells(design) -> Iterator[Cell]:
  if isinstance(design, NGram):
    return iter([Cell(design, {'size': f'{design.order}-gram'})])
  return design.cells()


def groups(planned: list[Cell]) -> list[list[tuple[int, Cell]]]:
  """Cells by what is compiled for them, the costliest group first."""
  by_shape: dict[Any, list[tuple[int, Cell]]] = {}
  for index, cell in enumerate(planned):
    by_shape.setdefault(_shape(cell), []).append((index, cell))
  return sorted(
    by_shape.values(), key=lambda g: -sum(cell.flops for _, cell in g)
  )


def _shape(cell: Cell):
  if isinstance(cell.config, NGram):
    return cell.config
  if isinstance(cell.config, Published):
    return cell.config.model
  c = cell.config
  return c.model, c.batch_size, c.optimizer, c.schedule, c.objectives


def size_label(model) -> str:
  """Width x depth, with both depths where they are two stacks."""
  return f'{model.d_model}x{model.n_layers}'


def _at(made, path: str):
  for name in path.split('.'):
    made = made[int(name)] if name.isdigit() else getattr(made, name)
  return made
