"""Texts that models wrote: their tokens, and what these say."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from research.data.tokenizers import Tokenizer
from research.inference import stopping
from research.inference.frame import Frame


class Text(NamedTuple):
  """One text that a model wrote.

  Attributes:
    text: Without the stop string or the end.
    tokens: All tokens written, those of the stop string or the end included.
    log_probs: Of each, in nats, under the model before any rule.
    finish: Whether an `end`, a `stop` string or the `length` ended it.
  """

  text: str
  tokens: np.ndarray
  log_probs: np.ndarray
  finish: Literal['end', 'stop', 'length']


def read(
  tokens: np.ndarray,
  log_probs: np.ndarray,
  frame: Frame,
  tokenizer: Tokenizer,
  *,
  stop: Sequence[str] = (),
  min_tokens: int = 0,
) -> Text:
  """The text of the tokens that were written.

  Args:
    tokens: Up to the one that ended the text.
    log_probs: Of each of them.
    frame: Its ends.
    tokenizer: Knows the bytes of each id.
    stop: Strings of which one may have ended the text.
    min_tokens: Tokens in which no stop string is heard.
  """
  finish = 'stop' if stop else 'length'
  if len(tokens) and tokens[-1] in frame.ends:
    finish = 'end'
  text = tokenizer.decode_bytes(tokens[tokens < frame.n_text])
  deaf = len(tokenizer.decode_bytes(tokens[:min_tokens]))
  text = stopping.cut(text, [one.encode() for one in stop], deaf)
  return Text(text.decode(errors='replace'), tokens, log_probs, finish)


def shown(text: Text, stop: Sequence[str]) -> str:
  """As much of a text that is still being written as will stay.

  Left out are a torn character at the end and what may begin a stop string.
  """
  if text.finish != 'length':
    return text.text
  kept = text.text.rstrip('\ufffd')
  ends = (kept[i:] for i in range(len(kept)))
  maybe = (end for end in ends if any(s.startswith(end) for s in stop))
  return kept.removesuffix(next(maybe, ''))
