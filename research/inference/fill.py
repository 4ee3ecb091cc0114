"""Masked filling: what an encoder would put in the place of each mask."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from research.config import BadInput
from research.data.tokenizers import Tokenizer
from research.inference.frame import Frame
from research.inference.rows import Ids, Rows, bucket, padded
from research.models.config import Learned


class Guess(NamedTuple):
  """A token of text in the place of a mask.

  Attributes:
    token: Its id.
    text: What it stands for.
    probability: Among all ids that the tokenizer has for text; a published
      vocabulary has its specials among them, as in transformers.
  """

  token: int
  text: str
  probability: float


class Filled(NamedTuple):
  """A text whose masks were filled.

  Attributes:
    ids: With the best guess in the place of each mask, not framed.
    guesses: The most probable tokens of each mask, best first.
  """

  ids: list[int]
  guesses: list[list[Guess]]


def fill(
  model: Any,
  ids: Ids,
  frame: Frame,
  tokenizer: Tokenizer,
  *,
  top_k: int = 5,
) -> Filled:
  """Fills the masks in `ids` from left to right, a pass a mask.

  Each pass sees what was filled in before and the other masks, as the
  yardstick asks encoders. No special is guessed, however probable.

  Raises:
    BadInput: The model is no encoder, there is no mask, or too much to read.
  """
  ids = list(map(int, ids))
  places = [i for i, token in enumerate(ids) if token == frame.mask]
  _check(model, frame, ids, places, top_k)
  text = np.array(
    [i for i in range(frame.n_text) if tokenizer.decode_bytes([i])]
  )
  guesses = []
  for place in places:
    framed = frame.around(ids)
    width = bucket(len(framed))
    if isinstance(model.cfg.position, Learned):
      width = min(width, model.cfg.seq_len)
    p = _probabilities(
      model,
      padded([framed], width),
      jnp.int32(len(frame.before) + place),
      n_text=frame.n_text,
    )
    p = np.asarray(p)
    best = text[np.argsort(-p[text], kind='stable')[:top_k]]
    guesses.append(
      [Guess(int(i), tokenizer.decode([i]), float(p[i])) for i in best]
    )
    ids[place] = int(best[0])
  return Filled(ids, guesses)


@functools.partial(jax.jit, static_argnames='n_text')
def _probabilities(
  model, rows: Rows, place, *, n_text: int
) -> Float[Array, ' v']:
  logits = model(jax.tree.map(jnp.asarray, rows)._asdict())
  return jax.nn.softmax(logits[0, place, :n_text])


def _check(model, frame: Frame, ids, places, top_k: int) -> None:
  architecture, seq_len = model.cfg.architecture, model.cfg.seq_len
  if architecture != 'encoder':
    raise BadInput(
      f'architecture={architecture}: fills no masks; give an encoder, or'
      ' generate'
    )
  if not places:
    raise BadInput('prompt: there is no mask to fill; write one or more')
  if top_k < 1:
    raise BadInput(f'top_k={top_k}: choose at least 1')
  n = len(frame.around(ids))
  if isinstance(model.cfg.position, Learned) and n > seq_len:
    raise BadInput(
      f'prompt: {n} ids are longer than seq_len={seq_len}; shorten it'
    )
