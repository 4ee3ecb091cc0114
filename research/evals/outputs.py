"""Outputs: all that a model had to say of each item, from which metrics follow.

An output is a JSON object, and a file of them is packed lines beside the run:

  prompt, question, answer, others, choices   what was asked (texts)
  rationale       what the model worked out, if it was asked to
  said            its answer, as far as `end`; greedy
  said_ids, answer_ids     both as tokens, without space around them
  log_p           nats of each token of the answer with its `end`
  best            whether each of these is the likeliest token
  bytes           of the answer with its `end`
  choice_log_p    nats of each choice with its `end`
  choice_free     the same after the template with an empty question
  choice_bytes    bytes of each choice with its `end`
  samples         answers drawn at temperature 1
"""

from collections.abc import Sequence
import functools
import json
import lzma
from typing import Any, NamedTuple

import numpy as np

from research import files
from research.data.tokenizers import Tokenizer
from research.evals import answering
from research.evals.prompts import Posed
from research.inference import frame as frames
from research.inference.frame import Frame
from research.inference.score import Score, score

Output = dict[str, Any]

_RATIONALE = 64  # tokens of a chain of thought where no item has one


def outputs(
  model: Any,
  posed: Posed,
  tokenizer: Tokenizer,
  *,
  n_samples: int = 0,
  seed: int = 0,
  batch_size: int = 32,
) -> list[Output]:
  """The model's output for each prompt of `posed`.

  With a chain of thought the model writes on until it concludes, ends its line
  or has said as much as the longest rationale there is (64 tokens if none); the
  conclusion's cue is added, and the answer is asked for after it, as after a
  plain prompt.

  Args:
    model: A network with `cfg`.
    posed: The prompts.
    tokenizer: The model's.
    n_samples: Answers drawn for each item, beside the greedy one.
    seed: Of the drawn answers.
    batch_size: Rows a forward pass.

  Raises:
    BadInput: A prompt does not fit the model.
  """
  asking = _Asking(model, posed, tokenizer, batch_size)
  texts, rationales = posed.texts, [None] * len(posed.prompts)
  if posed.worked:
    rationales = asking.rationales(texts)
    conclude = posed.template.conclude.rstrip(' ')
    pairs = zip(texts, rationales, strict=True)
    texts = [text + thought + conclude for text, thought in pairs]
  found = asking.answered(texts)
  asking.choose(texts, found)
  for i in range(n_samples):
    said = asking.say(texts, temperature=1.0, seed=seed + i)
    for output, text in zip(found, said, strict=True):
      output.setdefault('samples', []).append(text)
  return [
    {'prompt': text, 'rationale': rationale, **output}
    for text, rationale, output in zip(
      posed.texts, rationales, found, strict=True
    )
  ]


def name(task: str, prompting: str, shots: int, prompt_hash: str) -> str:
  """How the name of a file of outputs begins: what was asked, and how."""
  return f'{task}-{prompting}-{shots}-{prompt_hash}'


def write(path: files.Path, found: Sequence[Output]) -> None:
  """Packs outputs into a file, whole or not at all."""
  lines = ''.join(json.dumps(output, sort_keys=True) + '\n' for output in found)
  files.write_whole(path, lzma.compress(lines.encode()))


def read(path: files.Path) -> list[Output]:
  """The outputs that `write` packed."""
  lines = lzma.decompress(path.read_bytes()).decode().splitlines()
  return [json.loads(line) for line in lines]


class Need(NamedTuple):
  """What a task as it is asked needs of a model, in tokens.

  Attributes:
    context: The longest prompt, not framed and without a rationale.
    slot: The longest answer.
    thought: The longest rationale; 0 if none is asked for.
  """

  context: int
  slot: int
  thought: int


def need(posed: Posed, tokenizer: Tokenizer) -> Need:
  """What `posed` needs of a model that is asked by `outputs`."""
  asking = _Asking(None, posed, tokenizer, 1)
  longest = max(map(len, tokenizer.encode_batch(posed.texts)))
  return Need(longest, asking.slot, asking.thought if posed.worked else 0)


class _Asking:
  """A model, and how the items of one task are put to it."""

  def __init__(
    self, model: Any, posed: Posed, tokenizer: Tokenizer, batch_size: int
  ):
    self.model, self.posed, self.tokenizer = model, posed, tokenizer
    self.batch_size = batch_size
    texts = [
      text
      for prompt in posed.prompts
      for text in (prompt.item.answer, *prompt.item.choices)
    ]
    self.slot = max(len(self.ids(text)) for text in texts)
    conclude = posed.template.conclude
    worked = [
      f' {prompt.item.rationale}{conclude}'
      for prompt in posed.prompts
      if prompt.item.rationale
    ]
    self.thought = max(
      [len(tokenizer.continued(text)) for text in worked], default=_RATIONALE
    )

  @functools.cached_property
  def frame(self) -> Frame:
    return frames.asking(self.model.cfg.architecture, self.tokenizer)

  def reply(self, answer: str) -> str:
    """An answer with what stands around it."""
    template = self.posed.template
    form = template.reply
    if self.posed.worked:
      form = template.reason.partition(template.conclude.rstrip(' '))[2]
    return form.format(answer=answer)

  def ids(self, answer: str) -> np.ndarray:
    return self.tokenizer.continued(self.reply(answer))

  def say(
    self,
    texts: Sequence[str],
    *,
    slot: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
  ) -> list[str]:
    """What comes after each text, as far as the template's `end`."""
    said = answering.answers(
      self.model,
      self.tokenizer.encode_batch(texts),
      slot or self.slot,
      self.frame,
      self.tokenizer,
      stop=self.posed.template.end,
      temperature=temperature,
      seed=seed,
      batch_size=self.batch_size,
    )
    end = self.posed.template.end
    return [self.tokenizer.decode(ids).partition(end)[0] for ids in said]

  def rationales(self, texts: Sequence[str]) -> list[str]:
    """What the model works out before it concludes."""
    conclude = self.posed.template.conclude.rstrip(' ')
    said = self.say(texts, slot=self.thought)
    return [text.partition(conclude)[0] for text in said]

  def score(self, texts: Sequence[str], answers: Sequence[str]) -> list[Score]:
    """How likely each answer is after its text; prompts are documents."""
    contexts = self.tokenizer.encode_batch(texts)
    longest = max(map(len, contexts))
    answering.check(self.model.cfg, self.frame, longest, self.slot)
    return score(
      self.model,
      list(zip(contexts, map(self.ids, answers), strict=True)),
      self.frame,
      slot=self.slot,
      batch_size=self.batch_size,
    )

  def answered(self, texts: Sequence[str]) -> list[Output]:
    """What was said and how likely the right answer was."""
    items = [prompt.item for prompt in self.posed.prompts]
    scored = self.score(texts, [item.answer for item in items])
    said = self.say(texts)
    return [
      {
        'question': item.question,
        'answer': item.answer,
        'others': list(item.others),
        'choices': list(item.choices),
        'said': text,
        'said_ids': self.tokenizer.encode(text.strip()).tolist(),
        'answer_ids': self.tokenizer.encode(item.answer.strip()).tolist(),
        'log_p': _rounded(one.text),
        'best': one.best.tolist(),
        'bytes': self.size(item.answer),
      }
      for item, one, text in zip(items, scored, said, strict=True)
    ]

  def size(self, answer: str) -> int:
    return len(self.reply(answer).encode('utf-8'))

  def choose(self, texts: Sequence[str], found: Sequence[Output]) -> None:
    """Adds how likely each choice is, after the prompt and after none."""
    rows = [
      (i, choice)
      for i, output in enumerate(found)
      for choice in output['choices']
    ]
    if not rows:
      return
    template = self.posed.template
    empty = (template.think if self.posed.worked else template.ask).format(
      question=''
    )
    empty = template.prefix + empty
    asked = [texts[i] for i, _ in rows]
    different = list(dict.fromkeys(choice for _, choice in rows))
    scored = self.score(asked, [choice for _, choice in rows])
    free = self.score([empty] * len(different), different)
    unasked = {
      choice: _rounded(one.text.sum())
      for choice, one in zip(different, free, strict=True)
    }
    for (i, choice), one in zip(rows, scored, strict=True):
      for name, value in (
        ('choice_log_p', _rounded(one.text.sum())),
        ('choice_free', unasked[choice]),
        ('choice_bytes', self.size(choice)),
      ):
        found[i].setdefault(name, []).append(value)


def _rounded(x):
  """Float32 as JSON, without digits that are noise."""
  return np.round(np.asarray(x, np.float64), 6).tolist()
