"""Ragged rows of ids as arrays of few widths, so that programs are shared."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Int
import numpy as np

Ids = Sequence[int] | np.ndarray


class Rows(NamedTuple):
  """Rows of ids padded to one width; segment 1 for ids, 0 for padding."""

  tokens: Int[np.ndarray, 'b t']
  segments: Int[np.ndarray, 'b t']
  positions: Int[np.ndarray, 'b t']


def bucket(n: int, least: int = 16) -> int:
  """The smallest power of two that is at least `n` and `least`."""
  return max(least, 1 << (n - 1).bit_length())


def padded(rows: Sequence[Ids], width: int, *, left: bool = False) -> Rows:
  """The rows at the beginning of `width` places, or at their end."""
  tokens, segments, positions = np.zeros((3, len(rows), width), np.int32)
  for i, row in enumerate(rows):
    at = slice(width - len(row), width) if left else slice(len(row))
    tokens[i, at], segments[i, at] = row, 1
    positions[i, at] = np.arange(len(row))
  return Rows(tokens, segments, positions)
