"""The yardstick: bits per byte of the same span given the same context.

Every architecture gives a proper likelihood of a target span (METHODS.md, three
architectures on one axis): special tokens are removed and the softmax
renormalised over text, so that over all spans of a length the probabilities sum
to one, and the figures compare.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from research.config import BadInput
from research.data.pipeline import Dataset
from research.data.tokenizers import Tokenizer
from research.evals.likelihood import ratio
from research.inference import frame as frames
from research.inference.frame import Frame
from research.inference.rows import Ids
from research.inference.score import score
from research.models.ngram import NGram

Row = dict[str, Any]


class Spans(NamedTuple):
  """Targets with their contexts, each from one document.

  Attributes:
    contexts: Tokens read, [n, c].
    targets: Text tokens predicted, [n, l].
    domains: Domain of each span, n of them.
    n_bytes: Bytes that each target stands for, [n].
    tokenizer: What the ids mean.
  """

  contexts: np.ndarray
  targets: np.ndarray
  domains: tuple[str, ...]
  n_bytes: np.ndarray
  tokenizer: Tokenizer


def spans(
  dataset: Dataset,
  *,
  n: int = 64,
  length: int = 16,
  context: int = 48,
  seed: int = 0,
) -> Spans:
  """`n` spans of `length` tokens, the domains of the validation set in turn.

  Within a domain every place is as likely, and taken once, at which the target
  and the `context` tokens before it lie in one document; its bos may be the
  first of the context.

  Raises:
    BadInput: A domain has no document that long.
  """
  drawn, n_bytes = [], []
  domains = sorted(dataset.validation)
  for i, domain in enumerate(domains):
    tokens = np.asarray(dataset.validation[domain])
    share = n * (i + 1) // len(domains) - n * i // len(domains)
    places = _places(tokens == dataset.tokenizer.bos, context, length)
    if len(places) < share:
      raise BadInput(
        f'yardstick: validation of {domain} has {len(places)} places with'
        f' {context} tokens of context and {length} of target, {share} are'
        ' asked for; shorten them or raise data.validation_share'
      )
    rng = np.random.default_rng([seed, i])
    first = np.sort(rng.choice(places, share, replace=False))
    index = first[:, None] + np.arange(-context, length)
    drawn.append(tokens[index].astype(np.int32))
    sizes, _ = dataset.measure(domain, index)
    n_bytes.append(sizes[:, context:].sum(axis=1))
  rows = np.concatenate(drawn)
  return Spans(
    contexts=rows[:, :context],
    targets=rows[:, context:],
    domains=tuple(
      domain for domain, part in zip(domains, drawn, strict=True) for _ in part
    ),
    n_bytes=np.concatenate(n_bytes),
    tokenizer=dataset.tokenizer,
  )


def evaluate(model: Any, spans: Spans, *, batch_size: int = 16) -> list[Row]:
  """Yardstick rows of `model`: `rows` of its `bits`."""
  return rows(model, spans, bits(model, spans, batch_size=batch_size))


def bits(model: Any, spans: Spans, *, batch_size: int = 16) -> np.ndarray:
  """Bits that `model` needs for each span's target, [n]."""
  log_p = log_probabilities(
    model, spans.contexts, spans.targets, spans.tokenizer, batch_size=batch_size
  )
  return -log_p.sum(axis=1) / np.log(2)


def rows(model: Any, spans: Spans, bits: np.ndarray) -> list[Row]:
  """Yardstick rows (task, domain, metric, value, stderr, n, rule).

  n counts spans; standard errors are over spans, which are the same for all
  models: of a difference between two, they say too much.

  Args:
    model: Whose `bits` they are.
    spans: What was read.
    bits: Of each span, [n].
  """
  return _rows('yardstick', spans, bits, f'{_how(model)}; {_what(spans)}')


def evaluate_pseudo(
  model: Any, spans: Spans, *, batch_size: int = 16
) -> list[Row]:
  """As `evaluate`, for an encoder, each target masked alone.

  No likelihood: every prediction sees the rest of the target (Salazar et al.
  2020, eq. 1), so the figure does not compare with the yardstick's.
  """
  log_p = pseudo_log_probabilities(
    model, spans.contexts, spans.targets, spans.tokenizer, batch_size=batch_size
  )
  rule = f'each target masked alone, not a likelihood; {_what(spans)}'
  bits = -log_p.sum(axis=1) / np.log(2)
  return _rows('pseudo_log_likelihood', spans, bits, rule)


def log_probabilities(
  model: Any,
  contexts: np.ndarray,
  targets: np.ndarray,
  tokenizer: Tokenizer,
  *,
  batch_size: int = 16,
) -> np.ndarray:
  """log p(target token | context, targets before it) in nats, [n, l].

  A sum along a row is the logarithm of a probability distribution over all
  rows of l text tokens.

  Args:
    model: A network with `cfg`, or a fitted `NGram`.
    contexts: Token ids [n, c], each row of one document.
    targets: Text ids [n, l].
    tokenizer: The model's.
    batch_size: Rows a forward pass.

  Raises:
    BadInput: Context and target do not fit the model's lengths.
  """
  if isinstance(model, NGram):
    rows = np.concatenate([contexts, targets], axis=1)
    found = model.log_probabilities(rows, tokenizer.n_text)
    return found[:, -targets.shape[1] :]
  return _scored(model, contexts, targets, tokenizer, batch_size)


def pseudo_log_probabilities(
  model: Any,
  contexts: np.ndarray,
  targets: np.ndarray,
  tokenizer: Tokenizer,
  *,
  batch_size: int = 16,
) -> np.ndarray:
  """log p(target token | context and all other targets), [n, l]; encoders."""
  if model.cfg.architecture != 'encoder':
    raise BadInput(
      f'pseudo-log-likelihood: architecture={model.cfg.architecture} reads in'
      ' one direction; give an encoder'
    )
  return _scored(model, contexts, targets, tokenizer, batch_size, seen=True)


def _scored(
  model: Any,
  contexts: np.ndarray,
  targets: np.ndarray,
  tokenizer: Tokenizer,
  batch_size: int,
  **how: Any,
) -> np.ndarray:
  check(model.cfg, tokenizer, contexts.shape[1], targets.shape[1])
  cut, frame = _framed(model.cfg.architecture, contexts, tokenizer)
  pairs = list(zip(cut, targets, strict=True))
  found = score(model, pairs, frame, batch_size=batch_size, **how)
  return np.stack([one.text for one in found])


def _framed(
  architecture: str, contexts: np.ndarray, tokenizer: Tokenizer
) -> tuple[Sequence[Ids], Frame]:
  """Contexts as they are put to a model, and the frame around them.

  Our models read pieces as they were trained, with bos where a document begins
  and nowhere else. Others read each piece in their own frame, in the place of
  our bos, which may be no beginning to them (T5's is its padding). A decoder
  that puts nothing before a text (GPT-2) was trained as ours are.
  """
  frame = frames.asking(architecture, tokenizer)
  bos, own = tokenizer.bos, tokenizer.specials.own
  if own is None:
    return list(contexts), frame._replace(before=())
  if architecture == 'decoder' and not frame.before:
    return list(contexts), frame
  return [row[int(row[0] == bos) :] for row in contexts], frame


def check(cfg: Any, tokenizer: Tokenizer, context: int, length: int) -> None:
  """Refuses spans that a model of `cfg` cannot hold.

  Raises:
    BadInput: They do not fit its lengths.
  """
  text = np.full((1, context), -1)
  _, frame = _framed(cfg.architecture, text, tokenizer)
  needed = len(frame.before) + context + len(frame.after)
  if cfg.architecture == 'encoder_decoder':
    there = cfg.longest_target
    if there < len(frame.start) + length - 1:
      raise BadInput(
        f'yardstick: target_len={there} does not hold spans of'
        f' {length} tokens; shorten them'
      )
  else:
    needed += length - (cfg.architecture != 'encoder')
  if cfg.seq_len < needed:
    raise BadInput(
      f'yardstick: seq_len={cfg.seq_len} does not hold {context} tokens of'
      f' context and {length} of target; shorten them'
    )


def _places(begins: np.ndarray, context: int, length: int) -> np.ndarray:
  """Where a target may begin: no document begins after the context's first."""
  before = np.concatenate([[0], np.cumsum(begins)])
  first = np.arange(context, len(begins) - length + 1)
  crossed = before[first + length] - before[np.maximum(first - context + 1, 0)]
  return first[crossed == 0]


def _how(model) -> str:
  if isinstance(model, NGram):
    return f'left to right, each token from the {model.order - 1} before it'
  return {
    'decoder': 'left to right',
    'lstm': 'left to right',
    'encoder': 'target masked and revealed left to right, one pass a token',
    'encoder_decoder': 'context and sentinel 0 read, target decoded after it',
  }[model.cfg.architecture]


def _what(spans: Spans) -> str:
  n, length = spans.targets.shape
  own = spans.tokenizer.specials.own is not None
  specials = 'of its vocabulary kept' if own else 'removed'
  return (
    f'{n} spans of {length} tokens, as many in each domain, after'
    f' {spans.contexts.shape[1]} of the same document; special tokens'
    f' {specials}; per byte of the targets'
  )


def _rows(task: str, spans: Spans, bits: np.ndarray, rule: str) -> list[Row]:
  domains = np.array(spans.domains)
  rows = []
  for domain in ('all', *dict.fromkeys(spans.domains)):
    mine = np.ones(len(bits), bool) if domain == 'all' else domains == domain
    value, stderr = ratio(bits[mine], spans.n_bytes[mine])
    rows.append(
      {
        'task': task,
        'domain': domain,
        'metric': 'bits_per_byte',
        'value': value,
        'stderr': stderr,
        'n': int(mine.sum()),
        'rule': rule,
      }
    )
  return rows
