"""BIG-bench tasks in JSON, from the installed package or from a folder."""

import dataclasses
import functools
import importlib.util
import json
import pathlib
from typing import Any

from research.config import BadInput
from research.data.items import Item, Prompt, Template
from research.evals.tasks import finite


@dataclasses.dataclass(frozen=True, kw_only=True)
class BigBench:
  """One JSON task of BIG-bench (Srivastava et al. 2022), generative or choice.

  Never train on it: each file carries a canary. It is read where it lies.
  Choices are asked in the file's order; BIG-bench draws one.

  Attributes:
    task: Its folder below `folder`: `modified_arithmetic/three_digit_addition`.
    folder: Where tasks are; None: `benchmark_tasks` of the installed package
      `bigbench`, which is found and not imported.
  """

  task: str
  folder: str | None = None

  @property
  def name(self) -> str:
    return self.task.strip('/').replace('/', ':')

  @property
  def template(self) -> Template:
    """The prefixes of the task; a space that ends one begins the answer.

    A separator of shots without a line's end is a line's end here.
    """
    data = _read(self._path())
    before = data.get('example_input_prefix', '\nQ: ')
    apart = data.get('few_shot_example_separator', '\n')
    apart = apart if '\n' in apart else '\n'
    after = data.get('example_output_prefix', '\nA: ')
    bare = after.rstrip(' ')
    space = after[len(bare) :] or ' '
    before, bare = (
      s.replace('{', '{{').replace('}', '}}') for s in (before, bare)
    )
    natural = finite.NATURAL
    return Template(
      prefix=data.get('task_prefix', ''),
      ask=f'{before}{{question}}{bare}',
      reply=f'{space}{{answer}}{apart}',
      think=f"{before}{{question}}{bare} Let's think step by step.",
      reason=natural.reason,
      conclude=natural.conclude,
      end='\n',
    )

  @property
  def guess(self) -> float | None:
    return finite.guess(_items(self._path()))

  def prompts(self, n: int, n_shots: int, seed: int) -> list[Prompt]:
    """As `finite.prompts`.

    Raises:
      BadInput: There is no such task, or it is not a JSON task.
    """
    items = _items(self._path())
    return finite.prompts(self.name, items, n, n_shots, seed)

  def _path(self) -> pathlib.Path:
    path = self._folder() / self.task / 'task.json'
    if not path.is_file():
      raise BadInput(
        f'tasks.task={self.task!r}: there is no file {path}; give the folder'
        ' of a task that has a task.json'
      )
    return path

  def _folder(self) -> pathlib.Path:
    if self.folder is not None:
      return pathlib.Path(self.folder)
    found = importlib.util.find_spec('bigbench')
    if found is None or not found.submodule_search_locations:
      raise BadInput(
        'tasks.folder: the package bigbench is not installed; pip install'
        ' --no-deps bigbench, or name a folder of tasks'
      )
    return pathlib.Path(found.submodule_search_locations[0], 'benchmark_tasks')


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    data = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise BadInput(f'tasks.task: {path} is not JSON ({error})') from None
  if not isinstance(data, dict) or not data.get('examples'):
    raise BadInput(f'tasks.task: {path} has no examples; give a JSON task')
  return data


@functools.lru_cache(maxsize=8)
def _items(path: pathlib.Path) -> tuple[Item, ...]:
  data = _read(path)
  return tuple(
    _item(example, data, f'example {i} of {path}')
    for i, example in enumerate(data['examples'])
  )


def _item(example: dict[str, Any], data: dict[str, Any], where: str) -> Item:
  question = example.get('input')
  scores, targets = example.get('target_scores'), example.get('target')
  targets = [targets] if isinstance(targets, str) else targets or []
  if not isinstance(question, str) or not (scores or targets):
    raise BadInput(f'tasks.task: {where} has no input or no target')
  if scores:
    most = max(scores.values())
    targets = [choice for choice, score in scores.items() if score == most]
    if data.get('append_choices_to_input', True):
      prefix = data.get('choice_prefix', '\n  choice: ')
      question += ''.join(f'{prefix}{choice}' for choice in scores)
  first, *others = targets
  return Item(
    question, first, question, tuple(scores or ()), others=tuple(others)
  )
