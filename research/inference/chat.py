"""Chat templates: conversations as the text a model was tuned on."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import jinja2.sandbox

from research.config import BadInput
from research.data.tokenizer_file import library
from research.data.tokenizers import Tokenizer


def render(
  template: str,
  messages: Sequence[Mapping[str, Any]],
  add_generation_prompt: bool = True,
  **names: str,
) -> str:
  """What `template` makes of the messages.

  Templates come with published models and are not trusted: they run in
  Jinja's sandbox, and change nothing.

  Args:
    template: In Jinja, as in `tokenizer_config.json`.
    messages: With `role` and `content`.
    add_generation_prompt: Whether an answer of the model is to follow; if not,
      the text ends where the last message does.
    **names: What else the template reads, such as `bos_token`.

  Raises:
    BadInput: The template is faulty or refuses the messages.
  """

  def refuse(reason: str):
    raise BadInput(f'chat_template: {reason}')

  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True
  )
  environment.globals['raise_exception'] = refuse
  try:
    text = environment.from_string(template).render(
      messages=messages, add_generation_prompt=add_generation_prompt, **names
    )
  except jinja2.TemplateError as error:
    raise BadInput(f'chat_template: {error}') from None
  if add_generation_prompt or not messages:
    return text
  last = str(messages[-1]['content']).strip()
  at = text.rfind(last)
  return text if at < 0 else text[: at + len(last)]


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
