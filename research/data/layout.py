"""Layouts: corrupted rows as the batch an architecture reads.

A batch has `tokens`, `segments`, `positions` [b, seq_len]; `targets` and
`weights` [b, t]; for an encoder-decoder also `decoder_tokens`,
`decoder_segments` and `decoder_positions` [b, target_len]. Segment 0 is
padding and weight 0 is not predicted.
"""

import dataclasses
from typing import Literal

from jaxtyping import Int, Shaped
import numpy as np

from research.config import BadInput
from research.data import segments as seg
from research.data.specials import Specials

Architecture = Literal['encoder', 'decoder', 'encoder_decoder']
Batch = dict[str, np.ndarray]
ARCHITECTURES = ('encoder', 'decoder', 'encoder_decoder')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
  """What a batch is made for.

  Attributes:
    architecture: Of the model that reads it.
    specials: Of the tokenizer.
    seq_len: Width of `tokens`.
    target_len: Width of an encoder-decoder's decoder side.
    mask_documents: Whether the documents of a row are segments of their own.
  """

  architecture: Architecture
  specials: Specials
  seq_len: int
  target_len: int = 0
  mask_documents: bool = True

  def segments(self, rows: Int[np.ndarray, 'b n']) -> Int[np.ndarray, 'b n']:
    return seg.segments(rows, self.specials.bos, self.mask_documents)

  def single(
    self,
    tokens: Int[np.ndarray, 'b n'],
    targets: Int[np.ndarray, 'b n'],
    weights: Shaped[np.ndarray, 'b n'],
    segments: Int[np.ndarray, 'b n'],
  ) -> Batch:
    """The batch of a model with one side."""
    return {
      'tokens': tokens,
      'segments': segments,
      'positions': seg.positions(segments),
      'targets': targets,
      'weights': weights.astype(np.float32),
    }

  def pair(
    self,
    tokens: Int[np.ndarray, 'b s'],
    segments: Int[np.ndarray, 'b s'],
    targets: Int[np.ndarray, 'b t'],
    target_segments: Int[np.ndarray, 'b t'],
    first_segments: Int[np.ndarray, ' b'],
    start: int,
  ) -> Batch:
    """The batch of an encoder-decoder, padded to the layout's widths.

    The decoder reads `start` and then its targets, one behind. A position
    belongs to the segment of the token it reads, so that a document's end is
    predicted within the document; where the encoder has nothing of that
    segment there is nothing to attend to, and the position becomes padding.

    Args:
      tokens: What the encoder reads.
      segments: Of `tokens`, 0 for padding.
      targets: What the decoder predicts.
      target_segments: Of the targets themselves, 0 for padding.
      first_segments: Of `start`.
      start: The id that the decoder reads first.
    """
    tokens, segments = self._widen(tokens), self._widen(segments)
    targets = _pad(targets, self.target_len)
    target_segments = _pad(target_segments, self.target_len)
    read = _behind(target_segments, first_segments)
    there = (target_segments > 0) & seg.reachable(read, segments)
    read = np.where(there, read, 0)
    return {
      'tokens': tokens,
      'segments': segments,
      'positions': seg.positions(segments),
      'decoder_tokens': np.where(there, _behind(targets, start), 0),
      'decoder_segments': read,
      'decoder_positions': seg.positions(read),
      'targets': np.where(there, targets, 0),
      'weights': there.astype(np.float32),
    }

  def _widen(self, x: Int[np.ndarray, 'b s']) -> Int[np.ndarray, 'b t']:
    return _pad(x, self.seq_len)

  def split(
    self,
    rows: Int[np.ndarray, 'b n'],
    lengths: Int[np.ndarray, ' b'],
    sentinel: int | None = None,
  ) -> Batch:
    """The encoder-decoder batch that reads all but the last `lengths` tokens.

    The rest is predicted. With a sentinel, it ends what the encoder reads and
    begins what the decoder reads; without, the decoder begins with bos.
    """
    n = rows.shape[1]
    segments = self.segments(rows)
    cut = (n - lengths)[:, None]
    index = np.arange(n + (sentinel is not None))
    tokens, inside = rows, index[:n] < cut
    tokens, kept = np.where(inside, rows, 0), np.where(inside, segments, 0)
    last = np.take_along_axis(segments, cut - 1, axis=1)
    if sentinel is not None:
      tokens, kept = _pad(tokens, n + 1), _pad(kept, n + 1)
      tokens = np.where(index == cut, sentinel, tokens)[:, : self.seq_len]
      kept = np.where(index == cut, last, kept)[:, : self.seq_len]
    ahead = cut + np.arange(lengths.max())
    source = np.minimum(ahead, n - 1)
    return self.pair(
      tokens,
      kept,
      np.take_along_axis(rows, source, axis=1),
      np.where(ahead < n, np.take_along_axis(segments, source, axis=1), 0),
      last[:, 0],
      self.specials.bos if sentinel is None else sentinel,
    )


def need(what: str, there: int, needed: int) -> None:
  """Raises `BadInput` where `there` is less than `needed`."""
  if there < needed:
    raise BadInput(f'{what}={there} must be at least {needed}')


def _pad(x: Int[np.ndarray, 'b s'], width: int) -> Int[np.ndarray, 'b t']:
  return np.pad(x, ((0, 0), (0, width - x.shape[1])))


def _behind(x: Int[np.ndarray, 'b t'], first) -> Int[np.ndarray, 'b t']:
  """`x` one place to the right, after `first`."""
  shifted = np.empty_like(x)
  shifted[:, 0] = first
  shifted[:, 1:] = x[:, :-1]
  return shifted
