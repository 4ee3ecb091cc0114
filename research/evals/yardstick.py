"""The yardstick: bits per byte of the same span given the same context.

Every architecture gives a proper likelihood of a target span (METHODS.md, three
architectures on one axis): special tokens are removed and the softmax
renormalised over text, so that over all spans of a length the probabilities sum
to one, and the figures compare.
"""

from typing import Any, NamedTuple

import numpy as np

from research.config import BadInput
from research.data.layout import Layout
from research.data.pipeline import Dataset
from research.data.specials import Specials
from research.data.suffix import suffix_inputs
from research.evals.likelihood import ratio
from research.inference.score import target_nll
from research.models.ngram import NGram

Row = dict[str, Any]


class Spans(NamedTuple):
  """Targets with their contexts, each from one document.

  Attributes:
    contexts: Tokens read, [n, c].
    targets: Text tokens predicted, [n, l].
    domains: Domain of each span, n of them.
    n_bytes: Bytes that each target stands for, [n].
    specials: Layout of the ids.
  """

  contexts: np.ndarray
  targets: np.ndarray
  domains: tuple[str, ...]
  n_bytes: np.ndarray
  specials: Specials


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
    specials=dataset.tokenizer.specials,
  )


def evaluate(model: Any, spans: Spans, *, batch_size: int = 16) -> list[Row]:
  """Yardstick rows of `model`: `rows` of its `bits`."""
  return rows(model, spans, bits(model, spans, batch_size=batch_size))


def bits(model: Any, spans: Spans, *, batch_size: int = 16) -> np.ndarray:
  """Bits that `model` needs for each span's target, [n]."""
  log_p = log_probabilities(
    model, spans.contexts, spans.targets, spans.specials, batch_size=batch_size
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
    model, spans.contexts, spans.targets, spans.specials, batch_size=batch_size
  )
  rule = f'each target masked alone, not a likelihood; {_what(spans)}'
  bits = -log_p.sum(axis=1) / np.log(2)
  return _rows('pseudo_log_likelihood', spans, bits, rule)


def log_probabilities(
  model: Any,
  contexts: np.ndarray,
  targets: np.ndarray,
  specials: Specials,
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
    specials: Layout of the ids.
    batch_size: Rows a forward pass.

  Raises:
    BadInput: Context and target do not fit the model's lengths.
  """
  length = targets.shape[1]
  if isinstance(model, NGram):
    rows = np.concatenate([contexts, targets], axis=1)
    return model.log_probabilities(rows, specials.n_text)[:, -length:]
  layout = layout_of(model.cfg, contexts.shape[1], length, specials)
  if layout.architecture == 'encoder':
    passes = [
      suffix_inputs(contexts, targets, revealed, layout)
      for revealed in range(length)
    ]
    return _one_a_pass(model, passes, contexts.shape[1], specials, batch_size)
  batch = suffix_inputs(contexts, targets, 0, layout)
  scored = batch['weights'] > 0
  if layout.architecture == 'decoder':
    batch = {name: _widen(x, layout.seq_len) for name, x in batch.items()}
  nll = target_nll(model, batch, specials.n_text, batch_size).text
  return -nll[:, : scored.shape[1]][scored].reshape(targets.shape)


def pseudo_log_probabilities(
  model: Any,
  contexts: np.ndarray,
  targets: np.ndarray,
  specials: Specials,
  *,
  batch_size: int = 16,
) -> np.ndarray:
  """log p(target token | context and all other targets), [n, l]; encoders."""
  context, length = contexts.shape[1], targets.shape[1]
  layout = layout_of(model.cfg, context, length, specials)
  if layout.architecture != 'encoder':
    raise BadInput(
      f'pseudo-log-likelihood: architecture={layout.architecture} reads in one'
      ' direction; give an encoder'
    )
  passes = []
  for i in range(length):
    batch = dict(suffix_inputs(contexts, targets, length, layout))
    tokens = batch['tokens'].copy()
    tokens[:, context + i] = specials.mask
    passes.append(batch | {'tokens': tokens})
  return _one_a_pass(model, passes, context, specials, batch_size)


def _one_a_pass(
  model, passes: list, context: int, specials: Specials, batch_size: int
) -> np.ndarray:
  """log p [n, l] where pass i over all rows predicts the target's token i."""
  batch = {
    name: np.concatenate([one[name] for one in passes]) for name in passes[0]
  }
  nll = target_nll(model, batch, specials.n_text, batch_size).text
  nll = nll.reshape(len(passes), -1, nll.shape[1])
  return -np.stack([one[:, context + i] for i, one in enumerate(nll)], axis=1)


def _places(begins: np.ndarray, context: int, length: int) -> np.ndarray:
  """Where a target may begin: no document begins after the context's first."""
  before = np.concatenate([[0], np.cumsum(begins)])
  first = np.arange(context, len(begins) - length + 1)
  crossed = before[first + length] - before[np.maximum(first - context + 1, 0)]
  return first[crossed == 0]


def layout_of(
  cfg: Any, context: int, length: int, specials: Specials
) -> Layout:
  """How a model of `cfg` reads `context` tokens and a target of `length`.

  Raises:
    BadInput: They do not fit its lengths.
  """
  architecture = 'decoder' if cfg.architecture == 'lstm' else cfg.architecture
  target_len, needed = 0, context + length - (architecture == 'decoder')
  if architecture == 'encoder_decoder':
    target_len, needed = cfg.target_len or cfg.seq_len, context + 1
    if target_len < length:
      raise BadInput(
        f'yardstick: target_len={target_len} does not hold spans of'
        f' {length} tokens; shorten them'
      )
  if cfg.seq_len < needed:
    raise BadInput(
      f'yardstick: seq_len={cfg.seq_len} does not hold {context} tokens of'
      f' context and {length} of target; shorten them'
    )
  return Layout(
    architecture=architecture,
    specials=specials,
    seq_len=cfg.seq_len,
    target_len=target_len,
  )


def _widen(x: np.ndarray, width: int) -> np.ndarray:
  """Padding (segment 0) to the width that native validation has compiled."""
  return np.pad(x, ((0, 0), (0, width - x.shape[1])))


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
  return (
    f'{n} spans of {length} tokens, as many in each domain, after'
    f' {spans.contexts.shape[1]} of the same document; special tokens removed;'
    ' per byte of the targets'
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
