"""Frames: the special ids around a text, by which a model knows what to do."""

from typing import NamedTuple

from research.config import BadInput
from research.data.specials import Specials
from research.data.tokenizer_file import library
from research.data.tokenizers import Tokenizer
from research.inference.rows import Ids


class Frame(NamedTuple):
  """What stands around a prompt and around what is written.

  Attributes:
    n_text: Ids below are text; of the others only `ends` are ever written.
    before: Ids that begin what the model reads.
    after: Ids that end it.
    start: What an encoder-decoder's decoder reads first.
    ends: Ids any of which ends what is written.
    mask: Stands for a token that an encoder is to guess, if there is one.
  """

  n_text: int
  before: tuple[int, ...] = ()
  after: tuple[int, ...] = ()
  start: tuple[int, ...] = ()
  ends: tuple[int, ...] = ()
  mask: int | None = None

  def around(self, ids: Ids) -> list[int]:
    """A prompt as the model reads it.

    Raises:
      BadInput: Nothing would be left to read.
    """
    framed = [*self.before, *map(int, ids), *self.after]
    if not framed:
      raise BadInput(
        'prompt: it is empty, and its tokenizer puts no bos in front; write one'
      )
    return framed


def of(architecture: str, tokenizer: Tokenizer) -> Frame:
  """The frame of a model: its own if others trained it, else ours."""
  if tokenizer.specials.own is None:
    return ours(architecture, tokenizer.specials)
  return published(architecture, tokenizer)


def asking(architecture: str, tokenizer: Tokenizer) -> Frame:
  """The frame in which evaluations ask what comes after a text.

  That of the model. But a published encoder-decoder that has sentinels (T5)
  reads the first where the answer is missing, as ours do, and its decoder reads
  it before the answer, which the next one ends (Raffel et al. 2020, section
  3.1.4): trained on spans alone, it begins with nothing else.
  """
  frame, specials = of(architecture, tokenizer), tokenizer.specials
  own = specials.own
  spans = own and own.first_sentinel is not None and specials.n_sentinels
  if architecture != 'encoder_decoder' or not spans:
    return frame
  first, *others = map(specials.sentinel, range(min(specials.n_sentinels, 2)))
  return frame._replace(
    after=(first, *frame.after),
    start=(*frame.start, first),
    ends=(*frame.ends, *others),
  )


def told(frame: Frame, tokenizer: Tokenizer) -> str:
  """What stands around a published model's texts; nothing of ours."""
  if tokenizer.specials.own is None:
    return ''
  name = library(tokenizer).id_to_token
  said = [
    f'{" ".join(map(name, ids))} {where}'
    for ids, where in (
      (frame.before, 'before'),
      (frame.after, 'after'),
      (frame.start, 'read first by the decoder'),
    )
    if ids
  ]
  return f'; framed: {", ".join(said) or "nothing"}'


def ours(architecture: str, specials: Specials) -> Frame:
  """The frame in which our own models are trained.

  A text begins with bos, as a document does, and ends where another would
  begin. An encoder-decoder reads sentinel 0 after the prompt, writes what
  stands for it, and ends where it would go on to sentinel 1.
  """
  bos = specials.bos
  match architecture:
    case 'decoder' | 'lstm':
      return Frame(specials.n_text, before=(bos,), ends=(bos,))
    case 'encoder':
      return Frame(specials.n_text, before=(bos,), mask=specials.mask)
    case 'encoder_decoder':
      s0 = specials.sentinel(0)
      ends = (bos, specials.sentinel(1)) if specials.n_sentinels > 1 else (bos,)
      return Frame(
        specials.n_text, before=(bos,), after=(s0,), start=(s0,), ends=ends
      )
  raise ValueError(architecture)


def published(architecture: str, tokenizer: Tokenizer) -> Frame:
  """The frame of a published model, whose tokenizer names its own specials.

  Around a prompt stands what its `tokenizer.json` puts around a text.
  """
  specials = tokenizer.specials
  assert specials.own is not None
  loaded = library(tokenizer)
  bare = loaded.encode('a', add_special_tokens=False).ids
  whole = loaded.encode('a').ids
  at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
  own = specials.own
  ends = (specials.bos if own.eos is None else own.eos, *own.other_eos)
  return Frame(
    specials.n_text,
    before=tuple(whole[:at]),
    after=tuple(whole[at + len(bare) :]),
    start=(specials.bos,) if architecture == 'encoder_decoder' else (),
    ends=ends if architecture != 'encoder' else (),
    mask=own.mask,
  )
