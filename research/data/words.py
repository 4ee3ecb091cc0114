"""Words: runs of bytes that are not ASCII whitespace."""

import numpy as np

from research.data.tokenizer import Tokenizer

_WHITESPACE = np.frombuffer(b' \t\n\r\x0b\x0c', np.uint8)


def starts(
  text: bytes, ends: np.ndarray, breaks: np.ndarray | None = None
) -> np.ndarray:
  """How many words begin in each stretch of `text`, int [n].

  Args:
    text: In UTF-8.
    ends: Where each stretch ends, as the next begins there; ascending, [n].
    breaks: Places at which a word ends, whatever stands there.
  """
  data = np.frombuffer(text, np.uint8)
  space = np.isin(data, _WHITESPACE)
  after = np.ones(len(data) + 1, bool)
  after[1:] = space
  if breaks is not None:
    after[breaks] = True
  begun = np.concatenate([[0], np.cumsum(~space & after[:-1])])
  return np.diff(begun[ends], prepend=0)


def word_starts(tokens: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
  """How many words begin in each token, int [t]; documents part words."""
  text = tokenizer.decode_bytes(tokens.tolist())
  ends = np.cumsum(tokenizer.byte_lengths[tokens], dtype=np.int64)
  return starts(text, ends, ends[tokens == tokenizer.bos])
