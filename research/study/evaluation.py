"""What is measured on a trained model, and with how much text."""

import dataclasses
import functools
from typing import Any, NamedTuple

from research.config import BadInput
from research.data.pipeline import Dataset
from research.evals import perplexity, yardstick
from research.evals.perplexity import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
  """How much validation text each model reads.

  Attributes:
    n_tokens: Most validation tokens of each domain, spread evenly over it.
    window: Tokens a row that are read together, and the stride; None: as many
      as the model was trained on (an n-gram model: 128).
    n_spans: Spans of the yardstick.
    span_length: Tokens of a span.
    context: Tokens before a span that every architecture reads.
    batch_size: Rows evaluated together; no part of the result.
    seed: Of the spans, and of the masks of native validation.
  """

  n_tokens: int = 16_384
  window: int | None = None
  n_spans: int = 64
  span_length: int = 16
  context: int = 96
  batch_size: int = dataclasses.field(
    default=32, metadata={'fingerprint': False}
  )
  seed: int = 0

  def __post_init__(self):
    for name in ('n_tokens', 'window', 'n_spans', 'span_length', 'context'):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise BadInput(f'{name}={value} must be at least 1')


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


def check(model: Any, dataset: Dataset, how: Evaluation) -> None:
  """Refuses spans that the text or the model cannot hold; computes nothing.

  Args:
    model: Its config; None for an n-gram model.
    dataset: What it is evaluated on.
    how: The spans.

  Raises:
    BadInput: As `evaluate`.
  """
  specials = _spans(dataset, how).specials
  if model is not None:
    yardstick.layout_of(model, how.context, how.span_length, specials)


def evaluate(model: Any, dataset: Dataset, how: Evaluation) -> Measured:
  """Native validation and the yardstick, for any kind of model."""
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
  rows += yardstick.rows(model, spans, bits)
  if getattr(config, 'architecture', None) == 'encoder':
    rows += yardstick.evaluate_pseudo(model, spans, batch_size=how.batch_size)
  columns = spans.domains, bits.tolist(), spans.n_bytes.tolist()
  return Measured(
    rows,
    [
      {'span': i, 'domain': domain, 'bits': b, 'bytes': n}
      for i, (domain, b, n) in enumerate(zip(*columns, strict=True))
    ],
  )


@functools.lru_cache(maxsize=4)
def _spans(dataset: Dataset, how: Evaluation) -> yardstick.Spans:
  return yardstick.spans(
    dataset,
    n=how.n_spans,
    length=how.span_length,
    context=how.context,
    seed=how.seed,
  )
