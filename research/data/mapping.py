"""A label mapping that is new in every prompt: only shots can teach it."""

from collections.abc import Iterator
import dataclasses
import random
import string

from research.config import BadInput
from research.data.items import Item


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
  """`label: 407` is `Q` and `label: khw` is `D`, in this prompt.

  Digits have one label and letters the other; which labels these are is drawn
  for each prompt, so without shots nobody can know, and with shots of both
  kinds everybody who compares the question with them can.

  Attributes:
    length: Characters of a question.
  """

  length: int = 3
  guess = 0.5

  def __post_init__(self):
    if not 1 <= self.length <= 64:
      raise BadInput(f'length={self.length} must be from 1 to 64')

  @property
  def name(self) -> str:
    return f'labels_{self.length}'

  def items(self, rng: random.Random) -> Iterator[Item]:
    labels = tuple(rng.sample(string.ascii_uppercase, 2))
    while True:
      kind = rng.randrange(2)
      alphabet = (string.digits, string.ascii_lowercase)[kind]
      question = f'label: {"".join(rng.choices(alphabet, k=self.length))}'
      yield Item(question, labels[kind], question, tuple(sorted(labels)))
