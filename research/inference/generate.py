"""Generation: a model writes on from prompts of any lengths.

Prefill reads the prompts at once, then a loop on the device writes a token a
turn from the key/value cache. Prompts are padded on the left to a few widths
and the room for what is written is rounded up, too, so that programs are
compiled for shapes and rules, not for prompts, lengths or parameters.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key
import numpy as np

from research.config import BadInput
from research.data.tokenizers import Tokenizer
from research.inference import stopping
from research.inference.frame import Frame
from research.inference.prompts import check, check_counts, inputs, prefill
from research.inference.rows import Ids, bucket
from research.inference.sampling import Rules, Sampling, draw, penalise
from research.inference.text import Text, read
from research.models.cache import Cache

_PAUSE = 8
"""Tokens from one look at what was written to the next, if one looks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generation(Sampling):
  """What is written after a prompt.

  Attributes:
    max_tokens: Most tokens of a text.
    min_tokens: Before so many neither an end nor a stop string is heard.
    stop: Strings any of which ends a text and is left out of it; the name of a
      special of a published vocabulary is this token.
    num_return: Texts for each prompt.
    seed: Of all draws, below 2^32; a text depends on it, its prompt's place and
      its own.
  """

  max_tokens: int = 64
  min_tokens: int = 0
  stop: tuple[str, ...] = ()
  num_return: int = 1
  seed: int = 0

  def __post_init__(self):
    super().__post_init__()
    check_counts(self, max_tokens=1, min_tokens=0, num_return=1)
    if self.min_tokens > self.max_tokens:
      raise BadInput(
        f'min_tokens={self.min_tokens} is more than'
        f' max_tokens={self.max_tokens}: lower it'
      )
    if not all(self.stop):
      raise BadInput('stop: an empty string would stop at once; leave it out')
    if not 0 <= self.seed < 2**32:
      raise BadInput(f'seed={self.seed}: choose 0 or more, below 2^32')
    if self.num_return > 1 and self.temperature == 0:
      raise BadInput(
        f'num_return={self.num_return}: at temperature=0 all would be the same;'
        ' raise the temperature'
      )


class Guide(NamedTuple):
  """What steers the loop and does not change within it.

  Attributes:
    rules: Of sampling.
    keys: Of each row.
    writable: Ids that may be written.
    ends: Ids that end a text.
    stops: The automaton of the stop strings, if there are any.
    min_tokens: Before so many nothing ends.
    prompt: Whether an id is in what the stack that writes reads first (a
      decoder the prompt, an encoder-decoder's decoder its start), if the rules
      ask.
  """

  rules: Rules
  keys: Key[Array, ' b']
  writable: Bool[Array, ' v']
  ends: Bool[Array, ' v']
  stops: Int[Array, 's v'] | None
  min_tokens: Int[Array, '']
  prompt: Bool[Array, 'b v'] | None


class State(NamedTuple):
  """Where the loop stands.

  Attributes:
    step: Tokens written.
    tokens: What was written, with room for more.
    log_probs: Of these tokens.
    lengths: How many of them belong to the text.
    done: Whether the text has ended.
    stop: State of the automaton.
    counts: How often each id was written, if the rules ask.
    cache: What the model has read: all but the last token.
  """

  step: Int[Array, '']
  tokens: Int[Array, 'b n']
  log_probs: Float[Array, 'b n']
  lengths: Int[Array, ' b']
  done: Bool[Array, ' b']
  stop: Int[Array, ' b']
  counts: Int[Array, 'b v'] | None
  cache: Cache


Listener = Callable[[Sequence[Text]], None]


def generate(
  model: Any,
  prompts: Sequence[Ids],
  how: Generation,
  *,
  frame: Frame,
  tokenizer: Tokenizer,
  batch_size: int = 32,
  listen: Listener | None = None,
) -> list[list[Text]]:
  """`how.num_return` texts after each prompt.

  Args:
    model: A decoder or an encoder-decoder.
    prompts: Ids of each prompt, not yet framed.
    how: What is written.
    frame: The ids around prompts and texts.
    tokenizer: Knows the bytes of each id.
    batch_size: Most texts written together; no part of the result but for
      rounding.
    listen: Told what all texts of a batch are so far, now and then.

  Raises:
    BadInput: The model cannot generate, or not so much.
  """
  framed = [frame.around(prompt) for prompt in prompts]
  check(model, framed, how.max_tokens)
  texts: list[list[Text]] = [[] for _ in prompts]
  at_once = max(batch_size // how.num_return, 1)
  layers = _layers(model)
  order = sorted(range(len(prompts)), key=lambda i: len(framed[i]))
  for first in range(0, len(order), at_once):
    batch = order[first : first + at_once]
    written = _batch(
      model,
      layers,
      [framed[i] for i in batch],
      batch,
      how,
      frame,
      tokenizer,
      listen,
    )
    for i, text in zip(np.repeat(batch, how.num_return), written, strict=False):
      texts[i].append(text)
  return texts


@jax.jit
def _layers(model):
  return model.layers()


def _batch(
  model,
  layers,
  framed: Sequence[Ids],
  places: Sequence[int],
  how: Generation,
  frame: Frame,
  tokenizer: Tokenizer,
  listen: Listener | None,
) -> list[Text]:
  """The texts after some prompts, those of one prompt side by side.

  Rows are filled up to a power of two with copies whose texts are dropped.
  """
  n_rows = bucket(len(framed), 1)
  rows = [*framed, *[framed[-1]] * (n_rows - len(framed))]
  places = [*places, *[places[-1]] * (n_rows - len(framed))]
  guide = _guide(model, rows, places, how, frame, tokenizer)
  texts = functools.partial(
    _texts, how=how, frame=frame, tokenizer=tokenizer, n=len(framed)
  )
  state = _first(
    model,
    layers,
    guide,
    inputs(model, rows),
    frame.start,
    n_returns=how.num_return,
    room=bucket(how.max_tokens),
  )
  pause = _PAUSE if listen else how.max_tokens
  while True:
    until = min(int(state.step) + pause, how.max_tokens)
    state = _write(model, layers, guide, state, jnp.int32(until))
    over = until == how.max_tokens or bool(np.all(state.done))
    if listen:
      listen(texts(state))
    if over:
      return texts(state)


def _guide(model, rows, places, how: Generation, frame, tokenizer) -> Guide:
  vocab_size, n = model.cfg.vocab_size, how.num_return
  ids = np.arange(vocab_size)
  ends = np.isin(ids, frame.ends)
  root = jax.random.key(how.seed)
  keys = [
    jax.random.fold_in(jax.random.fold_in(root, place), i)
    for place in places
    for i in range(n)
  ]
  stops = None
  if how.stop:
    stops = jnp.asarray(stopping.of(how.stop, tokenizer, vocab_size))
  prompt = None
  if how.rules.penal:
    paired = model.cfg.architecture == 'encoder_decoder'
    first = [frame.start] * len(rows) if paired else rows
    prompt = np.zeros((len(rows), vocab_size), bool)
    for row, read_ids in zip(prompt, first, strict=True):
      row[list(read_ids)] = True
    prompt = jnp.asarray(np.repeat(prompt, n, axis=0))
  return Guide(
    rules=how.rules,
    keys=jnp.stack(keys),
    writable=jnp.asarray((np.arange(vocab_size) < frame.n_text) | ends),
    ends=jnp.asarray(ends),
    stops=stops,
    min_tokens=jnp.int32(how.min_tokens),
    prompt=prompt,
  )


@functools.partial(jax.jit, static_argnames=('start', 'n_returns', 'room'))
def _first(
  model, layers, guide: Guide, rows, start, *, n_returns, room
) -> State:
  """Reads the prompts and writes the first token of each text."""
  logits, cache = prefill(model, rows, start, room, layers)
  index = jnp.repeat(jnp.arange(len(logits)), n_returns)
  n = len(index)
  state = State(
    step=jnp.int32(0),
    tokens=jnp.zeros((n, room), jnp.int32),
    log_probs=jnp.zeros((n, room)),
    lengths=jnp.zeros(n, jnp.int32),
    done=jnp.zeros(n, bool),
    stop=jnp.zeros(n, jnp.int32),
    counts=None
    if guide.prompt is None
    else jnp.zeros(guide.prompt.shape, jnp.int32),
    cache=cache.rows(index),
  )
  return _append(guide, state, logits[index])


@functools.partial(jax.jit, donate_argnames='state')
def _write(model, layers, guide: Guide, state: State, until) -> State:
  """Writes until `until` tokens stand or all texts have ended."""

  def going(state):
    return (state.step < until) & ~jnp.all(state.done)

  def turn(state):
    last = jax.lax.dynamic_slice_in_dim(state.tokens, state.step - 1, 1, axis=1)
    logits, cache = model.extend(state.cache, last, jnp.ones_like(last), layers)
    return _append(guide, state._replace(cache=cache), logits)

  return jax.lax.while_loop(going, turn, state)


def _append(guide: Guide, state: State, logits) -> State:
  """The state after a token was drawn for each row."""
  free = state.step >= guide.min_tokens
  allowed = guide.writable & (free | ~guide.ends)
  adjusted, counts = logits, state.counts
  if counts is not None:
    assert guide.prompt is not None
    adjusted = penalise(logits, guide.rules, guide.prompt, counts)
  adjusted = jnp.where(allowed, adjusted, -jnp.inf)
  keys = jax.vmap(jax.random.fold_in, (0, None))(guide.keys, state.step)
  token = draw(adjusted, guide.rules, keys)
  log_prob = jnp.take_along_axis(
    jax.nn.log_softmax(logits), token[:, None], axis=1
  )[:, 0]
  rows, stop = jnp.arange(len(token)), state.stop
  done = guide.ends[token]
  if guide.stops is not None:
    stop = jnp.where(free, guide.stops[stop, token], 0)
    done = done | (stop == len(guide.stops) - 1)
  if counts is not None:
    counts = counts.at[rows, token].add(1)
  return State(
    step=state.step + 1,
    tokens=state.tokens.at[rows, state.step].set(token),
    log_probs=state.log_probs.at[rows, state.step].set(log_prob),
    lengths=state.lengths + ~state.done,
    done=state.done | done,
    stop=stop,
    counts=counts,
    cache=state.cache,
  )


def _texts(state: State, *, how, frame, tokenizer, n: int) -> list[Text]:
  """What the first `n` prompts' rows say."""
  lengths, done = np.asarray(state.lengths), np.asarray(state.done)
  tokens, log_probs = np.asarray(state.tokens), np.asarray(state.log_probs)
  return [
    read(
      tokens[i, : lengths[i]],
      log_probs[i, : lengths[i]],
      frame,
      tokenizer,
      stop=how.stop if done[i] else (),
      min_tokens=how.min_tokens,
    )
    for i in range(n * how.num_return)
  ]
