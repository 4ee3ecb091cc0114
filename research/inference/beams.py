"""Beam search: the most probable texts, sought among a few at a time."""

from collections.abc import Sequence
import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from research.config import BadInput
from research.data.tokenizers import Tokenizer
from research.inference.frame import Frame
from research.inference.prompts import check, check_counts, inputs, prefill
from research.inference.rows import Ids, bucket
from research.inference.text import Text, read
from research.models.cache import Cache

_LARGEST = 70.0
"""Of a divisor's logarithm; float32 ends at 88, and scores need some room."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamSearch:
  """What is sought after a prompt.

  Attributes:
    n_beams: Unfinished texts kept at each length, and finished ones in all.
    length_penalty: A text's score is its log-probability divided by its number
      of tokens, the end included, to this power (0: not divided).
    max_tokens: Most tokens of a text; one so long is finished as it is.
    min_tokens: Before so many no text ends.
    num_return: Texts for each prompt, best first.
  """

  n_beams: int = 4
  length_penalty: float = 0.0
  max_tokens: int = 64
  min_tokens: int = 0
  num_return: int = 1

  def __post_init__(self):
    check_counts(self, n_beams=1, max_tokens=1, min_tokens=0, num_return=1)
    for name, most in (('min_tokens', 'max_tokens'), ('num_return', 'n_beams')):
      if getattr(self, name) > getattr(self, most):
        raise BadInput(
          f'{name}={getattr(self, name)} is more than'
          f' {most}={getattr(self, most)}: lower it'
        )
    if not 0 <= self.length_penalty < math.inf:
      raise BadInput(
        f'length_penalty={self.length_penalty}: choose 0 or a positive number'
      )
    if self.length_penalty * math.log(self.max_tokens) > _LARGEST:
      raise BadInput(
        f'length_penalty={self.length_penalty}: float32 does not hold this'
        f' power of max_tokens={self.max_tokens}; lower one of them'
      )


class Beams(NamedTuple):
  """Texts of one kind, finished or not: k for each prompt, best first.

  Attributes:
    score: Log-probability, of finished texts by length; -inf: no text.
    tokens: Ids written.
    log_probs: Of each of them.
    length: How many there are.
  """

  score: Float[Array, 'b k']
  tokens: Int[Array, 'b k n']
  log_probs: Float[Array, 'b k n']
  length: Int[Array, 'b k']

  def best(self, k: int) -> 'Beams':
    """The k best."""
    score, index = jax.lax.top_k(self.score, k)
    return Beams(score, *(_take(x, index) for x in self[1:]))


class State(NamedTuple):
  """Where the search stands.

  Attributes:
    step: Tokens of each unfinished text.
    alive: Unfinished texts.
    finished: Finished ones.
    cache: What the model has read of the unfinished: all but the last token.
  """

  step: Int[Array, '']
  alive: Beams
  finished: Beams
  cache: Cache


class Guide(NamedTuple):
  """What does not change during a search."""

  writable: Bool[Array, ' v']
  ends: Bool[Array, ' v']
  length_penalty: Float[Array, '']
  min_tokens: Int[Array, '']
  max_tokens: Int[Array, '']


def search(
  model: Any,
  prompts: Sequence[Ids],
  how: BeamSearch,
  *,
  frame: Frame,
  tokenizer: Tokenizer,
) -> list[list[Text]]:
  """The `how.num_return` best texts found after each prompt, best first.

  Every unfinished text that could end next is finished once, whatever its
  rank; the best of these are kept. The search is exact where `n_beams` is at
  least the number of unfinished texts of every length.

  Raises:
    BadInput: The model cannot generate, or not so much.
  """
  framed = [frame.around(prompt) for prompt in prompts]
  check(model, framed, how.max_tokens)
  n_rows = bucket(len(framed), 1)
  framed += [framed[-1]] * (n_rows - len(framed))
  ids = np.arange(model.cfg.vocab_size)
  ends = np.isin(ids, frame.ends)
  found = _search(
    model,
    Guide(
      jnp.asarray((ids < frame.n_text) | ends),
      jnp.asarray(ends),
      jnp.float32(how.length_penalty),
      jnp.int32(how.min_tokens),
      jnp.int32(how.max_tokens),
    ),
    inputs(model, framed),
    frame.start,
    n_beams=how.n_beams,
    room=bucket(how.max_tokens),
  )
  beams = jax.tree.map(np.asarray, found.best(how.num_return))
  return [
    [
      read(
        beams.tokens[i, j, : beams.length[i, j]],
        beams.log_probs[i, j, : beams.length[i, j]],
        frame,
        tokenizer,
      )
      for j in range(how.num_return)
      if np.isfinite(beams.score[i, j])
    ]
    for i in range(len(prompts))
  ]


@functools.partial(jax.jit, static_argnames=('start', 'n_beams', 'room'))
def _search(model, guide: Guide, rows, start, *, n_beams: int, room: int):
  layers = model.layers()
  logits, cache = prefill(model, rows, start, room, layers)
  n, k = len(logits), n_beams
  nothing = Beams(
    jnp.full((n, k), -jnp.inf),
    jnp.zeros((n, k, room), jnp.int32),
    jnp.zeros((n, k, room)),
    jnp.zeros((n, k), jnp.int32),
  )
  one = nothing._replace(score=nothing.score.at[:, 0].set(0.0))
  state = State(
    jnp.int32(0), one, nothing, cache.rows(jnp.repeat(jnp.arange(n), k))
  )
  state = _step(guide, state, jnp.repeat(logits, k, axis=0))

  def going(state):
    return (state.step < guide.max_tokens) & _undecided(guide, state)

  def turn(state):
    last = jax.lax.dynamic_slice_in_dim(
      state.alive.tokens.reshape(n * k, room), state.step - 1, 1, axis=1
    )
    logits, cache = model.extend(state.cache, last, jnp.ones_like(last), layers)
    return _step(guide, state._replace(cache=cache), logits)

  state = jax.lax.while_loop(going, turn, state)
  cut = _by_length(guide, state.alive)
  return _joined(state.finished, cut).best(k)


def _step(guide: Guide, state: State, logits) -> State:
  """The state after each unfinished text grew by a token or ended."""
  n, k = state.alive.score.shape
  log_p = jax.nn.log_softmax(logits).reshape(n, k, -1)
  score = state.alive.score[:, :, None] + log_p
  score = jnp.where(guide.writable, score, -jnp.inf)
  open_ended = jnp.where(guide.ends, -jnp.inf, score)
  closed = jnp.where(guide.ends, score, -jnp.inf)
  closed = jnp.where(state.step >= guide.min_tokens, closed, -jnp.inf)
  alive, parents = _grown(state, open_ended, log_p)
  ended, _ = _grown(state, closed, log_p)
  finished = _joined(state.finished, _by_length(guide, ended)).best(k)
  rows = (parents + k * jnp.arange(n)[:, None]).reshape(-1)
  # The beams of a prompt have one memory and one pattern of padding.
  read = tuple(layer.rows(n * k, rows) for layer in state.cache.read)
  cache = state.cache._replace(read=read)
  return State(state.step + 1, alive, finished, cache)


def _grown(state: State, score, log_p) -> tuple[Beams, Int[Array, 'b k']]:
  """The k best texts one token longer, and which text each of them was."""
  n, k, v = score.shape
  best, index = jax.lax.top_k(score.reshape(n, k * v), k)
  parents, token = index // v, index % v
  old = state.alive
  chosen = jnp.take_along_axis(log_p.reshape(n, k * v), index, axis=1)
  at = (slice(None), slice(None), state.step)
  return Beams(
    best,
    _take(old.tokens, parents).at[at].set(token),
    _take(old.log_probs, parents).at[at].set(chosen),
    jnp.full((n, k), state.step + 1),
  ), parents


def _undecided(guide: Guide, state: State) -> Bool[Array, '']:
  """Whether some unfinished text may still become one of the k best.

  No token raises a log-probability, and the longest text divides it by most.
  """
  most = state.alive.score[:, 0] / _divisor(guide, guide.max_tokens)
  return jnp.any(most > state.finished.score[:, -1])


def _by_length(guide: Guide, beams: Beams) -> Beams:
  score = beams.score / _divisor(guide, beams.length)
  return beams._replace(score=score)


def _divisor(guide: Guide, length):
  return jnp.maximum(length, 1).astype(jnp.float32) ** guide.length_penalty


def _joined(a: Beams, b: Beams) -> Beams:
  pairs = zip(a, b, strict=True)
  return Beams(*(jnp.concatenate(pair, axis=1) for pair in pairs))


def _take(x, index):
  """Rows [b, k, …] at [b, k]."""
  index = index.reshape(*index.shape, *[1] * (x.ndim - 2))
  return jnp.take_along_axis(x, index, axis=1)
