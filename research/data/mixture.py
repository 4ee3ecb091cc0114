"""A mixture: a corpus of text with skills practised between its documents."""

from collections.abc import Iterator
import dataclasses
import itertools
import random

from research.config import BadInput, fingerprint
from research.data.corpora import Corpus, Embedded
from research.data.documents import Document
from research.data.items import Template, practice
from research.data.skills import AnySkill
from research.data.splits import in_validation

_VERSION = 1  # of what skills generate; a change leaves old caches unread


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixed:
  """A corpus, and practice of skills at a stated share of all bytes.

  After each of the text's documents skills are practised until they have their
  share, the one with the fewest bytes first, so that all have as many. Held
  out is text alone: what is tested of a skill is a matter of its questions
  (`items.held_out`).

  Attributes:
    text: Where the text comes from.
    keep: Share of its documents that is read, by their hash, as even in each
      domain; a small model in a short run sees no more.
    skills: What is practised.
    share: Of all bytes that are practice.
    seed: Of the items.
  """

  text: Corpus = Embedded()
  keep: float = 1.0
  skills: tuple[AnySkill, ...] = ()
  share: float = 0.5
  seed: int = 0

  def __post_init__(self):
    if not self.skills:
      raise BadInput('skills is empty; name at least one, or take text alone')
    if not 0 < self.share < 1:
      raise BadInput(f'share={self.share} must be between 0 and 1')
    if not 0 < self.keep <= 1:
      raise BadInput(f'keep={self.keep} must be above 0 and at most 1')

  def documents(self) -> Iterator[Document]:
    """Text and practice in turn.

    Raises:
      BadInput: The text cannot be read.
    """
    practised = self._practice()
    text_bytes = skill_bytes = 0
    for document in self.text.documents():
      if not in_validation(f'keep {document.split_key}', self.keep):
        continue
      yield document
      text_bytes += len(document.text.encode())
      while skill_bytes * (1 - self.share) < text_bytes * self.share:
        exercise = next(practised)
        skill_bytes += len(exercise.text.encode())
        yield exercise

  def content(self) -> str:
    """Hash of the text and of how it is mixed."""
    return f'{self.text.content()} {fingerprint(self)} {_VERSION}'

  def _practice(self) -> Iterator[Document]:
    """Exercises without end, as many bytes of each skill."""
    sizes = [0] * len(self.skills)
    for i in itertools.count():
      least = sizes.index(min(sizes))
      skill = self.skills[least]
      rng = random.Random(f'practice {self.seed} {i}')
      text = practice(skill, rng, Template())
      sizes[least] += len(text.encode())
      yield Document(
        domain=skill.name,
        title=f'{skill.name}, {i}',
        text=text,
        always_trained=True,
      )
