"""A cell: one model to train or read, and to evaluate; the running of it."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import time
from typing import Any, NamedTuple

from research import config, provenance
from research.config import BadInput
from research.data import order, pipeline
from research.data.pipeline import DataConfig, Dataset
from research.models import ngram
from research.study import evaluation, published, store
from research.study.evaluation import Evaluation, Measured, Row, evaluate
from research.study.published import Published
from research.train import loop
from research.train.config import TrainConfig
from research.train.peak import peak


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

  config: TrainConfig | NGram | Published
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
    if isinstance(self.config, Published):
      size += f'-step{self.config.step}'
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
    if isinstance(self.config, Published):
      return self.config.tokens
    return self.config.n_steps * self.config.tokens_per_step

  @property
  def flops(self) -> int:
    """Model FLOPs that training spends, here."""
    if isinstance(self.config, NGram | Published):
      return 0
    return self.config.n_steps * self.config.flops_per_step

  def folder(self, workdir: store.Path) -> store.Path:
    """Where the cell's run lives."""
    return workdir / 'runs' / self.name


def check(cell: Cell, how: Evaluation) -> None:
  """Refuses a cell that cannot be trained or evaluated here; writes nothing.

  Raises:
    BadInput: Its data, devices or lengths do not fit. Of a published model,
      nothing is known before it is read.
  """
  if isinstance(cell.config, Published):
    return
  data, model = cell.config.data, None
  _dataset(data)
  try:
    if not isinstance(cell.config, NGram):
      model = cell.config.model
      loop.check(cell.config)
    evaluation.check(model, evaluation.text(data, how), how)
  except BadInput as error:
    raise BadInput(f'cell {cell.name}: {error}') from None


class Work(NamedTuple):
  """What an executor does with a cell: trains it, evaluates it, keeps rows.

  Attributes:
    workdir: The study's folder.
    evaluation: How the trained model is evaluated.
    at_once: How many cells share the machine's memory.
  """

  workdir: store.Path
  evaluation: Evaluation
  at_once: int = 1

  def __call__(self, cell: Cell, report: Callable[[float], None]) -> None:
    run = cell.folder(self.workdir)
    store.begin(run)
    try:
      rows, spans = self._rows(cell, run, report)
    except published.Skipped as skipped:
      store.skip(run, str(skipped))
      return
    except Exception as error:
      store.fail(run, ' '.join(f'{type(error).__name__}: {error}'.split()))
      raise
    store.write_rows(run / store.SPANS, spans)
    store.finish(run, rows)

  def _rows(
    self, cell: Cell, run: store.Path, report: Callable[[float], None]
  ) -> Measured:
    data = cell.config.data
    if isinstance(cell.config, Published):
      model, data, facts = published.read(
        cell.config, run, self.evaluation, self.at_once
      )
      kept = store.refused(run)
      if kept and kept[0]['weights_hash'] == facts['weights_hash']:
        return Measured(kept, [])  # It may have been another that was amiss.
      dataset, costs = evaluation.text(data, self.evaluation), []
    elif isinstance(cell.config, NGram):
      dataset = _dataset(data)
      model, facts, costs = _count(cell.config, dataset)
    else:
      dataset = _dataset(data)
      model, facts, costs = _train(cell.config, dataset, run, report)
    common = {
      'run': cell.name,
      'architecture': cell.architecture,
      **cell.labels,
      **facts,
      'config': config.fingerprint(cell.config),
      'tokenizer_hash': dataset.tokenizer.hash,
      'data_hash': dataset.hash,
      'mask_documents': dataset.mask_documents,
      'skill_share': data.skill_share,
      'flop_convention': 'model',
      **provenance.provenance(),
    }
    found = evaluate(
      model,
      evaluation.text(data, self.evaluation),
      self.evaluation,
      store.answers(run, facts.get('step')),
    )
    if isinstance(cell.config, Published):
      # Its spans are others than ours are: they never stand beside ours.
      found = Measured(_of_own_tokens(found.rows), [])
    return Measured(
      [{**common, **row} for row in [*costs, *found.rows]],
      [{'run': common['run'], **row} for row in found.spans],
    )


def _of_own_tokens(rows: list[Row]) -> list[Row]:
  """Rows whose rule says whose tokens the spans of the yardstick are."""
  said = '; tokens are its own tokenizer’s, so its spans are other bytes'
  return [
    {**row, 'rule': row['rule'] + said} if row['task'] == 'yardstick' else row
    for row in rows
  ]


def _train(
  cfg: TrainConfig,
  dataset: Dataset,
  run: store.Path,
  report: Callable[[float], None],
) -> tuple[Any, dict[str, Any], list[Row]]:
  """The trained model, what was spent on it, and rows of what it cost."""
  result = loop.train(
    cfg, run, on_progress=lambda p: report(p.step / p.n_steps)
  )
  unique, epochs = order.accounting(
    dataset.n_train_tokens, cfg.model.seq_len, cfg.n_steps, cfg.batch_size
  )
  facts = {
    'params': cfg.model.n_params,
    'params_non_embedding': cfg.model.n_params_non_embedding,
    'flops': result.flops,
    'tokens': result.tokens,
    'unique_tokens': unique,
    'epochs': epochs,
    'step': result.steps,
    'seed': cfg.seed,
    'learning_rate': cfg.learning_rate,
    'batch_size': cfg.batch_size,
    'order_hash': result.data_hash,
  }
  costs = {
    'seconds': result.seconds,
    'compile_seconds': result.compile_seconds,
    'tokens_per_second': result.tokens_per_second,
    'loss': result.loss,
    'mfu': _mfu(cfg, result),
  }
  return result.model, facts, _costs(costs)


def _mfu(cfg: TrainConfig, result: loop.Result) -> float | None:
  """Share of the devices' peak that model FLOPs took up."""
  n_devices, stated = loop.program(cfg).mesh.size, cfg.logging.peak_flops
  most = stated * n_devices if stated else peak(n_devices)
  if most is None or result.tokens_per_second is None:
    return None
  flops_per_token = cfg.flops_per_step / cfg.tokens_per_step
  return result.tokens_per_second * flops_per_token / most


def _count(
  cfg: NGram, dataset: Dataset
) -> tuple[Any, dict[str, Any], list[Row]]:
  """The fitted n-gram model, what it read, and a row of what it cost."""
  begun = time.perf_counter()
  tokenizer = dataset.tokenizer
  model = ngram.NGram(cfg.order, tokenizer.vocab_size)
  model.fit(dataset.train, tokenizer.bos, cfg.n_tokens)
  facts = {
    'params': model.n_params,
    'tokens': model.n_tokens,
    'unique_tokens': model.n_tokens,
    'epochs': 1.0,
  }
  return model, facts, _costs({'seconds': time.perf_counter() - begun})


def _costs(values: Mapping[str, float | None]) -> list[Row]:
  return [
    {'task': 'training', 'domain': 'all', 'metric': metric, 'value': value}
    for metric, value in values.items()
    if value is not None
  ]


@functools.lru_cache(maxsize=4)
def _dataset(cfg: DataConfig) -> Dataset:
  return pipeline.prepare(cfg)
