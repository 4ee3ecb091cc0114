"""Questions in a file: any JSON lines of prompts and answers."""

import dataclasses
import json
import pathlib
from typing import Any

from research.config import BadInput
from research.data.items import Item, Prompt, Template
from research.evals.tasks import finite


@dataclasses.dataclass(frozen=True, kw_only=True)
class Questions:
  """A file of JSON objects, a question a line.

  Each has `prompt` and `answer`, the latter a text or a list of right ones;
  and, if it likes, `choices` (with the answer) and `rationale`.

  Attributes:
    path: The file.
    prose: Whether answers are prose, of which chrF and BLEU are told.
  """

  path: str
  prose: bool = False

  @property
  def name(self) -> str:
    return pathlib.Path(self.path).stem

  @property
  def template(self) -> Template:
    return finite.NATURAL

  @property
  def guess(self) -> float | None:
    return finite.guess(self._items())

  def prompts(self, n: int, n_shots: int, seed: int) -> list[Prompt]:
    """As `finite.prompts`.

    Raises:
      BadInput: No such file; a line that is no question; too few lines.
    """
    return finite.prompts(self.name, self._items(), n, n_shots, seed)

  def _items(self) -> list[Item]:
    path = pathlib.Path(self.path)
    if not path.is_file():
      raise BadInput(f'tasks.path: there is no file {path}; give one that is')
    lines = path.read_text(encoding='utf-8').splitlines()
    found = [
      self._item(line, number)
      for number, line in enumerate(lines, 1)
      if line.strip()
    ]
    if not found:
      raise BadInput(f'tasks.path: {path} is empty; give one with questions')
    return found

  def _item(self, line: str, number: int) -> Item:
    where = f'tasks.path: line {number} of {self.path}'
    try:
      record: Any = json.loads(line)
    except ValueError as error:
      raise BadInput(f'{where} is not JSON ({error}); mend it') from None
    record = record if isinstance(record, dict) else {}
    question, answers = record.get('prompt'), record.get('answer')
    answers = [answers] if isinstance(answers, str) else answers
    choices = record.get('choices') or ()
    texts = [question, *(answers or [None]), *choices]
    if not all(isinstance(text, str) and text.strip() for text in texts):
      raise BadInput(
        f'{where} needs a text `prompt` and a text `answer` (or a list of'
        ' them), none empty'
      )
    first, *others = answers
    if choices and first not in choices:
      raise BadInput(f'{where}: its choices lack the answer {first!r}; add it')
    return Item(
      question,
      first,
      question,
      choices=tuple(choices),
      rationale=str(record.get('rationale') or ''),
      others=tuple(others),
    )
