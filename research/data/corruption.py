"""Corruption: rows of tokens to what a model reads and must predict.

A row is `n + 1` tokens. A decoder reads its first `n` and predicts its last
`n`; an encoder or encoder-decoder reads, corrupts and predicts its first `n`.
"""

from collections.abc import Sequence
import dataclasses
from typing import ClassVar

from jaxtyping import Int
import numpy as np

from research.config import BadInput
from research.data import masking, spans
from research.data.layout import Batch, Layout
from research.data.suffix import causal_suffix, masked_suffix

Rng = np.random.Generator


@dataclasses.dataclass(frozen=True, kw_only=True)
class Causal:
  """Every token from those before it."""

  architectures: ClassVar[tuple[str, ...]] = ('decoder',)
  share: float = 1.0

  def __post_init__(self):
    _check_share(self)

  def lengths(self, architecture: str, n: int) -> tuple[int, int]:
    return n, 0

  def n_sentinels(self, architecture: str, n: int) -> int:
    return 0

  def corrupt(
    self, rows: Int[np.ndarray, 'b m'], rng: Rng, layout: Layout
  ) -> Batch:
    tokens, targets = rows[:, :-1], rows[:, 1:]
    weights = np.ones(tokens.shape, np.float32)
    return layout.single(tokens, targets, weights, layout.segments(tokens))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masked:
  """Chosen tokens from all others (BERT: Devlin 2019, section 3.1).

  In each row `rate` of the tokens that are text are chosen, a fixed count, so
  that steps weigh alike; documents' separators never are.

  Attributes:
    rate: Share of tokens chosen; they alone have weight.
    mask_share: Share of the chosen that become the mask.
    random_share: Share of the chosen that become a random text token; the
      rest stay as they are.
    share: Weight in a mixture.
  """

  architectures: ClassVar[tuple[str, ...]] = ('encoder',)
  rate: float = 0.15
  mask_share: float = 0.8
  random_share: float = 0.1
  share: float = 1.0

  def __post_init__(self):
    _check_share(self)
    _check_rate('rate', self.rate)
    if not (
      self.mask_share >= 0
      and self.random_share >= 0
      and self.mask_share + self.random_share <= 1 + 1e-9
    ):
      raise BadInput(
        f'mask_share={self.mask_share} and random_share={self.random_share}'
        ' must be shares that sum to at most 1'
      )

  def lengths(self, architecture: str, n: int) -> tuple[int, int]:
    return n, 0

  def n_sentinels(self, architecture: str, n: int) -> int:
    return 0

  def corrupt(
    self, rows: Int[np.ndarray, 'b m'], rng: Rng, layout: Layout
  ) -> Batch:
    return masking.masked_batch(
      rows[:, :-1], rng, layout, self.rate, self.mask_share, self.random_share
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanCorruption:
  """Spans taken out, from what is left (T5: Raffel 2020, section 3.1.4).

  The encoder reads the kept tokens with sentinel i in place of span i; the
  decoder begins with bos and predicts, for each span, its sentinel and its
  tokens, and after the last span one more sentinel, which ends it.

  Attributes:
    rate: Share of tokens taken out; the count is the same in every row.
    mean_span: Mean length of a span; so is the number of spans.
    share: Weight in a mixture.
  """

  architectures: ClassVar[tuple[str, ...]] = ('encoder_decoder',)
  rate: float = 0.15
  mean_span: float = 3.0
  share: float = 1.0

  def __post_init__(self):
    _check_share(self)
    _check_rate('rate', self.rate)
    if self.mean_span < 1:
      raise BadInput(f'mean_span={self.mean_span} must be at least 1 token')

  def lengths(self, architecture: str, n: int) -> tuple[int, int]:
    n_noise, n_spans = spans.span_counts(n, self.rate, self.mean_span)
    return n - n_noise + n_spans, n_noise + n_spans + 1

  def n_sentinels(self, architecture: str, n: int) -> int:
    return spans.span_counts(n, self.rate, self.mean_span)[1] + 1

  def corrupt(
    self, rows: Int[np.ndarray, 'b m'], rng: Rng, layout: Layout
  ) -> Batch:
    rows = rows[:, :-1]
    b, n = rows.shape
    n_noise, n_spans = spans.span_counts(n, self.rate, self.mean_span)
    noise = spans.random_spans(rng, b, n, n_noise, n_spans)
    return spans.span_batch(rows, noise, n_spans, layout)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixLM:
  """The rest of a row from a prefix of random length (Raffel 2020, 3.2.1).

  The prefix has 1 to n - 1 tokens, each length as likely. A decoder sees it
  in both directions (`prefix`), and the tokens after it have weight; an
  encoder-decoder reads it in the encoder.
  """

  architectures: ClassVar[tuple[str, ...]] = ('decoder', 'encoder_decoder')
  share: float = 1.0

  def __post_init__(self):
    _check_share(self)

  def lengths(self, architecture: str, n: int) -> tuple[int, int]:
    return n, n - 1

  def n_sentinels(self, architecture: str, n: int) -> int:
    return 0

  def corrupt(
    self, rows: Int[np.ndarray, 'b m'], rng: Rng, layout: Layout
  ) -> Batch:
    b, n = rows.shape[0], rows.shape[1] - 1
    prefix = rng.integers(1, max(n, 2), b)
    if layout.architecture == 'encoder_decoder':
      return layout.split(rows[:, :-1], n - prefix)
    batch = causal_suffix(rows, n + 1 - prefix, layout)
    batch['prefix'] = np.arange(n) < prefix[:, None]
    return batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuffixPrediction:
  """The last tokens of a row from those before them, as the yardstick asks.

  The length is uniform from `min_length` to `max_length`. An encoder sees a
  uniform number of the suffix's tokens, left to right, and masks for the rest.

  Attributes:
    min_length: Fewest tokens predicted.
    max_length: Most tokens predicted.
    first_only: Whether an encoder is trained on the first masked token alone,
      which is all that the yardstick asks of it.
    share: Weight in a mixture.
  """

  architectures: ClassVar[tuple[str, ...]] = (
    'encoder',
    'decoder',
    'encoder_decoder',
  )
  min_length: int = 1
  max_length: int = 32
  first_only: bool = False
  share: float = 1.0

  def __post_init__(self):
    _check_share(self)
    if not 1 <= self.min_length <= self.max_length:
      raise BadInput(
        f'min_length={self.min_length} must be from 1 to'
        f' max_length={self.max_length}'
      )

  def lengths(self, architecture: str, n: int) -> tuple[int, int]:
    if self.max_length >= n:
      raise BadInput(
        f'max_length={self.max_length} must be less than the'
        f' {n} tokens of a row, to leave a context'
      )
    return n - self.min_length + 1, self.max_length

  def n_sentinels(self, architecture: str, n: int) -> int:
    return 1 if architecture == 'encoder_decoder' else 0

  def corrupt(
    self, rows: Int[np.ndarray, 'b m'], rng: Rng, layout: Layout
  ) -> Batch:
    lengths = rng.integers(self.min_length, self.max_length + 1, len(rows))
    if layout.architecture == 'decoder':
      return causal_suffix(rows, lengths, layout)
    if layout.architecture == 'encoder_decoder':
      sentinel = layout.specials.sentinel(0)
      return layout.split(rows[:, :-1], lengths, sentinel)
    revealed = rng.integers(0, lengths)
    return masked_suffix(
      rows[:, :-1], lengths, revealed, layout, self.first_only
    )


Objective = Causal | Masked | SpanCorruption | PrefixLM | SuffixPrediction


def needed_lengths(
  specs: Sequence[Objective], architecture: str, row_len: int
) -> tuple[int, int]:
  """The least (seq_len, target_len) that hold rows of `row_len` tokens.

  Encoders and decoders read whole rows, and their target_len is 0.
  """
  each = [spec.lengths(architecture, row_len) for spec in specs]
  if architecture != 'encoder_decoder':
    return row_len, 0
  return max(s for s, _ in each), max(t for _, t in each)


def check_objectives(
  specs: Sequence[Objective],
  architecture: str,
  *,
  row_len: int,
  seq_len: int,
  target_len: int | None,
  n_sentinels: int,
) -> None:
  """Raises `BadInput` where the objectives do not fit model or tokenizer."""
  if not specs:
    raise BadInput('objectives: give at least one')
  for spec in specs:
    name = type(spec).__name__
    if architecture not in spec.architectures:
      raise BadInput(
        f'objectives: {name} cannot train architecture={architecture};'
        f' it trains {", ".join(spec.architectures)}'
      )
    sentinels = spec.n_sentinels(architecture, row_len)
    if sentinels > n_sentinels:
      raise BadInput(
        f'tokenizer.n_sentinels={n_sentinels} must be at least {sentinels}'
        f' for {name} on rows of {row_len} tokens'
      )
    need_seq, need_target = needed_lengths([spec], architecture, row_len)
    if seq_len < need_seq:
      raise BadInput(
        f'seq_len={seq_len} must be at least {need_seq} for {name} on rows of'
        f' {row_len} tokens'
      )
    if (target_len or 0) < need_target:
      raise BadInput(
        f'target_len={target_len} must be at least {need_target} for {name}'
        f' on rows of {row_len} tokens'
      )


def corrupt(
  specs: Sequence[Objective],
  rows: Int[np.ndarray, 'b m'],
  rng: Rng,
  layout: Layout,
) -> Batch:
  """The batch in which each row goes to one objective, drawn by the shares.

  Args:
    specs: The objectives, as `check_objectives` lets pass.
    rows: int32 [b, n + 1] raw tokens.
    rng: The step's own randomness.
    layout: What the batch is made for.

  Returns:
    Arrays of [b, seq_len] and [b, target_len], as `layout` tells; and
    `prefix` [b, n] bool for a decoder if any objective is PrefixLM.
  """
  if len(specs) == 1:
    return specs[0].corrupt(rows, rng, layout)
  edges = np.cumsum([spec.share for spec in specs])
  drawn = np.searchsorted(edges, rng.random(len(rows)) * edges[-1], 'right')
  batch: Batch = {}
  for i, spec in enumerate(specs):
    mine = np.flatnonzero(drawn == i)
    # An objective without rows still says which arrays a batch has.
    part = spec.corrupt(rows[mine] if len(mine) else rows[:1], rng, layout)
    for key, value in part.items():
      whole = np.zeros((len(rows), *value.shape[1:]), value.dtype)
      batch.setdefault(key, whole)[mine] = value[: len(mine)]
  return batch


def _check_share(spec) -> None:
  if not 0 < spec.share < float('inf'):
    raise BadInput(
      f'{type(spec).__name__}.share={spec.share} must be above 0; leave the'
      ' objective out to give it none'
    )


def _check_rate(name: str, rate: float) -> None:
  if not 0 < rate < 1:
    raise BadInput(f'{name}={rate} must be between 0 and 1')
