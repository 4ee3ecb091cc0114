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
from tqdm import tqdm

from research.config import BadInput
from research.inference.frame import Frame
from research.inference.rows import Ids, bucket, padded
from research.models.config import Learned

Pair = tuple[Ids, Ids]
"""Ids of a context and of a target that follows it; neither is framed."""

_LEAST = 32
"""Places of a row at least: many lengths share one program."""

_SILENT = 5
"""Seconds that scoring takes before a terminal shows how far it is."""


class Nll(NamedTuple):
  """Negative log-likelihoods in nats, float64 [n, t], weights not applied.

  Attributes:
    full: Under the softmax over the whole vocabulary.
    text: Under the softmax over text ids alone; nan where a target is special.
    best: Whether the target is text and no text is more probable.
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
  parts: list[Any] = []
  starts = range(0, n, batch_size)
  for start in tqdm(
    starts, 'score', unit='pass', leave=False, delay=_SILENT, disable=None
  ):
    rows = np.minimum(np.arange(start, start + batch_size), n - 1)
    part = {
      name: np.asarray(x)[rows]
      for name, x in batch.items()
      if name != 'weights'
    }
    parts.append(_nll(model, part, n_text=n_text))
    if len(parts) > 1:  # The host waits for the pass before, never for this.
      parts[-2] = jax.device_get(parts[-2])
  full, text, best = (
    np.concatenate([np.asarray(part[i]) for part in parts])[:n]
    for i in range(3)
  )
  return Nll(full.astype(np.float64), text.astype(np.float64), best)


@functools.partial(jax.jit, static_argnames='n_text')
def _nll(model, batch, *, n_text: int):
  logits, targets = model(batch), jnp.asarray(batch['targets'])
  said, is_text = logits[..., :n_text], targets < n_text
  chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
  full = jax.nn.logsumexp(logits, axis=-1) - chosen
  text = jax.nn.logsumexp(said, axis=-1) - chosen
  best = chosen >= jnp.max(said, axis=-1)
  return full, jnp.where(is_text, text, jnp.nan), is_text & best


class Score(NamedTuple):
  """What a model thinks of one target, token by token, [l].

  Attributes:
    full: Log-probabilities in nats, of the whole vocabulary.
    text: The same of text ids alone, which makes architectures compare; nan
      where a token is special.
    best: Whether the token is text and no text is more probable.
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
  slot: int = 0,
  seen: bool = False,
  batch_size: int | None = None,
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
    slot: Masks that an encoder sees where the target is shorter, so that their
      number does not tell its length.
    seen: Whether an encoder sees all of the target but the token asked for,
      which makes no likelihood of it (Salazar et al. 2020, eq. 1).
    batch_size: Rows of a forward pass; None: by `batch_tokens`.
    batch_tokens: Ids read in a forward pass, padding included, if a row is no
      longer than that; neither is part of the result but for rounding.

  Raises:
    BadInput: A pair does not fit the model's positions.
  """
  groups: dict[tuple[int, int], list[_Pass]] = {}
  for i, pair in enumerate(pairs):
    for one in _passes(model.cfg.architecture, i, pair, frame, slot, seen):
      groups.setdefault(_widths(model.cfg, one), []).append(one)
  found: list[list[Score]] = [[] for _ in pairs]
  for widths, passes in groups.items():
    fitting = min(batch_tokens // sum(widths), bucket(len(passes), 1))
    n_rows = batch_size or max(fitting, 1)
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
  architecture: str, i: int, pair: Pair, frame: Frame, slot: int, seen: bool
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
      masks = [frame.mask] * (max(slot, len(target)) - shown)
      rest = [frame.mask, *target[shown + 1 :]] if seen else masks
      read = [*before, *target[:shown], *rest, *frame.after]
      yield _Pass(i, read, [], len(before) + shown, [target[shown]])
  elif architecture == 'encoder_decoder':
    read = [*frame.start, *target[:-1]]
    source = frame.around(context)
    yield _Pass(i, read, source, len(frame.start) - 1, target)
  else:
    read = frame.around(context)
    yield _Pass(i, [*read, *target[:-1]], [], len(read) - 1, target)


def _widths(cfg: Any, one: _Pass) -> tuple[int, int]:
  """Places for what is read on either side; 0 where there is no such side.

  Few widths, of which the model's own is one, as validation reads it.
  """
  widths = []
  paired = cfg.architecture == 'encoder_decoder'
  for ids, limit in (
    (one.read, cfg.target_len or cfg.seq_len if paired else cfg.seq_len),
    (one.source, cfg.seq_len),
  ):
    width = bucket(len(ids), _LEAST) if ids else 0
    if len(ids) <= limit:
      width = min(width, limit)
    elif isinstance(getattr(cfg, 'position', None), Learned):
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
