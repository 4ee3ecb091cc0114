"""A cell: one model to train and evaluate, and the running of it."""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
from pathlib import Path
import time
from typing import Any, NamedTuple

from research import config, provenance
from research.config import BadInput
from research.data import pipeline
from research.data.pipeline import DataConfig
from research.scaling.ladder import model_flops
from research.study import evaluation, store
from research.study.evaluation import Evaluation
from research.train import loop
from research.train.loop import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class NGram:
  """A modified Kneser-Ney model: a baseline that is counted, not trained.

  Attributes:
    data: Corpus and tokenizer; those of the study's other cells.
    order: Longest n-gram, in tokens.
    n_tokens: Training tokens it counts; None for all of them.
  """

  data: DataConfig
  order: int = 5
  n_tokens: int | None = None

  def __post_init__(self):
    if self.order < 1:
      raise BadInput(f'order={self.order} must be at least 1')


class Cell(NamedTuple):
  """One model to train and evaluate.

  Attributes:
    config: What is run.
    labels: Columns that say where the cell stands in its design (`size`,
      `budget`, `seed`, swept fields).
  """

  config: TrainConfig | NGram
  labels: Mapping[str, Any]

  @property
  def architecture(self) -> str:
    if isinstance(self.config, NGram):
      return 'ngram'
    return self.config.model.architecture

  @property
  def name(self) -> str:
    """The name of the cell's folder: readable, and unique by fingerprint."""
    size = f'-{self.labels["size"]}' if 'size' in self.labels else ''
    return f'{self.architecture}{size}-{config.fingerprint(self.config)}'

  @property
  def params(self) -> int | None:
    """All parameters; None for an n-gram model, which counts when fitted."""
    if isinstance(self.config, NGram):
      return None
    return self.config.model.n_params

  @property
  def tokens(self) -> int | None:
    """Corpus tokens that training consumes."""
    if isinstance(self.config, NGram):
      return self.config.n_tokens
    c = self.config
    return c.n_steps * c.batch_size * c.model.seq_len

  @property
  def flops(self) -> int:
    """Model FLOPs that training spends."""
    if isinstance(self.config, NGram):
      return 0
    c = self.config
    return c.n_steps * c.batch_size * model_flops(c.model)

  def folder(self, workdir: Path) -> Path:
    """Where the cell's run lives."""
    return workdir / 'runs' / self.name


class Work(NamedTuple):
  """What an executor does with a cell: trains it, evaluates it, keeps rows.

  Attributes:
    workdir: The study's folder.
    evaluation: How the trained model is evaluated.
  """

  workdir: Path
  evaluation: Evaluation

  def __call__(self, cell: Cell, report: Callable[[float], None]) -> None:
    run = cell.folder(self.workdir)
    store.begin(run)
    try:
      rows = list(self._rows(cell, run, report))
    except Exception as error:
      store.fail(run, ' '.join(f'{type(error).__name__}: {error}'.split()))
      raise
    store.finish(run, rows)

  def _rows(
    self, cell: Cell, run: Path, report: Callable[[float], None]
  ) -> Iterator[dict[str, Any]]:
    if isinstance(cell.config, NGram):
      found = _count(cell.config, self.evaluation)
    else:
      found = _train(cell.config, run, self.evaluation, report)
    common = {
      'run': cell.name,
      'architecture': cell.architecture,
      **cell.labels,
      'config': config.fingerprint(cell.config),
      'flop_convention': 'model FLOPs: matrix products, forward and backward',
      **provenance.provenance(),
    }
    for row in found:
      yield {**common, **row}
