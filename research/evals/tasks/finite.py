"""Finite tasks: a list of items, of which some are asked and others shown."""

from collections.abc import Sequence
import random

from research.config import BadInput
from research.data.items import Item, Prompt, Template

NATURAL = Template(
  ask='Q: {question}\nA:',
  reply=' {answer}\n\n',
  think="Q: {question}\nA: Let's think step by step.",
  reason=' {rationale} So the answer is {answer}.\n\n',
  conclude=' So the answer is',
  end='\n',
)
"""Words of Kojima et al. (2022), for tasks that have none of their own."""


def prompts(
  name: str, items: Sequence[Item], n: int, n_shots: int, seed: int
) -> list[Prompt]:
  """At most `n` of the items, each with `n_shots` others that are not asked.

  The asked are the first of a permutation drawn from the seed, whatever the
  number of shots; shots come from the rest, drawn anew for each item.

  Raises:
    BadInput: Nothing is left to show.
  """
  order = random.Random(f'{name} {seed}').sample(range(len(items)), len(items))
  asked, rest = order[:n], order[n:]
  if len(rest) < n_shots:
    raise BadInput(
      f'shots={n_shots}: {name} has {len(items)} items, of which n_items={n}'
      ' are asked; lower n_items or shots'
    )
  found = []
  for i in asked:
    draw = random.Random(f'{name} {seed} {i}')
    shown = draw.sample(rest, n_shots)
    found.append(Prompt(items[i], tuple(items[j] for j in shown)))
  return found


def guess(items: Sequence[Item]) -> float | None:
  """What guessing among the choices gets; None where an item has none."""
  if not items or not all(item.choices for item in items):
    return None
  return sum(1 / len(item.choices) for item in items) / len(items)
