"""Answering: what a model says after a context, and how likely it finds a text.

All architectures are asked the same (METHODS.md, three architectures on one
axis). A decoder goes on after the context. An encoder-decoder reads it with
sentinel 0 after it and decodes after that sentinel. An encoder reads it with
`slot` masks after it, which are revealed left to right, a pass a token. Special
tokens are left out and the softmax is over text alone.
"""

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int
import numpy as np

from research.config import BadInput
from research.data.specials import Specials
from research.data.tokenizers import Tokenizer
from research.inference.frame import ours
from research.inference.generate import Generation, generate

Ids = np.ndarray
_WIDTH, _SLOT = 32, 8  # what lengths are rounded up to: few shapes to compile


class Score(NamedTuple):
  """A text under a model that reads it token by token.

  Attributes:
    log_p: Nats of each token given the context and the tokens before it, [l].
    best: Whether each is the token the model finds likeliest there, [l].
  """

  log_p: np.ndarray
  best: np.ndarray


class _Asked(NamedTuple):
  """Rows as a model takes them, and where its answers stand in them.

  Attributes:
    batch: Arrays [b, …]; answers are yet to be written.
    side: The array that answers are written to.
    read: Where the logits of an answer's first token are, [b].
    write: Where that token itself stands, [b].
  """

  batch: dict[str, np.ndarray]
  side: str
  read: np.ndarray
  write: np.ndarray


def scores(
  model: Any,
  contexts: Sequence[Ids],
  targets: Sequence[Ids],
  specials: Specials,
  *,
  slot: int | None = None,
  batch_size: int = 32,
) -> list[Score]:
  """How likely each target is after its context, and whether it is greedy.

  Args:
    model: A network with `cfg`.
    contexts: Token ids, n of them.
    targets: Text ids, n of them, none empty.
    specials: Layout of the ids.
    slot: Masks that an encoder sees; None: as many as the longest target has.
    batch_size: Rows a forward pass.

  Raises:
    BadInput: A context with its slot is longer than the model reads.
  """
  longest = max(len(target) for target in targets)
  slot = max(slot or longest, longest)
  found = []
  for rows in _parts(len(contexts), batch_size):
    asked = _ask(model, [contexts[i] for i in rows], slot, specials)
    forced = _ragged([targets[i] for i in rows], _up(slot, _SLOT))
    one_pass = model.cfg.architecture != 'encoder'
    log_p, best = (_look if one_pass else _reveal)(
      model, asked, forced, n_text=specials.n_text, n=longest
    )
    hit = best == forced
    for i, row in enumerate(rows[: len(contexts)]):
      length = len(targets[row])
      found.append(Score(log_p[i, :length], hit[i, :length]))
  return found[: len(contexts)]


def answers(
  model: Any,
  contexts: Sequence[Ids],
  slot: int,
  tokenizer: Tokenizer,
  *,
  stop: str | None = None,
  temperature: float = 0.0,
  seed: int = 0,
  batch_size: int = 32,
) -> list[Ids]:
  """`slot` tokens of text after each context, or fewer that end with `stop`.

  At temperature 0 each is the likeliest, so that an answer equals a text if
  and only if every token of the text is `best` in its `Score`; above, it is
  drawn from the softmax of the logits over the temperature.

  Raises:
    BadInput: A context with its slot is longer than the model reads.
  """
  check(model.cfg, max(map(len, contexts)), slot)
  specials, found = tokenizer.specials, []
  if model.cfg.architecture in ('decoder', 'encoder_decoder'):
    how = Generation(
      max_tokens=slot,
      temperature=temperature,
      stop=() if stop is None else (stop,),
      seed=seed,
    )
    # Contexts have their bos, and nothing but text is an answer.
    frame = ours(model.cfg.architecture, specials)._replace(before=(), ends=())
    texts = generate(
      model,
      contexts,
      how,
      frame=frame,
      tokenizer=tokenizer,
      batch_size=batch_size,
    )
    return [text.tokens for (text,) in texts]
  for part, rows in enumerate(_parts(len(contexts), batch_size)):
    asked = _ask(model, [contexts[i] for i in rows], slot, specials)
    key = jax.random.fold_in(jax.random.key(seed), part)
    _, said = _reveal(
      model,
      asked,
      None,
      n_text=specials.n_text,
      n=slot,
      temperature=temperature,
      key=key,
    )
    found += list(said[:, :slot])
  return found[: len(contexts)]


def check(cfg: Any, context: int, slot: int, task: str = 'tasks') -> None:
  """Refuses a context and a slot, in tokens, that a model cannot hold.

  Raises:
    BadInput: They do not fit.
  """
  room = 1 if cfg.architecture == 'encoder_decoder' else slot
  if context + room > cfg.seq_len:
    raise BadInput(
      f'{task}: a prompt of {context} tokens and {room} for its answer do not'
      f' fit seq_len={cfg.seq_len}; take fewer shots or an easier task'
    )
  target_len = getattr(cfg, 'target_len', None)
  if target_len is not None and target_len < slot:
    raise BadInput(
      f'{task}: {slot} tokens of answer or rationale do not fit'
      f' target_len={target_len}; take an easier task'
    )


def _parts(n: int, size: int) -> list[np.ndarray]:
  """Rows of each pass; the last is filled up with copies."""
  return [
    np.minimum(np.arange(start, start + size), n - 1)
    for start in range(0, n, size)
  ]


def _ask(
  model: Any, contexts: Sequence[Ids], slot: int, specials: Specials
) -> _Asked:
  """The batch in which the answers to `contexts` are still to be written."""
  cfg, paired = model.cfg, model.cfg.architecture == 'encoder_decoder'
  lengths = np.array([len(context) for context in contexts])
  room = 1 if paired else slot
  check(cfg, int(lengths.max()), slot)
  width = min(_up(int(lengths.max()) + room, _WIDTH), cfg.seq_len)
  tokens, index = _ragged(contexts, width), np.arange(width)
  inside = index < (lengths + room)[:, None]
  blank = specials.sentinel(0) if paired else specials.mask
  tokens = np.where(inside & (index >= lengths[:, None]), blank, tokens)
  batch = _row('', tokens, inside)
  if not paired:
    before = cfg.architecture != 'encoder'  # it reads what it does not predict
    return _Asked(batch, 'tokens', lengths - before, lengths)
  n_out = min(_up(slot, _SLOT), cfg.target_len or cfg.seq_len)
  said = np.full((len(contexts), n_out), specials.sentinel(0), np.int32)
  batch |= _row('decoder_', said, np.ones(said.shape, bool))
  first = np.zeros(len(contexts), np.int64)
  return _Asked(batch, 'decoder_tokens', first, first + 1)


def _row(side: str, tokens: np.ndarray, inside: np.ndarray) -> dict:
  index = np.arange(tokens.shape[1], dtype=np.int32)
  return {
    f'{side}tokens': tokens.astype(np.int32),
    f'{side}segments': inside.astype(np.int32),
    f'{side}positions': np.where(inside, index, 0).astype(np.int32),
  }


def _ragged(rows: Sequence[Ids], width: int) -> Int[np.ndarray, 'b w']:
  """Rows of different lengths, zeros after them."""
  out = np.zeros((len(rows), width), np.int32)
  for i, row in enumerate(rows):
    out[i, : len(row)] = row
  return out


def _up(n: int, step: int) -> int:
  return -(-n // step) * step


def _look(model, asked: _Asked, forced: np.ndarray, *, n_text: int, n: int):
  """log p and the likeliest token at each place of `forced`, in one pass."""
  batch, width = dict(asked.batch), asked.batch[asked.side].shape[1]
  tokens = batch[asked.side].copy()
  for i in range(min(n, width)):
    at = np.minimum(asked.write + i, width - 1)
    # The last token of a full row is predicted, and read by nobody.
    free = asked.write + i < width
    tokens[np.flatnonzero(free), at[free]] = forced[free, i]
  batch[asked.side] = tokens
  places = np.minimum(
    asked.read[:, None] + np.arange(forced.shape[1]), width - 1
  )
  found = _one_pass(model, batch, forced, places, n_text=n_text)
  return tuple(np.asarray(x) for x in found)


@functools.partial(jax.jit, static_argnames='n_text')
def _one_pass(model, batch, forced, places, *, n_text: int):
  logits = model(batch)[..., :n_text]
  logits = jnp.take_along_axis(logits, places[..., None], axis=1)
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  chosen = jnp.take_along_axis(log_p, forced[..., None], axis=2)[..., 0]
  return chosen, jnp.argmax(logits, axis=-1)


def _reveal(
  model,
  asked: _Asked,
  forced: np.ndarray | None,
  *,
  n_text: int,
  n: int,
  temperature: float = 0.0,
  key: jax.Array | None = None,
):
  """log p and the chosen token at each place, a pass a token.

  With `forced`, its tokens are written whatever was chosen, and log p is
  theirs; without, the chosen ones are.
  """
  free = forced is None
  width = _up(n, _SLOT) if forced is None else forced.shape[1]
  b = len(asked.read)
  found = _passes(
    model,
    asked.batch,
    jnp.zeros((b, width), jnp.int32) if forced is None else forced,
    asked.read,
    asked.write,
    jnp.int32(n),
    jnp.float32(temperature),
    jax.random.key(0) if key is None else key,
    side=asked.side,
    n_text=n_text,
    free=free,
  )
  return tuple(np.asarray(x) for x in found)


@functools.partial(jax.jit, static_argnames=('side', 'n_text', 'free'))
def _passes(
  model,
  batch,
  forced,
  read,
  write,
  n,
  temperature,
  key,
  *,
  side: str,
  n_text: int,
  free: bool,
):
  rows = jnp.arange(len(read))

  def step(i, carry):
    tokens, log_ps, said = carry
    logits = model({**batch, side: tokens})[rows, read + i, :n_text]
    logits = logits.astype(jnp.float32)
    drawn = jax.random.categorical(
      jax.random.fold_in(key, i), logits / jnp.maximum(temperature, 1e-6)
    )
    likeliest = jnp.argmax(logits, axis=-1)
    chosen = jnp.where(temperature > 0, drawn, likeliest).astype(jnp.int32)
    written = chosen if free else forced[:, i]
    log_p = jax.nn.log_softmax(logits)[rows, written]
    return (
      # What would fall beyond the row's end is dropped: nobody reads it.
      tokens.at[rows, write + i].set(written, mode='drop'),
      log_ps.at[:, i].set(log_p),
      said.at[:, i].set(chosen),
    )

  start = (
    jnp.asarray(batch[side]),
    jnp.zeros(forced.shape, jnp.float32),
    jnp.zeros(forced.shape, jnp.int32),
  )
  _, log_ps, said = jax.lax.fori_loop(0, n, step, start)
  return log_ps, said
