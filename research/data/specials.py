"""The ids that are not text: separator, mask and sentinels."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specials:
  """Layout of a vocabulary: text ids first, then the specials.

  Attributes:
    n_text: Ids below this stand for text.
    n_sentinels: Number of sentinels, the last ids of the vocabulary.
  """

  n_text: int
  n_sentinels: int

  @property
  def bos(self) -> int:
    """Begins each document, and so separates them."""
    return self.n_text

  @property
  def mask(self) -> int:
    """Stands in the place of a token to be guessed."""
    return self.n_text + 1

  def sentinel(self, i: int) -> int:
    """Stands for the `i`-th span taken out of a sequence."""
    if not 0 <= i < self.n_sentinels:
      raise IndexError(f'sentinel {i} of {self.n_sentinels}')
    return self.n_text + 2 + i

  @property
  def vocab_size(self) -> int:
    return self.n_text + 2 + self.n_sentinels
