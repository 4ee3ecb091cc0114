"""A trained model with what it needs to read and write text."""

import os
from typing import Any, NamedTuple

from research.config import BadInput, fingerprint
from research.data import pipeline
from research.data.tokenizers import Tokenizer
from research.inference.frame import Frame, ours
from research.train import loop


class Loaded(NamedTuple):
  """A model that can be spoken to.

  Attributes:
    model: Its network.
    tokenizer: What its ids mean.
    frame: The ids around texts.
    about: Where it comes from: columns of a row of results.
  """

  model: Any
  tokenizer: Tokenizer
  frame: Frame
  about: dict[str, Any]


def load(workdir: str | os.PathLike[str], step: int | None = None) -> Loaded:
  """The model of a run, at a step or its newest.

  Raises:
    BadInput: There is no such run or checkpoint.
  """
  cfg, state = loop.restore(workdir, step)
  architecture = cfg.model.architecture
  if architecture == 'lstm':
    raise BadInput(
      f'workdir={workdir} holds an LSTM, which has no key/value cache; give a'
      ' transformer'
    )
  tokenizer = pipeline.prepare(cfg.data).tokenizer
  about = {
    'config': fingerprint(cfg),
    'step': int(state.step),
    'architecture': architecture,
    'params': cfg.model.n_params,
    'tokenizer_hash': tokenizer.hash,
  }
  frame = ours(architecture, tokenizer.specials)
  return Loaded(state.model, tokenizer, frame, about)
