"""A tokenizer that changes text, as many published ones do."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Int
import numpy as np

from research.data import words
from research.data.specials import Own
from research.data.tokenizer import Tokenizer

_BEFORE = '\n'  # No piece reaches across a line's end.


class Measured(NamedTuple):
  """The ids of a text, and how much of it each stands for; arrays [t].

  Attributes:
    ids: As `encode` gives them.
    n_bytes: Of the text as it was given, in UTF-8. What was dropped before a
      token is counted to it, and at the end to the last, so they sum to all.
    n_words: Words of that text which begin in these bytes.
  """

  ids: np.ndarray
  n_bytes: np.ndarray
  n_words: np.ndarray


class Lossy(Tokenizer):
  """A published vocabulary that reads another text than it is given.

  LLaMA 2's puts a space in front, T5's folds characters and drops spaces,
  BERT's lowers case, and both have one id for all that they do not know. So an
  id stands for no fixed bytes (there is no `byte_lengths`), and what a model
  needs for a text's tokens is at most what it needs for the text.

  Attributes:
    unknown: Stands for what is not in the vocabulary, if anything does.
  """

  lossless: ClassVar[bool] = False
  caveat = (
    '; its tokenizer changes text: bits are those of its tokens, bytes those of'
    ' the text as it was'
  )

  def __init__(
    self,
    loaded: Any,
    pieces: Sequence[bytes],
    n_sentinels: int,
    identity: bytes,
    own: Own | None,
    unknown: int | None,
  ):
    """A tokenizer.

    Args:
      loaded: A `tokenizers.Tokenizer`.
      pieces: The bytes of each id within a text that is written.
      n_sentinels: Number of sentinels.
      identity: The file that `loaded` was read from.
      own: The ids of its specials.
      unknown: As the attribute.
    """

    def encode(texts):
      found = loaded.encode_batch_fast(list(texts), add_special_tokens=False)
      return [np.array(one.ids, np.int32) for one in found]

    super().__init__(encode, pieces, n_sentinels, identity, own)
    del self.byte_lengths
    self._loaded, self.unknown = loaded, unknown

  def measured(self, text: str) -> Measured:
    """The ids of `text`, and the bytes and words of it that each stands for."""
    found = self._loaded.encode(text, add_special_tokens=False)
    ends = np.maximum.accumulate([end for _, end in found.offsets] or [0])
    ends[-1] = len(text)
    points = np.frombuffer(text.encode('utf-32-le'), np.uint32)
    sizes = 1 + np.sum(points[:, None] >= [0x80, 0x800, 0x10000], axis=1)
    ends = np.concatenate([[0], np.cumsum(sizes)])[ends][: len(found.ids)]
    return Measured(
      np.array(found.ids, np.int32),
      np.diff(ends, prepend=0),
      words.starts(text.encode('utf-8'), ends),
    )

  def continued(self, text: str) -> Int[np.ndarray, ' t']:
    """The ids of `text` where other text, a line's end, stands before it."""
    found = self._loaded.encode(_BEFORE + text, add_special_tokens=False)
    pairs = zip(found.ids, found.offsets, strict=True)
    return np.array(
      [i for i, (_, end) in pairs if end > len(_BEFORE)], np.int32
    )

  def decode(self, ids: Iterable[Any]) -> str:
    """The text of `ids` as the tokenizer's own decoder writes it."""
    return self._loaded.decode([int(i) for i in ids])
