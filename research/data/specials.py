"""The ids that are not text: separator, mask and sentinels."""

import dataclasses

from research.config import BadInput


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own:
  """The ids that a published vocabulary has for them, among those of text.

  Attributes:
    bos: Begins a document.
    mask: Stands for a token to be guessed; None: there is none.
    first_sentinel: The first sentinel; the others count down from it (T5).
    eos: Ends a text; None: bos does, as it begins the next.
    other_eos: End one, too.
  """

  bos: int
  mask: int | None = None
  first_sentinel: int | None = None
  eos: int | None = None
  other_eos: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specials:
  """Layout of a vocabulary: text ids first, then the specials.

  Attributes:
    n_text: Ids below this stand for text.
    n_sentinels: Number of sentinels, the last ids of the vocabulary.
    own: Where the vocabulary has ids of its own for them; none are added.
  """

  n_text: int
  n_sentinels: int
  own: Own | None = None

  @property
  def bos(self) -> int:
    """Begins each document, and so separates them."""
    return self.n_text if self.own is None else self.own.bos

  @property
  def mask(self) -> int:
    """Stands in the place of a token to be guessed."""
    if self.own is None:
      return self.n_text + 1
    if self.own.mask is None:
      raise BadInput('tokenizer.mask: this vocabulary has no mask; name one')
    return self.own.mask

  def sentinel(self, i: int) -> int:
    """Stands for the `i`-th span taken out of a sequence."""
    if not 0 <= i < self.n_sentinels:
      raise IndexError(f'sentinel {i} of {self.n_sentinels}')
    if self.own is None:
      return self.n_text + 2 + i
    if self.own.first_sentinel is None:
      raise BadInput('tokenizer.sentinel: this vocabulary has none; name one')
    return self.own.first_sentinel - i

  @property
  def vocab_size(self) -> int:
    added = 0 if self.own else 2 + self.n_sentinels
    return self.n_text + added
