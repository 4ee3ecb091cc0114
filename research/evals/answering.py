"""Answering: what a model says after a context.

All architectures are asked the same (METHODS.md, three architectures on one
axis), in the frame of each. A decoder goes on after the context. An
encoder-decoder reads it and decodes after the sentinel that ends it. An encoder
reads it with `slot` masks after it, which are revealed left to right, a pass a
token. What is no text is left out, and the softmax is over text alone.
"""

from collections.abc import Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.config import BadInput
from research.data.tokenizers import Tokenizer
from research.inference.frame import Frame
from research.inference.generate import Generation, generate
from research.inference.rows import bucket, padded
from research.inference.sampling import likeliest

Ids = np.ndarray


def answers(
  model: Any,
  contexts: Sequence[Ids],
  slot: int,
  frame: Frame,
  tokenizer: Tokenizer,
  *,
  stop: str | None = None,
  temperature: float = 0.0,
  seed: int = 0,
  batch_size: int = 32,
) -> list[Ids]:
  """`slot` ids of text after each context, or fewer that end with `stop`.

  At temperature 0 each is the likeliest, so that an answer equals a text if
  and only if every token of the text is `best` in its `Score`; above, it is
  drawn from the softmax of the logits over the temperature. A published
  vocabulary has its ends among the ids of text: after one nothing is written.

  Args:
    model: A network with `cfg`.
    contexts: Text ids, not yet framed.
    slot: Most ids of an answer, and masks that an encoder sees.
    frame: The ids around context and answer.
    tokenizer: The model's.
    stop: Text that ends an answer.
    temperature: Of the draws.
    seed: Of the draws.
    batch_size: Rows a forward pass.

  Raises:
    BadInput: A context with its slot is longer than the model reads.
  """
  check(model.cfg, frame, max(map(len, contexts)), slot)
  if model.cfg.architecture in ('decoder', 'encoder_decoder'):
    how = Generation(
      max_tokens=slot,
      temperature=temperature,
      stop=() if stop is None else (stop,),
      seed=seed,
    )
    ends = tuple(i for i in frame.ends if i < frame.n_text)
    texts = generate(
      model,
      contexts,
      how,
      frame=frame._replace(ends=ends),
      tokenizer=tokenizer,
      batch_size=batch_size,
    )
    return [text.tokens for (text,) in texts]
  found = []
  for part, start in enumerate(range(0, len(contexts), batch_size)):
    # The last pass is filled up with copies.
    rows = np.minimum(np.arange(start, start + batch_size), len(contexts) - 1)
    key = jax.random.fold_in(jax.random.key(seed), part)
    asked = [contexts[i] for i in rows]
    found += list(_revealed(model, asked, slot, frame, temperature, key))
  return found[: len(contexts)]


def check(
  cfg: Any, frame: Frame, context: int, slot: int, task: str = 'tasks'
) -> None:
  """Refuses a context and a slot, in ids, that a model cannot hold.

  Raises:
    BadInput: They do not fit.
  """
  paired = cfg.architecture == 'encoder_decoder'
  context += len(frame.before)
  room = len(frame.after) + (0 if paired else slot)
  if context + room > cfg.seq_len:
    raise BadInput(
      f'{task}: a prompt of {context} tokens and {room} for its answer do not'
      f' fit seq_len={cfg.seq_len}; take fewer shots or an easier task'
    )
  if paired and cfg.longest_target < len(frame.start) + slot - 1:
    raise BadInput(
      f'{task}: {slot} tokens of answer or rationale do not fit'
      f' target_len={cfg.longest_target}; take an easier task'
    )


def _revealed(
  model, contexts, slot: int, frame: Frame, temperature: float, key
) -> np.ndarray:
  """The chosen id at each place of the slot [b, slot], a pass an id."""
  encoder = model.cfg.architecture == 'encoder'
  blank = (frame.mask if encoder else 0,) * slot
  before = [[*frame.before, *map(int, context)] for context in contexts]
  rows = [[*ids, *blank, *frame.after] for ids in before]
  width = min(bucket(max(map(len, rows)), 32), model.cfg.seq_len)
  write = np.array([len(ids) for ids in before])
  said = _passes(
    model,
    padded(rows, width)._asdict(),
    write - (not encoder),  # it reads what it does not predict
    write,
    jnp.int32(slot),
    jnp.float32(temperature),
    key,
    width=bucket(slot, 8),
    n_text=frame.n_text,
  )
  return np.asarray(said)[:, :slot]


@functools.partial(jax.jit, static_argnames=('width', 'n_text'))
def _passes(
  model, batch, read, write, n, temperature, key, *, width: int, n_text: int
):
  rows = jnp.arange(len(read))

  def step(i, carry):
    tokens, said = carry
    logits = model({**batch, 'tokens': tokens})[rows, read + i, :n_text]
    logits = logits.astype(jnp.float32)
    drawn = jax.random.categorical(
      jax.random.fold_in(key, i), logits / jnp.maximum(temperature, 1e-6)
    )
    chosen = jnp.where(temperature > 0, drawn, likeliest(logits))
    return tokens.at[rows, write + i].set(chosen), said.at[:, i].set(chosen)

  start = jnp.asarray(batch['tokens']), jnp.zeros((len(read), width), jnp.int32)
  return jax.lax.fori_loop(0, n, step, start)[1]
