"""Prompts: what a model reads before it writes."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from research.config import BadInput
from research.inference.rows import Ids, Rows, bucket, padded
from research.models.cache import Cache
from research.models.config import Learned

_MOST = 1 << 20
"""Of tokens, texts and beams: more are a slip, and no cache has room."""


def check_counts(how: Any, **least: int) -> None:
  """Refuses counts of a config that are below these, or beyond all use.

  Raises:
    BadInput: One is.
  """
  for name, fewest in least.items():
    count = getattr(how, name)
    if count < fewest:
      raise BadInput(f'{name}={count}: choose at least {fewest}')
    if count > _MOST:
      raise BadInput(f'{name}={count}: choose at most {_MOST}')


def check(model: Any, framed: Sequence[Ids], max_tokens: int) -> None:
  """Refuses what a model cannot write after such prompts.

  Raises:
    BadInput: It has no cache, or too few learned positions.
  """
  cfg = model.cfg
  if cfg.architecture not in ('decoder', 'encoder_decoder'):
    raise BadInput(
      f'architecture={cfg.architecture}: writes no text, as it has no key/value'
      ' cache; give a decoder or an encoder_decoder'
    )
  if not isinstance(cfg.position, Learned):
    return
  longest = max(map(len, framed), default=0)
  paired = cfg.architecture == 'encoder_decoder'
  written = max_tokens if paired else longest + max_tokens - 1
  for needed, there in (
    (longest, cfg.seq_len),
    (written, cfg.longest_target),
  ):
    if needed > there:
      raise BadInput(
        f'max_tokens={max_tokens}: a prompt of {longest} ids and what follows'
        f' need {needed} positions, the model has learned {there}; shorten'
        ' prompt or max_tokens'
      )


def inputs(model: Any, framed: Sequence[Ids]) -> Rows:
  """The prompts as rows of one of few widths, padded on the left."""
  width = bucket(max(map(len, framed)))
  if isinstance(model.cfg.position, Learned):
    width = min(width, model.cfg.seq_len)
  return padded(framed, width, left=True)


def prefill(
  model: Any,
  rows: Rows,
  start: tuple[int, ...],
  room: int,
  layers: Any = None,
) -> tuple[Float[Array, 'b v'], Cache]:
  """Reads all prompts at once.

  Args:
    model: A decoder or an encoder-decoder.
    rows: The prompts, padded on the left.
    start: What an encoder-decoder's decoder reads first.
    room: Tokens that will be written at most.
    layers: `model.layers()`, if they were taken apart before.

  Returns:
    Logits of the first token written, and the cache to go on from.
  """
  tokens, segments, positions = map(jnp.asarray, rows)
  n = len(tokens)
  if model.cfg.architecture == 'decoder':
    cache = model.start(n, tokens.shape[1] + room)
    return model.extend(cache, tokens, segments, layers)
  source = {'tokens': tokens, 'segments': segments, 'positions': positions}
  cache = model.start(source, len(start) + room)
  first = jnp.tile(jnp.asarray(start, jnp.int32), (n, 1))
  return model.extend(cache, first, jnp.ones_like(first), layers)
