"""Scoring: log-probabilities of given tokens, in rows of few shapes.

One compiled function serves every model of the same shape, validation,
yardstick, tasks and harness alike: models are pytrees, and so arguments.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.config import BadInput
from research.inference.frame import Frame
from research.inference.rows import Ids, bucket, padded
from research.models.config import Learned

Pair = tuple[Ids, Ids]
"""Ids of a context and of a target that follows it; neither is framed."""


class Nll(NamedTuple):
  """Negative log-likelihoods in nats, float64 [n, t], weights not applied.

  Attributes:
    full: Under the softmax over the whole vocabulary.
    text: Under the softmax over text ids alone; nan where a target is special.
    best: Whether no id of the whole vocabulary is more probable.
  """

  full: np.ndarray
  text: np.ndarray
  best: np.ndarray


def target_nll(
  model: Any, batch: Mapping[str, Any], n_text: int, batch_size: int = 16
) -> Nll:
  """The nll of each of `batch['targets']` [n, t] under the model's logits.

  Args:
    model: Maps a batch to logits [b, t, v].
    batch: Arrays of n rows each, as the model takes them, and `targets`.
    n_text: Ids below this are text.
    batch_size: Rows a forward pass; the last pass is filled up with copies.
  """
  n = len(batch['targets'])
  parts = []
  for start in range(0, n, batch_size):
    rows = np.minimum(np.arange(start, start + batch_size), n - 1)
    part = {name: np.asarray(x)[rows] for name, x in batch.items()}
    parts.append(_nll(model, part, n_text=n_text))
  full, text, best = (
    np.concatenate([np.asarray(part[i]) for part in parts])[:n]
    for i in range(3)
  )
  return Nll(full.astype(np.float64), text.astype(np.float64), best)


@functools.partial(jax.jit, static_argnames='n_text')
def _nll(model, batch, *, n_text: int):
  logits, targets = model(batch), jnp.asarray(batch['targets'])
  full, chosen = _one_nll(logits, targets)
  text, _ = _one_nll(logits[..., :n_text], jnp.minimum(targets, n_text - 1))
  best = chosen >= jnp.max(logits, axis=-1)
  return full, jnp.where(targets < n_text, text, jnp.nan), best


def _one_nll(logits, targets):
  """The nll of each target, and its logit."""
  chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
  return jax.nn.logsumexp(logits, axis=-1) - chosen, chosen


class Score(NamedTuple):
  """What a model thinks of one target, token by token, [l].

  Attributes:
    full: Log-probabilities in nats, of the whole vocabulary.
    text: The same of text ids alone, which makes architectures compare; nan
      where a token is special.
    best: Whether no id is more probable.
  """

  full: np.ndarray
  text: np.ndarray
  best: np.ndarray


class _Pass(NamedTuple):
  """One row of a forward pass.

  Attributes:
    pair: Which pair it is of.
    read: What the model (its decoder, if it has two sides) reads.
    source: What its encoder reads, if it has two sides.
    offset: Where in `read` the first of the targets is predicted.
    targets: Ids whose log-probability is asked for.
  """

  pair: int
  read: list[int]
  source: list[int]
  offset: int
  targets: list[int]


def score(
  model: Any,
  pairs: Sequence[Pair],
  frame: Frame,
  *,
  batch_tokens: int = 4096,
) -> list[Score]:
  """log p(token | context, target before it) of every target's tokens.

  A decoder reads context and target; an encoder-decoder reads the context and
  writes the target; an encoder reads the target masked and revealed from left
  to right, a pass a token (METHODS.md: one yardstick).

  Args:
    model: A transformer, or any model that maps a batch to logits.
    pairs: Contexts and targets.
    frame: The ids around them.
    batch_tokens: Ids read in a forward pass, padding included, if a row is no
      longer than that; no part of the result but for rounding.

  Raises:
    BadInput: A pair does not fit the model's positions.
  """
  groups: dict[tuple[int, int], list[_Pass]] = {}
  for i, pair in enumerate(pairs):
    for one in _passes(model.cfg.architecture, i, pair, frame):
      groups.setdefault(_widths(model.cfg, one), []).append(one)
  found: list[list[Score]] = [[] for _ in pairs]
  for widths, passes in groups.items():
    n_rows = max(min(batch_tokens // sum(widths), bucket(len(passes), 1)), 1)
    nll = target_nll(model, _batch(passes, *widths), frame.n_text, n_rows)
    for row, one in enumerate(passes):
      at = slice(one.offset, one.offset + len(one.targets))
      scored = Score(-nll.full[row, at], -nll.text[row, at], nll.best[row, at])
      found[one.pair].append(scored)
  nothing = Score(np.zeros(0), np.zeros(0), np.zeros(0, bool))
  return [
    Score(*map(np.concatenate, zip(nothing, *of, strict=True))) for of in found
  ]


def _passes(
  architecture: str, i: int, pair: Pair, frame: Frame
) -> Iterator[_Pass]:
  """The rows that together predict each token of a target once."""
  context, target = (list(map(int, ids)) for ids in pair)
  if not target:
    return
  if architecture == 'encoder':
    if frame.mask is None:
      raise BadInput(
        'architecture=encoder: the tokenizer has no mask to score by'
      )
    before = [*frame.before, *context]
    for shown in range(len(target)):
      masks = [frame.mask] * (len(target) - shown)
      read = [*before, *target[:shown], *masks, *frame.after]
      yield _Pass(i, read, [], len(before) + shown, [target[shown]])
  elif architecture == 'encoder_decoder':
    read = [*frame.start, *target[:-1]]
    source = frame.around(context)
    yield _Pass(i, read, source, len(frame.start) - 1, target)
  else:
    read = frame.around(context)
    yield _Pass(i, [*read, *target[:-1]], [], len(read) - 1, target)


def _widths(cfg: Any, one: _Pass) -> tuple[int, int]:
  """Places for what is read on either side; 0 where there is no such side."""
  widths = []
  paired = cfg.architecture == 'encoder_decoder'
  for ids, limit in (
    (one.read, cfg.target_len or cfg.seq_len if paired else cfg.seq_len),
    (one.source, cfg.seq_len),
  ):
    width = bucket(len(ids)) if ids else 0
    if isinstance(getattr(cfg, 'position', None), Learned):
      width = min(width, limit)
    if width < len(ids):
      raise BadInput(
        f'score: {len(ids)} ids do not fit the {limit} positions that the model'
        ' has learned; shorten context or target'
      )
    widths.append(width)
  return widths[0], widths[1]


def _batch(
  passes: Sequence[_Pass], width: int, source_width: int
) -> dict[str, np.ndarray]:
  rows = padded([one.read for one in passes], width)._asdict()
  targets = np.zeros((len(passes), width), np.int32)
  for row, one in zip(targets, passes, strict=True):
    row[one.offset : one.offset + len(one.targets)] = one.targets
  if source_width:
    rows = {f'decoder_{name}': x for name, x in rows.items()}
    rows |= padded([one.source for one in passes], source_width)._asdict()
  return rows | {'targets': targets}
