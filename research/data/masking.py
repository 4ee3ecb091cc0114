"""Masking: tokens chosen to be guessed, and what is shown in their place."""

from jaxtyping import Bool, Int
import numpy as np

from research.data.layout import Batch, Layout


def masked_batch(
  rows: Int[np.ndarray, 'b n'],
  rng: np.random.Generator,
  layout: Layout,
  rate: float,
  mask_share: float,
  random_share: float,
) -> Batch:
  """The encoder batch that asks for `rate` of the text tokens of each row.

  Of the chosen, `mask_share` are shown as the mask, `random_share` as a text
  token drawn uniformly, and the rest as they are.
  """
  specials = layout.specials
  # A published vocabulary has its separator among the ids of text.
  eligible = (rows < specials.n_text) & (rows != specials.bos)
  chosen = choose(rng, eligible, rate)
  fate = rng.random(rows.shape)
  noise = rng.integers(0, specials.n_text, rows.shape, np.int32)
  hidden = chosen & (fate < mask_share)
  swapped = chosen & ~hidden & (fate < mask_share + random_share)
  tokens = np.where(hidden, np.int32(specials.mask), rows)
  tokens = np.where(swapped, noise, tokens)
  return layout.single(tokens, rows, chosen, layout.segments(rows))


def choose(
  rng: np.random.Generator, eligible: Bool[np.ndarray, 'b n'], rate: float
) -> Bool[np.ndarray, 'b n']:
  """True at `rate` of the eligible positions of each row.

  Their number is rounded, and at least 1 where any is eligible.
  """
  there = eligible.sum(axis=1)
  counts = np.rint(there * rate).astype(np.int64)
  counts = np.maximum(counts, np.minimum(there, 1))
  keys = np.where(eligible, rng.random(eligible.shape), 2.0)
  # The counts-th smallest key of a row is that of its last chosen position.
  last = np.maximum(counts - 1, 0)[:, None]
  threshold = np.take_along_axis(np.sort(keys, axis=1), last, axis=1)
  return eligible & (keys <= threshold)
