"""Families of reasoning-gym: generated questions, an optional package."""

import dataclasses
import functools
import importlib
import importlib.util
from typing import Any

from research.config import BadInput
from research.data.items import Item, Prompt, Template
from research.evals.tasks import finite

_SPARE = 64  # items beyond those asked, to be shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReasoningGym:
  """A family of `reasoning-gym` (Stojanovski et al. 2025), its own defaults.

  An answer is right if it is the family's own, word for word: stricter than
  the package's scoring of families that allow several.

  Attributes:
    family: As the package names it: `chain_sum`, `spell_backward`.
  """

  family: str
  guess = None

  @property
  def name(self) -> str:
    return f'gym:{self.family}'

  @property
  def template(self) -> Template:
    return finite.NATURAL

  def prompts(self, n: int, n_shots: int, seed: int) -> list[Prompt]:
    """As `finite.prompts`, of questions that all differ.

    Raises:
      BadInput: The package is not installed, or has no such family.
    """
    items = _items(self.family, n + max(_SPARE, n_shots), seed)
    return finite.prompts(self.name, items, n, n_shots, seed)


@functools.lru_cache(maxsize=8)
def _items(family: str, size: int, seed: int) -> tuple[Item, ...]:
  if importlib.util.find_spec('reasoning_gym') is None:
    raise BadInput(
      'tasks: ReasoningGym needs the package reasoning-gym; pip install it'
    )
  gym: Any = importlib.import_module('reasoning_gym')
  try:
    entries = gym.create_dataset(family, size=size, seed=seed)
  except ValueError as error:
    raise BadInput(f'tasks.family={family!r}: {error}') from None
  found = {
    entry['question']: str(entry['answer'])
    for entry in entries
    if entry['answer'] is not None  # Only the package's own scorer knows these.
  }
  if not found:
    raise BadInput(f'tasks.family={family!r}: its items have no single answer')
  return tuple(
    Item(question, answer, question) for question, answer in found.items()
  )
