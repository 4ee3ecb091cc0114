r"""Writes on from a prompt with a trained model, or fills its masks.

    python -m experiments.generate --workdir=RUN --prompt='The sea' \
        --temperature=.8 --top_k=10 --top_p=.95 --max_tokens=200 \
        --stop='\n\n' --repetition_penalty=1.2 --num_return=3 --seed=0

Several prompts are given by several --prompt, several stop strings by several
--stop, in which \n and \t are what they mean. With --n_beams the best texts are
sought, not drawn. An encoder fills each <mask> of the prompt and takes --top_k.
A run of the quickstart takes 15 s, most of it compilation.

    python -m experiments.generate --workdir=imported/smollm2 --chat \
        --prompt='What is the capital of France?' --temperature=0

A published model that was tuned to answer reads, with --chat, each prompt as a
user's message in its own template, which writes all specials. In any other
prompt the name of a special token is letters; with --specials it is that token.
An encoder's prompts name specials always.
"""

from collections.abc import Iterable, Sequence
import re
import sys
from typing import Any

from absl import flags

from research import command, config, fields
from research.config import BadInput
from research.data.tokenizer_file import library
from research.inference import beams, chat
from research.inference.fill import fill
from research.inference.generate import Generation, generate
from research.inference.text import Text, shown
from research.study.loaded import Loaded, load
from research.train import process

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run.', required=True
)
_STEP = flags.DEFINE_integer('step', None, 'Checkpoint; none for the newest.')
_PROMPT = flags.DEFINE_multi_string(
  'prompt', None, 'Text to go on from.', required=True
)
_STOP = flags.DEFINE_multi_string('stop', [], 'Ends a text; not part of it.')
_CHAT = flags.DEFINE_bool(
  'chat', False, "Each prompt is a user's message in the model's template."
)
_SPECIALS = flags.DEFINE_bool(
  'specials', False, 'Names of special tokens in a prompt are these tokens.'
)
_RULES = {
  name: flags.DEFINE_string(name, None, f'{kind.__name__}.{name}')
  for kind in (Generation, beams.BeamSearch)
  for name in fields.fields(kind)
  if name != 'stop' and name not in flags.FLAGS
}
_MASK = '<mask>'
_ESCAPES = {r'\n': '\n', r'\t': '\t', r'\r': '\r', r'\\': '\\'}


def main() -> None:
  """Prints each prompt with what was written after it, as it is written."""
  given = {
    name: flag.value for name, flag in _RULES.items() if flag.value is not None
  }
  searched = 'n_beams' in given or 'length_penalty' in given
  how = _replaced(beams.BeamSearch() if searched else Generation(), given)
  for name, texts in (('prompt', _PROMPT.value), ('stop', _STOP.value)):
    _check_utf8(name, texts)
  process.prepare()
  loaded = load(_WORKDIR.value, _STEP.value)
  if loaded.model.cfg.architecture == 'encoder':
    _fill(loaded, given)
  elif isinstance(how, Generation):
    _write(loaded, how)
  else:
    _print(_heads(), beams.search(**_asked(loaded), how=how))


def _replaced(how: Any, given: dict[str, str]) -> Any:
  """`how` with the flags that were given, and the stop strings."""
  stop = tuple(
    re.sub(r'\\[ntr\\]', lambda found: _ESCAPES[found[0]], text)
    for text in _STOP.value
  )
  changes = given | ({'stop': stop} if stop else {})
  for name in changes:
    if name not in fields.fields(type(how)):
      raise BadInput(
        f'--{name} has no part in a beam search; leave it out, or n_beams and'
        ' length_penalty'
      )
  return config.replace(how, changes)


def _check_utf8(name: str, texts: Iterable[str]) -> None:
  for text in texts:
    try:
      text.encode()
    except UnicodeEncodeError:
      raise BadInput(f'--{name}={text!r} is not UTF-8: convert it') from None


def _asked(loaded: Loaded) -> dict[str, Any]:
  if _CHAT.value and _SPECIALS.value:
    raise BadInput(
      '--specials has no part in --chat, whose template names them; leave one'
      ' out'
    )
  tokenizer, frame = loaded.tokenizer, loaded.frame
  if _CHAT.value:
    prompts = [conversed(prompt, loaded) for prompt in _PROMPT.value]
    frame = frame._replace(before=(), after=())
  elif _SPECIALS.value:
    prompts = [named(prompt, loaded) for prompt in _PROMPT.value]
  else:
    prompts = tokenizer.encode_batch(_PROMPT.value)
  return {
    'model': loaded.model,
    'prompts': prompts,
    'frame': frame,
    'tokenizer': tokenizer,
  }


def conversed(prompt: str, loaded: Loaded) -> list[int]:
  """The ids of a prompt as a user's message, to be answered.

  Nothing is to be put around them: the template writes all specials.
  """
  if loaded.template is None:
    raise BadInput('--chat: the model has no chat template; leave it out')
  said = chat.render(
    loaded.template,
    [{'role': 'user', 'content': prompt}],
    True,
    **chat.special_names(loaded.tokenizer),
  )
  return chat.encode(loaded.tokenizer, said)


def named(prompt: str, loaded: Loaded) -> list[int]:
  """The ids of a prompt that names specials, not yet framed."""
  if loaded.tokenizer.specials.own is None:
    raise BadInput(
      '--specials: the specials of this run have no names; leave it out'
    )
  ids, before = chat.encode(loaded.tokenizer, prompt), [*loaded.frame.before]
  # Who names what the frame puts in front does not want it twice.
  return ids[len(before) :] if ids[: len(before)] == before else ids


def _heads() -> list[str]:
  """What is shown in front of each text: an answer begins on a new line."""
  return [f'{prompt}\n' if _CHAT.value else prompt for prompt in _PROMPT.value]


def _write(loaded: Loaded, how: Generation) -> None:
  heads = _heads()
  if len(heads) > 1:
    _print(heads, generate(**_asked(loaded), how=how))
    return
  screen = Screen(heads[0], how)
  (texts,) = generate(**_asked(loaded), how=how, listen=screen.show)
  screen.end(texts)


class Screen:
  """Shows several texts one below the other while all are being written."""

  def __init__(self, prompt: str, how: Generation):
    self.prompt, self.how = prompt, how
    self.index, self.said = 0, ''
    self.unsaid = prompt  # until something was written: it may be refused

  def show(self, texts: Sequence[Text], over: bool = False) -> None:
    """Shows what is new; a text that is over makes room for the next."""
    while self.index < len(texts):
      text = texts[self.index]
      done = over or text.finish != 'length'
      now = text.text if done else shown(text, self.how.stop)
      self._say(now[len(self.said) :])
      self.said = now
      if not done:
        return
      self.index, self.said = self.index + 1, ''
      self._say('\n' if self.index == len(texts) else f'\n\n{self.prompt}')

  def end(self, texts: Sequence[Text]) -> None:
    """Shows the rest."""
    self.show(texts, over=True)

  def _say(self, text: str) -> None:
    sys.stdout.write(self.unsaid + text)
    sys.stdout.flush()
    self.unsaid = ''


def _print(prompts: Iterable[str], texts: Iterable[Sequence[Text]]) -> None:
  pairs = zip(prompts, texts, strict=True)
  print('\n\n'.join(f'{p}{text.text}' for p, found in pairs for text in found))


def _fill(loaded: Loaded, given: dict[str, str]) -> None:
  others = {'stop': _STOP, 'chat': _CHAT, 'specials': _SPECIALS}
  for name in (*given, *(name for name, flag in others.items() if flag.value)):
    if name != 'top_k':
      raise BadInput(f'--{name} has no part in filling masks; leave it out')
  top_k = fields.parse(given.get('top_k', '5'), int, None, 'top_k')
  found = [
    fill(
      loaded.model,
      masked(prompt, loaded),
      loaded.frame,
      loaded.tokenizer,
      top_k=top_k,
    )
    for prompt in _PROMPT.value
  ]
  for filled in found:
    print(loaded.tokenizer.decode(filled.ids))
    for guesses in filled.guesses:
      print('  '.join(f'{g.text!r} {g.probability:.3f}' for g in guesses))


def masked(prompt: str, loaded: Loaded) -> list[int]:
  """The ids of a prompt with its masks."""
  mask, tokenizer = loaded.frame.mask, loaded.tokenizer
  if mask is None:
    raise BadInput(f'workdir={_WORKDIR.value}: its vocabulary has no mask')
  if tokenizer.specials.own is None:
    first, *rest = map(tokenizer.encode, prompt.split(_MASK))
    return [*first, *(i for part in rest for i in (mask, *part))]
  # A published mask may take the space before it, as its tokenizer knows.
  name = library(tokenizer).id_to_token(mask)
  return chat.encode(tokenizer, prompt.replace(_MASK, name))


if __name__ == '__main__':
  command.without_config(main)
