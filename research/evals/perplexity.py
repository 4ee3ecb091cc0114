"""Native validation: each architecture's own loss on the held-out documents.

A domain's validation tokens are cut into rows of `window` tokens, stride
`window`. What is predicted differs by architecture (next tokens, masked tokens,
spans), so native figures compare only within one; each row's `rule` says what
was done. The yardstick (`evals/yardstick.py`) compares across architectures.
"""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from research.config import BadInput
from research.data.corruption import (
  Causal,
  Masked,
  SpanCorruption,
  check_objectives,
)
from research.data.layout import Layout
from research.data.pipeline import Dataset
from research.evals import framing
from research.evals.likelihood import Ratio, ratio
from research.evals.windows import Windows, windows
from research.inference import frame as frames
from research.inference.frame import Frame
from research.inference.score import target_nll
from research.models.ngram import NGram

Row = dict[str, Any]


class Sums(NamedTuple):
  """What one row of a domain adds up to; each an array [r].

  Attributes:
    nll: Nats over all targets.
    targets: Their number.
    text_nll: Nats over the targets that are text.
    n_bytes: Bytes these stand for.
    n_words: Words that begin in them; 0 where targets are not in order.
  """

  nll: np.ndarray
  targets: np.ndarray
  text_nll: np.ndarray
  n_bytes: np.ndarray
  n_words: np.ndarray


def evaluate(
  model: Any,
  dataset: Dataset,
  *,
  window: int,
  n_tokens: int = 16_384,
  batch_size: int = 16,
  objective: Masked | SpanCorruption | None = None,
  seed: int = 0,
) -> list[Row]:
  """Validation rows (task, domain, metric, value, stderr, n, rule) of `model`.

  Metrics are loss (nats a target), perplexity (its exponential), bits_per_byte
  and, where tokens are predicted in order, word_perplexity; for each domain and
  for `all`, the pool of their targets. n counts targets; standard errors are
  over rows, which are taken as independent (None if there is but one).

  Args:
    model: A network with `cfg`, or a fitted `NGram`.
    dataset: Whose `validation` is read.
    window: Tokens of a row; of one that a published encoder or encoder-decoder
      reads, what stands around its text included.
    n_tokens: Most tokens of a domain; the rows are spread evenly over it.
    batch_size: Rows a forward pass.
    objective: How an encoder's or an encoder-decoder's rows are corrupted;
      None: `Masked()` or `SpanCorruption()`, with their defaults.
    seed: Of the corruption.

  Raises:
    BadInput: There is nothing to validate on, or it does not fit the model.
  """
  ngram = isinstance(model, NGram)
  in_order = ngram or model.cfg.architecture in ('decoder', 'lstm')
  frame = None if in_order else framing.frame_of(model, dataset.tokenizer)
  domains = {
    domain: windows(tokens, dataset.tokenizer, window, n_tokens, fill=in_order)
    if frame is None
    else framing.windows(tokens, dataset.tokenizer, window, n_tokens, frame)
    for domain, tokens in dataset.validation.items()
    if len(tokens) > 1
  }
  if not domains:
    raise BadInput(
      'validation: no held-out tokens; raise data.validation_share'
    )
  if ngram:
    sums, task = _ngram_sums(model, dataset, domains), _ngram_rule(model)
  elif in_order:
    sums, task = _causal_sums(model, dataset, domains, batch_size), _CAUSAL_RULE
  else:
    if objective is None:
      encoder = model.cfg.architecture == 'encoder'
      objective = Masked() if encoder else SpanCorruption()
    sums = _corrupted_sums(
      model, dataset, domains, batch_size, objective, seed, frame
    )
    task = _corrupted_rule(objective, seed)
    if frame is not None:
      told = frames.told(frame, dataset.tokenizer)
      task += f'; documents run on{told}'
  rule = (
    f'{task}; rows of {window} tokens, stride {window}, at most'
    f' {n_tokens} tokens a domain, evenly spread'
  )
  pooled = Sums(*map(np.concatenate, zip(*sums.values(), strict=True)))
  return [
    {'task': 'validation', 'domain': domain, **row}
    for domain, one in {'all': pooled, **sums}.items()
    for row in _metrics(one, rule)
  ]


_CAUSAL_RULE = (
  'each text token from those before it in its row and document; bos begins a'
  ' document and is not predicted'
)


def _ngram_rule(model: NGram) -> str:
  return (
    f'each text token from the {model.order - 1} before it in its document;'
    ' bos begins a document and is not predicted'
  )


def _corrupted_rule(objective: Masked | SpanCorruption, seed: int) -> str:
  what = (
    'masked tokens from the rest of their row'
    if isinstance(objective, Masked)
    else 'spans and their sentinels from the rest of their row'
  )
  return f'{what}, {objective}, seed {seed}; compares within it only'


def _ngram_sums(
  model: NGram, dataset: Dataset, domains: Mapping[str, Windows]
) -> dict[str, Sums]:
  sums = {}
  for domain, part in domains.items():
    tokens = np.asarray(dataset.validation[domain])
    nll = -model.log_probabilities(tokens)
    nll = nll[part.index[:, 1:]]
    sums[domain] = _in_order(nll, part, dataset.measure(domain, part.index))
  return sums


def _causal_sums(
  model, dataset: Dataset, domains: Mapping[str, Windows], batch_size: int
) -> dict[str, Sums]:
  tokens = np.concatenate([part.tokens for part in domains.values()])
  layout = _layout(model, dataset, 'decoder')
  unused = np.random.default_rng(0)
  batch = Causal().corrupt(tokens, unused, layout)
  nll = target_nll(model, batch, dataset.tokenizer.n_text, batch_size).full
  return {
    domain: _in_order(rows, part, dataset.measure(domain, part.index))
    for (domain, part), rows in zip(
      domains.items(), _split(nll, domains), strict=True
    )
  }


def _in_order(
  nll: np.ndarray, part: Windows, sizes: tuple[np.ndarray, np.ndarray]
) -> Sums:
  """Sums over the text targets of rows whose tokens are predicted in order.

  `sizes` are bytes and words of the rows' tokens.
  """
  n_bytes, n_words = (x[:, 1:] for x in sizes)
  nll, targets, n_bytes, n_words = (
    np.where(part.scored, x, 0).sum(axis=1) for x in (nll, 1, n_bytes, n_words)
  )
  return Sums(nll, targets, nll, n_bytes, n_words)


def _corrupted_sums(
  model,
  dataset: Dataset,
  domains: Mapping[str, Windows],
  batch_size: int,
  objective: Masked | SpanCorruption,
  seed: int,
  frame: Frame | None,
) -> dict[str, Sums]:
  """Sums over the targets that corruption made."""
  tokenizer = dataset.tokenizer
  layout = _layout(model, dataset, model.cfg.architecture)
  if frame is not None:
    layout = dataclasses.replace(layout, mask_documents=False)
  rows = np.concatenate([part.tokens for part in domains.values()])
  check_objectives(
    [objective],
    model.cfg.architecture,
    row_len=rows.shape[1] - 1,
    seq_len=layout.seq_len,
    target_len=layout.target_len,
    n_sentinels=tokenizer.specials.n_sentinels,
  )
  corrupted = objective.corrupt(rows, np.random.default_rng(seed), layout)
  batch = framing.framed(corrupted, frame)
  nll = target_nll(model, batch, tokenizer.n_text, batch_size)
  scored = batch['weights'] > 0
  # Corrupting places in the same way, as numbers that are no ids, tells which
  # token of its row each target is, if it is text.
  places = np.where(rows == tokenizer.bos, rows, ~np.arange(rows.shape[1]))
  marked = objective.corrupt(places, np.random.default_rng(seed), layout)
  marked = framing.framed(marked, frame)
  text = scored & (marked['targets'] < 0)
  sizes = [dataset.measure(d, part.index)[0] for d, part in domains.items()]
  n_bytes = np.take_along_axis(
    np.concatenate(sizes), ~np.minimum(marked['targets'], -1), axis=1
  )
  columns = [
    np.where(where, values, 0).sum(axis=1)
    for where, values in (
      (scored, nll.full),
      (scored, 1),
      (text, nll.full),
      (text, n_bytes),
    )
  ]
  parts = zip(*(_split(column, domains) for column in columns), strict=True)
  return {
    domain: Sums(*part, n_words=np.zeros(len(part[0]), int))
    for domain, part in zip(domains, parts, strict=True)
  }


def _layout(model, dataset: Dataset, architecture) -> Layout:
  cfg = model.cfg
  paired = architecture == 'encoder_decoder'
  return Layout(
    architecture=architecture,
    specials=dataset.tokenizer.specials,
    seq_len=cfg.seq_len,
    target_len=(cfg.target_len or cfg.seq_len) if paired else 0,
    mask_documents=dataset.mask_documents,
  )


def _split(
  x: np.ndarray, domains: Mapping[str, Windows]
) -> Iterable[np.ndarray]:
  ends = np.cumsum([len(part.tokens) for part in domains.values()])
  return np.split(x, ends[:-1])


def _metrics(sums: Sums, rule: str) -> Iterable[Row]:
  n = int(sums.targets.sum())
  loss = ratio(sums.nll, sums.targets)
  found = {
    'loss': (loss, 'nats a token'),
    'perplexity': (_exponential(loss), 'per token'),
    'bits_per_byte': (
      ratio(sums.text_nll / np.log(2), sums.n_bytes),
      'per byte of the text targets',
    ),
  }
  if sums.n_words.any():
    per_word = ratio(sums.text_nll, sums.n_words)
    found['word_perplexity'] = (_exponential(per_word), 'per word')
  for metric, ((value, stderr), per) in found.items():
    yield {
      'metric': metric,
      'value': value,
      'stderr': stderr,
      'n': n,
      'rule': f'{per}: {rule}',
    }


def _exponential(x: Ratio) -> Ratio:
  """The exponential of a ratio, its error by the delta method."""
  with np.errstate(over='ignore'):
    value = float(np.exp(x.value))
  return Ratio(value, None if x.stderr is None else value * x.stderr)
