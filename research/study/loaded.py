"""A trained model with what it needs to read and write text."""

import os
from typing import Any, NamedTuple

from research.config import BadInput
from research.data import pipeline
from research.data.tokenizers import Tokenizer
from research.inference import frame as frames
from research.inference.frame import Frame
from research.train import trained


class Loaded(NamedTuple):
  """A model that can be spoken to.

  Attributes:
    model: Its network.
    tokenizer: What its ids mean.
    frame: The ids around texts.
    about: Where it comes from: columns of a row of results.
    template: Of conversations, if it came with one.
  """

  model: Any
  tokenizer: Tokenizer
  frame: Frame
  about: dict[str, Any]
  template: str | None = None


def load(workdir: str | os.PathLike[str], step: int | None = None) -> Loaded:
  """The model of a run, at a step or its newest, or an imported one.

  Raises:
    BadInput: There is no such run or checkpoint, or it writes no text.
  """
  found = trained.load(workdir, step)
  cfg = found.model.cfg
  if cfg.architecture == 'lstm':
    raise BadInput(
      f'workdir={workdir} holds an LSTM, which has no key/value cache; give a'
      ' transformer'
    )
  tokenizer = pipeline.tokenizer(found.data)
  about = {**found.about, 'tokenizer_hash': tokenizer.hash}
  frame = frames.of(cfg.architecture, tokenizer)
  return Loaded(found.model, tokenizer, frame, about, found.template)
