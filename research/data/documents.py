"""Documents: texts, and what they are filed under."""

import dataclasses

from research.config import BadInput
from research.data.splits import fraction


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
  """One text, and what it is filed under.

  Attributes:
    domain: What validation is reported by.
    title: Name of the document within its corpus.
    text: All of it.
    group: Documents of one group fall on the same side of the split, whatever
      corpus they are in; None groups by equal text.
    always_trained: Whether it is on the training side, whatever its hash.
  """

  domain: str
  title: str
  text: str
  group: str | None = None
  always_trained: bool = False

  @property
  def split_key(self) -> str:
    """What the split hashes (`splits.in_validation`)."""
    return self.text if self.group is None else self.group

  @property
  def place(self) -> float:
    """In [0, 1]; the document is held out where the share is larger."""
    return 1.0 if self.always_trained else fraction(self.split_key)


def decoded(data: str | bytes, where: str, offset: int = 0) -> str:
  """UTF-8 bytes as text; `offset` is where `data` begins in its file."""
  if isinstance(data, str):
    return data
  try:
    return data.decode('utf-8')
  except UnicodeDecodeError as error:
    raise BadInput(
      f'corpus.path: {where} is not UTF-8 at byte {offset + error.start}'
      f' ({data[error.start : error.start + 1]!r}); convert it'
    ) from None


def one_line(what: str, error: Exception) -> str:
  """`what`, and what a library said of it, on one line."""
  said = ' '.join(str(error).split()) or type(error).__name__
  return f'{what}: {said[:600]}'
