"""Prompts: items with their shots as the text that a model reads."""

import dataclasses
import hashlib
import json
from typing import Literal, NamedTuple

from research.data import items
from research.data.items import Prompt, Template
from research.data.skills import AnySkill
from research.evals.tasks.bigbench import BigBench
from research.evals.tasks.gym import ReasoningGym
from research.evals.tasks.questions import Questions

Task = AnySkill | BigBench | Questions | ReasoningGym
Prompting = Literal['plain', 'chain_of_thought']


class Posed(NamedTuple):
  """A task as it is asked.

  Attributes:
    task: Its name.
    prompting: `plain` asks for the answer. `chain_of_thought` asks for what
      leads to it, too: with shots their rationales are written out (Wei et al.
      2022), without it is the cue alone (Kojima et al. 2022).
    shots: Solved items before each question.
    template: How items are written.
    prompts: The items.
    guess: Share right of who guesses; None where nobody knows.
    prose: Whether answers are prose.
  """

  task: str
  prompting: Prompting
  shots: int
  template: Template
  prompts: tuple[Prompt, ...]
  guess: float | None
  prose: bool

  @property
  def worked(self) -> bool:
    return self.prompting == 'chain_of_thought'

  @property
  def texts(self) -> list[str]:
    """What is read before each answer."""
    return [
      self.template.prefix
      + ''.join(
        self.template.solved(shot, self.worked) for shot in prompt.shots
      )
      + self.template.asked(prompt.item, self.worked)
      for prompt in self.prompts
    ]

  @property
  def hash(self) -> str:
    """12 hex digits of the template, of every prompt and of every answer."""
    whole = [
      dataclasses.asdict(self.template),
      self.prompting,
      self.texts,
      [prompt.item for prompt in self.prompts],
    ]
    text = json.dumps(whole, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=6).hexdigest()


def pose(
  task: Task, prompting: Prompting, shots: int, n: int, seed: int
) -> Posed | None:
  """The task asked in one way; None if it has nothing to be worked out.

  A skill without rationales has never shown the cue that asks for one.

  Raises:
    BadInput: The task cannot be read, or has too few items.
  """
  own = hasattr(task, 'template')
  found = (
    task.prompts(n, shots, seed)
    if isinstance(task, BigBench | Questions | ReasoningGym)
    else items.prompts(task, n, shots, seed)
  )
  reasons = own or all(prompt.item.rationale for prompt in found)
  if prompting == 'chain_of_thought' and not reasons:
    return None
  return Posed(
    task=task.name,
    prompting=prompting,
    shots=shots,
    template=getattr(task, 'template', Template()),
    prompts=tuple(found),
    guess=task.guess,
    prose=getattr(task, 'prose', False),
  )
