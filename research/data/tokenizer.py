"""A tokenizer: text to ids and back, with nothing lost."""

from collections.abc import Callable, Iterable, Sequence
import hashlib
from typing import Any, ClassVar

from jaxtyping import Int
import numpy as np

from research.data.specials import Own, Specials


class Tokenizer:
  """A vocabulary: text ids that each stand for some bytes, then specials.

  `decode(encode(text)) == text` for every text, because each text id stands
  for fixed bytes and their concatenation is the text's UTF-8.

  Attributes:
    specials: The layout of the ids.
    byte_lengths: int32 [vocab_size], the bytes an id stands for, 0 for
      specials: over the ids of a text they sum to its UTF-8 length.
    hash: 16 hex digits, equal for tokenizers that give equal ids.
    model: What it was loaded from.
    caveat: What has to be said of figures by the byte; nothing of these.
  """

  lossless: ClassVar[bool] = True
  caveat = ''

  def __init__(
    self,
    encode: Callable[[Sequence[str]], list[np.ndarray]],
    pieces: Sequence[bytes],
    n_sentinels: int,
    identity: bytes,
    own: Own | None = None,
  ):
    self.specials = Specials(
      n_text=len(pieces), n_sentinels=n_sentinels, own=own
    )
    self._encode, self.model = encode, identity
    self._pieces = [*pieces, *[b''] * (self.vocab_size - len(pieces))]
    self.byte_lengths = np.array([len(p) for p in self._pieces], np.int32)
    told = '' if own is None else repr(own)
    self.hash = hashlib.blake2b(
      identity + f'{n_sentinels}{told}'.encode(), digest_size=8
    ).hexdigest()

  @property
  def vocab_size(self) -> int:
    """All ids, specials included."""
    return self.specials.vocab_size

  @property
  def n_text(self) -> int:
    return self.specials.n_text

  @property
  def bos(self) -> int:
    return self.specials.bos

  @property
  def mask(self) -> int:
    return self.specials.mask

  def sentinel(self, i: int) -> int:
    return self.specials.sentinel(i)

  def encode(self, text: str) -> Int[np.ndarray, ' t']:
    """The ids of `text`, int32; none is a special, whatever the text says."""
    return self._encode([text])[0]

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids of each text; on all cores where the tokenizer can."""
    return self._encode(texts)

  def continued(self, text: str) -> Int[np.ndarray, ' t']:
    """The ids of `text` where other text stands before it."""
    return self.encode(text)

  def decode(self, ids: Iterable[Any]) -> str:
    """The text of `ids`; specials give none, torn UTF-8 gives U+FFFD."""
    return self.decode_bytes(ids).decode('utf-8', errors='replace')

  def decode_bytes(self, ids: Iterable[Any]) -> bytes:
    """The bytes that `ids` stand for."""
    listed = ids.tolist() if isinstance(ids, np.ndarray) else ids
    return b''.join([self._pieces[i] for i in listed])
