"""Items: questions with one right answer, and which side of the split they are.

A skill gives items without end. Whether an item may be practised or is kept
for testing is a function of its own key (`held_out`), so that no seed, size or
mixture can bring a test question into training.
"""

from collections.abc import Iterator
import dataclasses
import itertools
import random
from typing import NamedTuple, Protocol, runtime_checkable

from research.config import BadInput
from research.data.splits import in_validation

HELD_OUT = 0.25  # share of a skill's questions that are never practised
_PATIENCE = 20_000  # draws without a new question before a skill is exhausted


class Item(NamedTuple):
  """A question and its answer.

  Attributes:
    question: What is asked, on one line.
    answer: The right answer; never empty.
    key: What the split hashes; equal for questions that give each other away
      (`2+3` and `3+2`).
    choices: Answers to choose from, the right one among them; may be empty.
    rationale: The answer worked out; may be empty.
    others: Further answers that are right.
    share: Of keys that are held out.
  """

  question: str
  answer: str
  key: str
  choices: tuple[str, ...] = ()
  rationale: str = ''
  others: tuple[str, ...] = ()
  share: float = HELD_OUT


class Prompt(NamedTuple):
  """An item to be answered, and solved ones to be shown before it."""

  item: Item
  shots: tuple[Item, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
  """How an item is written; `{question}`, `{rationale}`, `{answer}` stand in.

  Attributes:
    prefix: Stands once, before all shots.
    ask: What comes before an answer.
    reply: The answer, with the `end` that closes it.
    think: What comes before an answer that is worked out.
    reason: The rationale and the answer.
    conclude: What parts the two; the answer stands after its last occurrence.
    end: Closes an answer.
  """

  prefix: str = ''
  ask: str = '{question} ='
  reply: str = ' {answer}\n'
  think: str = '{question} ?'
  reason: str = ' {rationale} = {answer}\n'
  conclude: str = ' = '
  end: str = '\n'

  def asked(self, item: Item, worked: bool) -> str:
    """The item without its answer; `worked` asks for the rationale, too."""
    return (self.think if worked else self.ask).format(question=item.question)

  def solved(self, item: Item, worked: bool) -> str:
    """The item with its answer, and with its rationale if it has one."""
    worked = worked and bool(item.rationale)
    return self.asked(item, worked) + (
      self.reason.format(rationale=item.rationale, answer=item.answer)
      if worked
      else self.reply.format(answer=item.answer)
    )


@runtime_checkable
class Skill(Protocol):
  """Something that can be practised: a config with these."""

  @property
  def name(self) -> str:
    """The skill and its difficulty."""
    ...

  @property
  def guess(self) -> float:
    """Share right of who knows the form of an answer and guesses."""
    ...

  def items(self, rng: random.Random) -> Iterator[Item]:
    """Items without end, which may stand in one document."""
    ...


def held_out(item: Item) -> bool:
  """Whether the item is kept for testing."""
  return in_validation(item.key, item.share)


def prompts(skill: Skill, n: int, n_shots: int, seed: int) -> list[Prompt]:
  """`n` different held-out items, each with `n_shots` that may be practised.

  The items do not depend on `n_shots`, and the first of them not on `n`.

  Raises:
    BadInput: The skill has too few different questions.
  """
  found, seen = [], set()
  for i in range(n):
    stream = skill.items(random.Random(f'{skill.name} {seed} {i}'))
    shots, item = [], None
    for drawn in itertools.islice(stream, _PATIENCE):
      if not held_out(drawn):
        shots += [drawn] * (len(shots) < n_shots)
      elif item is None and drawn.question not in seen:
        item = drawn
      if item is not None and len(shots) == n_shots:
        break
    if item is None or len(shots) < n_shots:
      raise BadInput(
        f'n_items={n}: {skill.name} has only {len(seen)} questions to test;'
        ' lower n_items or make the skill harder'
      )
    seen.add(item.question)
    found.append(Prompt(item, tuple(shots)))
  return found


def practice(
  skill: Skill, rng: random.Random, template: Template, most: int = 8
) -> str:
  """The text of a document: 1 to `most` items, none of them held out.

  In half of the documents of a skill that has rationales they are written out.
  """
  n, worked = rng.randint(1, most), rng.random() < 0.5
  allowed = (item for item in skill.items(rng) if not held_out(item))
  return ''.join(
    template.solved(item, worked) for item in itertools.islice(allowed, n)
  )
