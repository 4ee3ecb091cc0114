"""Segments: which document of a row a token belongs to, and where in it."""

from jaxtyping import Bool, Int
import numpy as np


def segments(
  rows: Int[np.ndarray, 'b n'], bos: int, mask_documents: bool = True
) -> Int[np.ndarray, 'b n']:
  """1 for a row's first document, one more from each `bos` on.

  With `mask_documents` false a row is one segment. 0 is kept for padding.
  """
  if not mask_documents:
    return np.ones(rows.shape, np.int32)
  begins = rows == bos
  begins[:, 0] = True
  return np.cumsum(begins, axis=1, dtype=np.int32)


def positions(segments: Int[np.ndarray, 'b n']) -> Int[np.ndarray, 'b n']:
  """Position of each token within its segment, 0 for padding."""
  index = np.arange(segments.shape[1], dtype=np.int32)
  begins = np.zeros(segments.shape, bool)
  begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
  first = np.maximum.accumulate(np.where(begins, index, 0), axis=1)
  return np.where(segments > 0, index - first, 0).astype(np.int32)


def reachable(
  queries: Int[np.ndarray, 'b t'], keys: Int[np.ndarray, 'b s']
) -> Bool[np.ndarray, 'b t']:
  """Whether a query's segment has any key: attention over none is undefined."""
  width = 1 + max(queries.max(initial=0), keys.max(initial=0))
  present = np.zeros((len(keys), width), bool)
  np.put_along_axis(present, keys, True, axis=1)
  present[:, 0] = False
  return np.take_along_axis(present, queries, axis=1)
