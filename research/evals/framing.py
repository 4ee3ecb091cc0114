"""Framing: rows of held-out text as a published model's own training had them.

Of encoders and encoder-decoders; decoders read rows as ours do. Documents run
on without a mark, as T5's did, and the frame stands once around each row.
"""

from typing import Any

import numpy as np

from research.config import BadInput
from research.data.layout import Batch
from research.data.tokenizers import Tokenizer
from research.evals import windows as rows
from research.inference import frame as frames
from research.inference.frame import Frame


def frame_of(model: Any, tokenizer: Tokenizer) -> Frame | None:
  """What stands around its rows; None if we trained the model."""
  if tokenizer.specials.own is None:
    return None
  return frames.published(model.cfg.architecture, tokenizer)


def windows(
  tokens: np.ndarray,
  tokenizer: Tokenizer,
  window: int,
  n_tokens: int,
  frame: Frame,
) -> rows.Windows:
  """As `windows.windows`, of the text alone, with room for the frame.

  Raises:
    BadInput: There is none.
  """
  room = window - len(frame.before) - len(frame.after)
  if room < 1:
    raise BadInput(f'window={window} holds no text beside its frame; raise it')
  text = np.flatnonzero(tokens != tokenizer.bos)
  found = rows.windows(
    np.asarray(tokens)[text], tokenizer, room, n_tokens, fill=False
  )
  return found._replace(index=text[found.index])


def framed(batch: Batch, frame: Frame | None) -> Batch:
  """A batch of rows of one length with what stands around them.

  T5's target ends with the end of text where ours has one more sentinel.
  """
  if frame is None:
    return batch
  n, length = len(batch['tokens']), int((batch['segments'][0] > 0).sum())
  before, after = (
    np.tile(np.array(ids, np.int32), (n, 1))
    for ids in (frame.before, frame.after)
  )
  text = batch['tokens'][:, :length]
  tokens = np.concatenate([before, text, after], axis=1)
  index = np.arange(tokens.shape[1], dtype=np.int32)
  targets, weights = batch['targets'].copy(), batch['weights']
  if frame.start:
    targets[:, int(weights[0].sum()) - 1] = frame.ends[0]
  else:
    wider = (0, 0), (len(frame.before), len(frame.after))
    targets, weights = np.pad(targets, wider), np.pad(weights, wider)
  return {
    **batch,
    'tokens': tokens,
    'segments': np.ones_like(tokens),
    'positions': np.broadcast_to(index, tokens.shape),
    'targets': targets,
    'weights': weights,
  }
