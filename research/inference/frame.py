"""Frames: the special ids around a text, by which a model knows what to do."""

from typing import NamedTuple

from research.config import BadInput
from research.data.layout import Architecture
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
      raise BadInput('prompt: it is empty, and the model has no bos; write one')
    return framed


def ours(architecture: Architecture, specials: Specials) -> Frame:
  """The frame in which our own models are trained.

  A text begins with bos, as a document does, and ends where another would
  begin. An encoder-decoder reads sentinel 0 after the prompt, writes what
  stands for it, and ends where it would go on to sentinel 1.
  """
  bos = specials.bos
  match architecture:
    case 'decoder':
      return Frame(specials.n_text, before=(bos,), ends=(bos,))
    case 'encoder':
      return Frame(specials.n_text, before=(bos,), mask=specials.mask)
    case 'encoder_decoder':
      s0 = specials.sentinel(0)
      ends = (bos, specials.sentinel(1)) if specials.n_sentinels > 1 else (bos,)
      return Frame(
        specials.n_text, before=(bos,), after=(s0,), start=(s0,), ends=ends
      )


def published(architecture: Architecture, tokenizer: Tokenizer) -> Frame:
  """The frame of a published model, whose tokenizer names its own specials.

  Around a prompt stands what its `tokenizer.json` puts around a text.
  """
  specials = tokenizer.specials
  assert specials.own is not None
  loaded = library(tokenizer)
  bare = loaded.encode('a', add_special_tokens=False).ids
  whole = loaded.encode('a').ids
  at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
  eos = specials.bos if specials.own.eos is None else specials.own.eos
  return Frame(
    specials.n_text,
    before=tuple(whole[:at]),
    after=tuple(whole[at + len(bare) :]),
    start=(specials.bos,) if architecture == 'encoder_decoder' else (),
    ends=(eos,) if architecture != 'encoder' else (),
    mask=specials.own.mask,
  )
