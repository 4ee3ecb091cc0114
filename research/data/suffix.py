"""Suffix prediction: the last tokens of a row from all those before them.

As the shared yardstick asks the three architectures the same question
(METHODS.md); `tests/test_yardstick.py` holds that it asks as training did.
"""

from jaxtyping import Int
import numpy as np

from research.data.layout import Batch, Layout


def causal_suffix(
  rows: Int[np.ndarray, 'b n'], lengths: Int[np.ndarray, ' b'], layout: Layout
) -> Batch:
  """Next tokens, of which the last `lengths` have weight."""
  tokens, targets = rows[:, :-1], rows[:, 1:]
  n = tokens.shape[1]
  weights = np.arange(n) >= n - lengths[:, None]
  return layout.single(tokens, targets, weights, layout.segments(tokens))


def masked_suffix(
  rows: Int[np.ndarray, 'b n'],
  lengths: Int[np.ndarray, ' b'],
  revealed: Int[np.ndarray, ' b'],
  layout: Layout,
  first_only: bool = False,
) -> Batch:
  """The last `lengths` tokens masked but for the first `revealed` of them.

  Weights are on what is masked, or only on the first place after the revealed.
  A document's beginning within the suffix stays visible, as segments tell it
  anyway, and has no weight: with `first_only`, such a row may have none at all.
  """
  n = rows.shape[1]
  first = (n - lengths + revealed)[:, None]
  index = np.arange(n)
  hidden = (index >= first) & (rows != layout.specials.bos)
  tokens = np.where(hidden, layout.specials.mask, rows).astype(np.int32)
  weights = hidden & (index == first) if first_only else hidden
  return layout.single(tokens, rows, weights, layout.segments(rows))
