"""Verses in two languages, split by book and chapter as the corpus is."""

from collections.abc import Iterator
import dataclasses
import functools
import importlib.resources
import lzma
import random
from typing import Literal, NamedTuple

from research.config import BadInput
from research.data.items import Item
from research.data.splits import chapter, in_validation


class Verse(NamedTuple):
  """One verse.

  Attributes:
    reference: Book, chapter and verse: `Gen 1:3`.
    english: World English Bible.
    spanish: Reina-Valera 1909.
  """

  reference: str
  english: str
  spanish: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verses:
  """`spanish: And God said …` is `Y dijo Dios …`, or the other way round.

  Verses of a chapter that the corpus holds out at `share` are tested, but for
  those that a practised verse contains word for word in either language.

  Attributes:
    into: The language of the answer.
    longest: Most bytes of either side.
    share: Of chapters held out; no more than `data.validation_share`, or the
      corpus trains on the English of what is tested.
  """

  into: Literal['spanish', 'english'] = 'spanish'
  longest: int = 100
  share: float = 0.02
  guess = 0.0
  prose = True

  def __post_init__(self):
    if self.longest < 20:
      raise BadInput(f'longest={self.longest} must be at least 20 bytes')
    if not 0 < self.share < 1:
      raise BadInput(f'share={self.share} must be between 0 and 1')

  @property
  def name(self) -> str:
    return f'verses_into_{self.into}_{self.longest}'

  def items(self, rng: random.Random) -> Iterator[Item]:
    usable = _usable(self.longest, self.share)
    while True:
      verse = rng.choice(usable)
      source, target = verse.english, verse.spanish
      if self.into == 'english':
        source, target = target, source
      yield Item(
        f'{self.into}: {source}',
        target,
        chapter(verse.reference),
        share=self.share,
      )


@functools.cache
def verses() -> tuple[Verse, ...]:
  """All 31,077 verses in order; 0.4 s."""
  folder = importlib.resources.files('research.data') / 'corpus'
  with importlib.resources.as_file(folder / 'bible_en_es.tsv.xz') as path:
    lines = lzma.open(path, 'rt', encoding='utf-8').read().splitlines()
  return tuple(Verse(*line.split('\t')) for line in lines)


@functools.cache
def _usable(longest: int, share: float) -> tuple[Verse, ...]:
  """The verses that fit, without the held out that practised ones contain."""
  tested = [in_validation(chapter(verse[0]), share) for verse in verses()]
  english, spanish = (
    '\n'.join(
      v[i] for v, test in zip(verses(), tested, strict=True) if not test
    )
    for i in (1, 2)
  )
  return tuple(
    verse
    for verse, test in zip(verses(), tested, strict=True)
    if max(len(side.encode()) for side in verse[1:]) <= longest
    and not (test and (verse.english in english or verse.spanish in spanish))
  )
