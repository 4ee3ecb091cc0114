"""What is measured on a trained model, with how much text and which tasks."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from research import files
from research.config import BadInput
from research.data import pipeline
from research.data.corpora import Corpus
from research.data.lossy import Lossy
from research.data.pipeline import DataConfig, Dataset
from research.evals import abilities, perplexity, yardstick
from research.evals.perplexity import Row
from research.evals.prompts import Prompting, Task
from research.inference import frame as frames


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
  """How much validation text each model reads, and what it is asked.

  Attributes:
    corpus: Text that is read, all of it, by the tokenizer each model has; None:
      what is held out of the corpus that it was trained on (an imported model:
      of the embedded one).
    n_tokens: Most validation tokens of each domain, spread evenly over it.
    window: Tokens a row that are read together, and the stride; None: as many
      as the model was trained on (an n-gram model: 128).
    n_spans: Spans of the yardstick.
    span_length: Tokens of a span.
    context: Tokens before a span that every architecture reads.
    batch_size: Rows evaluated together; no part of the result.
    seed: Of the spans, of the masks of native validation, and of the items.
    tasks: What is asked of every network, in each way and with all `shots`.
    shots: Numbers of solved items before a question.
    prompting: Ways to ask (`evals.prompts.Posed`).
    n_items: Items of each task.
    n_samples: Answers drawn for each item, from which PassUntil is told.
  """

  corpus: Corpus | None = None
  n_tokens: int = 16_384
  window: int | None = None
  n_spans: int = 64
  span_length: int = 16
  context: int = 96
  batch_size: int = dataclasses.field(
    default=32, metadata={'fingerprint': False}
  )
  seed: int = 0
  tasks: tuple[Task, ...] = ()
  shots: tuple[int, ...] = (0,)
  prompting: tuple[Prompting, ...] = ('plain',)
  n_items: int = 200
  n_samples: int = 0

  def __post_init__(self):
    counts = 'n_tokens', 'window', 'n_spans', 'span_length', 'context'
    for name in (*counts, 'n_items'):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise BadInput(f'{name}={value} must be at least 1')
    if self.n_samples < 0 or any(k < 0 for k in self.shots):
      raise BadInput(
        f'n_samples={self.n_samples} and shots={self.shots} must be at least 0'
      )

  @property
  def asking(self) -> dict[str, Any]:
    """How tasks are asked, as `abilities.check` and `evaluate` take it."""
    return {
      'shots': self.shots,
      'prompting': self.prompting,
      'n_items': self.n_items,
      'seed': self.seed,
    }


class Measured(NamedTuple):
  """What was measured on a model.

  Attributes:
    rows: Native validation and yardstick, one value a row.
    spans: The yardstick's spans: `span`, `domain`, `bits` and `bytes` of each.
      All models read the same ones, so that differences between models are
      known better than either.
  """

  rows: list[Row]
  spans: list[Row]


@functools.lru_cache(maxsize=4)
def text(data: DataConfig, how: Evaluation) -> Dataset:
  """The held-out text that a model of `data` is evaluated on.

  Raises:
    BadInput: The corpus or the tokenizer cannot be read.
    OSError: Its tokens cannot be kept.
  """
  if how.corpus is None:
    return pipeline.prepare(data)
  return pipeline.held_out(data, how.corpus)


def check(model: Any, dataset: Dataset, how: Evaluation) -> None:
  """Refuses spans and prompts that text or model cannot hold; computes nothing.

  Args:
    model: Its config; None for an n-gram model.
    dataset: What it is evaluated on.
    how: The spans and the tasks.

  Raises:
    BadInput: As `evaluate`.
  """
  _spans(dataset, how)
  if model is not None:
    lengths = how.context, how.span_length
    yardstick.check(model, dataset.tokenizer, *lengths)
    abilities.check(model, dataset.tokenizer, how.tasks, **how.asking)


def evaluate(
  model: Any,
  dataset: Dataset,
  how: Evaluation,
  folder: files.Path | None = None,
) -> Measured:
  """Native validation and the yardstick, for any kind of model; tasks.

  An n-gram model is asked none. Outputs of tasks are kept in `folder`, if
  given, and read there rather than asked for again.
  """
  spans = _spans(dataset, how)
  config = getattr(model, 'cfg', None)
  rows = perplexity.evaluate(
    model,
    dataset,
    window=how.window or getattr(config, 'seq_len', 128),
    n_tokens=how.n_tokens,
    batch_size=how.batch_size,
    seed=how.seed,
  )
  bits = yardstick.bits(model, spans, batch_size=how.batch_size)
  asked = yardstick.rows(model, spans, bits)
  if getattr(config, 'architecture', None) == 'encoder':
    asked += yardstick.evaluate_pseudo(model, spans, batch_size=how.batch_size)
  if config is not None:
    asked += abilities.evaluate(
      model,
      dataset.tokenizer,
      how.tasks,
      **how.asking,
      n_samples=how.n_samples,
      batch_size=how.batch_size,
      folder=folder,
    )
    frame = frames.asking(config.architecture, dataset.tokenizer)
    told = frames.told(frame, dataset.tokenizer)
    asked = [{**row, 'rule': row['rule'] + told} for row in asked]
  rows += asked
  said = _source(dataset, how) + _caveat(dataset)
  rows = [{**row, 'rule': row['rule'] + said} for row in rows]
  columns = spans.domains, bits.tolist(), spans.n_bytes.tolist()
  return Measured(
    rows,
    [
      {'span': i, 'domain': domain, 'bits': b, 'bytes': n}
      for i, (domain, b, n) in enumerate(zip(*columns, strict=True))
    ],
  )


def _source(dataset: Dataset, how: Evaluation) -> str:
  """Which text was read, if it is not what the model's own corpus holds out."""
  if how.corpus is None:
    return ''
  return f'; text: {how.corpus}, hash {dataset.hash}'


def _caveat(dataset: Dataset) -> str:
  """What has to be said of a tokenizer that changes text, and how much."""
  tokenizer = dataset.tokenizer
  if not isinstance(tokenizer, Lossy) or tokenizer.unknown is None:
    return tokenizer.caveat
  tokens = np.concatenate(list(dataset.validation.values()))
  share = np.mean(tokens == tokenizer.unknown)
  return f'{tokenizer.caveat}; {share:.2%} of held-out tokens are unknown to it'


@functools.lru_cache(maxsize=4)
def _spans(dataset: Dataset, how: Evaluation) -> yardstick.Spans:
  return yardstick.spans(
    dataset,
    n=how.n_spans,
    length=how.span_length,
    context=how.context,
    seed=how.seed,
  )
