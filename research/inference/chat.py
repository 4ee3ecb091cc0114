"""Chat templates: conversations as the text a model was tuned on."""

from collections.abc import Mapping, Sequence
import datetime
import json
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

from research.config import BadInput
from research.data.tokenizer_file import library
from research.data.tokenizers import Tokenizer

_END = '\ue000'  # of a last message; private, so no text has it


class _Generation(jinja2.ext.Extension):
  """`{% generation %}` marks what an assistant said, and changes no text."""

  tags = {'generation'}  # noqa: RUF012  (Jinja's own declaration)

  def parse(self, parser: Any) -> Any:
    next(parser.stream)
    return parser.parse_statements(('name:endgeneration',), drop_needle=True)


def render(
  template: str,
  messages: Sequence[Mapping[str, Any]],
  add_generation_prompt: bool = True,
  **names: str,
) -> str:
  """What `template` makes of the messages.

  Templates come with published models and are not trusted: they run in
  Jinja's sandbox, and change nothing. They find there what transformers gives
  them.

  Args:
    template: In Jinja, as in `tokenizer_config.json`.
    messages: With `role` and `content`.
    add_generation_prompt: Whether an answer of the model is to follow; if not,
      the text ends where the last message does, its white space included unless
      the template trims it.
    **names: What else the template reads, such as `bos_token`.

  Raises:
    BadInput: The template is faulty, refuses the messages, or leaves out the
      one that is to be continued.
  """

  def refuse(reason: str):
    raise BadInput(f'chat_template: {reason}')

  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[_Generation, jinja2.ext.loopcontrols],
  )
  environment.globals['raise_exception'] = refuse
  environment.globals['strftime_now'] = _now
  environment.filters['tojson'] = _json
  continued = [] if add_generation_prompt else messages[-1:]
  # A template that trims takes the space, too.
  marked = [{**m, 'content': f'{m["content"]}{_END} '} for m in continued]
  messages = [*messages[: len(messages) - len(marked)], *marked]
  try:
    text = environment.from_string(template).render(
      messages=messages, add_generation_prompt=add_generation_prompt, **names
    )
  except jinja2.TemplateError as error:
    raise BadInput(f'chat_template: {error}') from None
  if not marked:
    return text
  if _END not in text:
    refuse('it leaves out the message that is to be continued')
  text, _, rest = text.rpartition(_END)
  return text if rest.startswith(' ') else text.rstrip()


def _now(how: str) -> str:
  return datetime.datetime.now().strftime(how)


def _json(value: Any, indent: int | None = None) -> str:
  return json.dumps(value, ensure_ascii=False, indent=indent)


def special_names(tokenizer: Tokenizer) -> dict[str, str]:
  """What templates of a published model call `bos_token` and `eos_token`."""
  own = tokenizer.specials.own
  if own is None:
    return {}
  loaded = library(tokenizer)
  ids = {'bos_token': own.bos, 'eos_token': own.eos}
  return {
    name: loaded.id_to_token(i) or ''
    for name, i in ids.items()
    if i is not None
  }


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
  """The ids of a conversation, in which the names of specials are specials.

  In any other text they are letters, or it could not be told from them.
  """
  if tokenizer.specials.own is None:
    return tokenizer.encode(text).tolist()
  return library(tokenizer).encode(text, add_special_tokens=False).ids
