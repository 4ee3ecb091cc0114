"""Skills whose truth is known: strings to copy, turn, sort, look up, close."""

from collections.abc import Iterator
import dataclasses
import functools
import random
import re
import string

from research.config import BadInput
from research.data.arithmetic import Addition, Modular, Parity
from research.data.corpora import Embedded
from research.data.items import Item
from research.data.mapping import Labels
from research.data.verses import Verses

LETTERS = string.ascii_lowercase
_BRACKETS = ('()', '[]', '{}', '<>')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy:
  """`copy: hgfa` is `hgfa`.

  Attributes:
    length: Letters.
  """

  length: int = 8
  guess = 0.0

  def __post_init__(self):
    check('length', self.length, 2, 64)

  @property
  def name(self) -> str:
    return f'copy_{self.length}'

  def items(self, rng: random.Random) -> Iterator[Item]:
    while True:
      text = ''.join(rng.choices(LETTERS, k=self.length))
      yield _item('copy', text, text, rng)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reverse:
  """`reverse: hgfa` is `afgh`.

  Attributes:
    length: Letters.
  """

  length: int = 6
  guess = 0.0

  def __post_init__(self):
    check('length', self.length, 2, 64)

  @property
  def name(self) -> str:
    return f'reverse_{self.length}'

  def items(self, rng: random.Random) -> Iterator[Item]:
    while True:
      text = ''.join(rng.choices(LETTERS, k=self.length))
      yield _item('reverse', text, text[::-1], rng)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sort:
  """`sort: hgfa` is `afgh`; no letter comes twice.

  Attributes:
    length: Letters.
  """

  length: int = 5
  guess = 0.0

  def __post_init__(self):
    check('length', self.length, 3, 26)

  @property
  def name(self) -> str:
    return f'sort_{self.length}'

  def items(self, rng: random.Random) -> Iterator[Item]:
    while True:
      text = ''.join(rng.sample(LETTERS, self.length))
      yield _item('sort', text, ''.join(sorted(text)), rng)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Induction:
  """`next: qhdkw h` is `d`: what came after this letter before (Olsson 2022).

  Attributes:
    length: Different letters shown.
  """

  length: int = 8

  def __post_init__(self):
    check('length', self.length, 3, 26)

  @property
  def name(self) -> str:
    return f'induction_{self.length}'

  @property
  def guess(self) -> float:
    return 1 / (self.length - 1)

  def items(self, rng: random.Random) -> Iterator[Item]:
    while True:
      text = ''.join(rng.sample(LETTERS, self.length))
      i = rng.randrange(self.length - 1)
      question = f'next: {text} {text[i]}'
      yield Item(question, text[i + 1], question, tuple(text[1:]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recall:
  """`recall: q1 h7 d3 h` is `7`; no value comes twice.

  Attributes:
    pairs: Keys with a value.
  """

  pairs: int = 4

  def __post_init__(self):
    check('pairs', self.pairs, 2, 10)

  @property
  def name(self) -> str:
    return f'recall_{self.pairs}'

  @property
  def guess(self) -> float:
    return 1 / self.pairs

  def items(self, rng: random.Random) -> Iterator[Item]:
    while True:
      keys = rng.sample(LETTERS, self.pairs)
      values = rng.sample(string.digits, self.pairs)
      i = rng.randrange(self.pairs)
      shown = ' '.join(map(''.join, zip(keys, values, strict=True)))
      question = f'recall: {shown} {keys[i]}'
      yield Item(question, values[i], question, tuple(values))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hops:
  """`2 hops: qh hd dq h` is `q`: a function of letters applied several times.

  The function is a permutation drawn for each question, in random order.

  Attributes:
    hops: How often it is applied.
    nodes: Letters it is defined on.
  """

  hops: int = 2
  nodes: int = 5

  def __post_init__(self):
    check('hops', self.hops, 1, 16)
    check('nodes', self.nodes, 2, 26)

  @property
  def name(self) -> str:
    return f'hops_{self.hops}_of_{self.nodes}'

  @property
  def guess(self) -> float:
    return 1 / self.nodes

  def items(self, rng: random.Random) -> Iterator[Item]:
    while True:
      nodes = rng.sample(LETTERS, self.nodes)
      after = dict(zip(nodes, rng.sample(nodes, self.nodes), strict=True))
      path = [rng.choice(nodes)]
      for _ in range(self.hops):
        path.append(after[path[-1]])
      shown = ' '.join(a + b for a, b in after.items())
      question = f'{self.hops} hops: {shown} {path[0]}'
      yield Item(
        question, path[-1], question, tuple(nodes), rationale=' '.join(path)
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dyck:
  """`close: [(){` is `}]`: what closes the brackets still open.

  Attributes:
    depth: Brackets open at the end.
    pairs: Brackets opened and closed before.
    kinds: Kinds of brackets, at most 4.
  """

  depth: int = 4
  pairs: int = 4
  kinds: int = 4

  def __post_init__(self):
    check('depth', self.depth, 1, 32)
    check('pairs', self.pairs, 0, 32)
    check('kinds', self.kinds, 1, 4)

  @property
  def name(self) -> str:
    return f'dyck_{self.depth}_{self.pairs}_{self.kinds}'

  @property
  def guess(self) -> float:
    return self.kinds**-self.depth

  def items(self, rng: random.Random) -> Iterator[Item]:
    steps = [1] * (self.depth + self.pairs) + [-1] * self.pairs
    while True:
      rng.shuffle(steps)
      shown, still_open = '', []
      for step in steps:
        if step > 0:
          still_open.append(rng.choice(_BRACKETS[: self.kinds]))
          shown += still_open[-1][0]
        elif still_open:
          shown += still_open.pop()[1]
      if len(still_open) == self.depth:  # else a bracket closed too early
        closing = ''.join(pair[1] for pair in reversed(still_open))
        question = f'close: {shown}'
        yield Item(question, closing, question)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unscramble:
  """`unscramble: ehswal` is `whales`.

  Words are those that the embedded corpus has at least ten times in lower case
  and whose letters make no other of its words. A word is practised or tested.

  Attributes:
    length: Letters of a word.
  """

  length: int = 5
  guess = 0.0

  def __post_init__(self):
    check('length', self.length, 3, 9)

  @property
  def name(self) -> str:
    return f'unscramble_{self.length}'

  def items(self, rng: random.Random) -> Iterator[Item]:
    words = _words(self.length)
    while True:
      word = rng.choice(words)
      letters = ''.join(rng.sample(word, self.length))
      if letters != word:
        yield Item(f'unscramble: {letters}', word, f'unscramble {word}')


@functools.cache
def _words(length: int) -> tuple[str, ...]:
  """The embedded corpus's words of `length` letters that no other permutes."""
  word = re.compile(rf'\b[a-z]{{{length}}}\b')
  counts: dict[str, int] = {}
  for document in Embedded().documents():
    for found in word.findall(document.text):
      counts[found] = counts.get(found, 0) + 1
  same: dict[str, list[str]] = {}
  for found in counts:
    same.setdefault(''.join(sorted(found)), []).append(found)
  alone = [found[0] for found in same.values() if len(found) == 1]
  return tuple(sorted(word for word in alone if counts[word] >= 10))


def check(name: str, value: int, least: int, most: int) -> None:
  """Raises `BadInput` where a difficulty is out of its range."""
  if not least <= value <= most:
    raise BadInput(f'{name}={value} must be from {least} to {most}')


def _item(verb: str, text: str, answer: str, rng: random.Random) -> Item:
  """An item with three choices that differ from the answer in two letters."""
  question = f'{verb}: {text}'
  choices = {answer: None}
  while len(choices) < 4:
    wrong = list(answer)
    for i in rng.sample(range(len(answer)), 2):
      wrong[i] = rng.choice(LETTERS)
    choices[''.join(wrong)] = None
  shuffled = tuple(rng.sample(list(choices), 4))
  return Item(question, answer, question, shuffled)


AnySkill = (
  Copy
  | Induction
  | Recall
  | Reverse
  | Sort
  | Addition
  | Modular
  | Parity
  | Hops
  | Dyck
  | Unscramble
  | Labels
  | Verses
)
