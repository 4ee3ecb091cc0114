"""Noise spans: which tokens span corruption takes out (Raffel 2020)."""

from jaxtyping import Bool, Int
import numpy as np


def span_counts(n: int, rate: float, mean_span: float) -> tuple[int, int]:
  """Noise tokens and noise spans in every row of `n` tokens.

  As T5's `random_spans_noise_mask`, with no more spans than kept tokens.
  """
  n_noise = min(max(round(n * rate), 1), n - 1)
  n_spans = max(round(n_noise / mean_span), 1)
  return n_noise, min(n_spans, n - n_noise)


def random_spans(
  rng: np.random.Generator, b: int, n: int, n_noise: int, n_spans: int
) -> Bool[np.ndarray, 'b n']:
  """True where noise is: `n_noise` tokens in `n_spans` spans in each row.

  Kept and noise segments take turns, a kept one first, and every way to cut
  the kept and the noise tokens into `n_spans` segments is equally likely: T5's
  `random_spans_noise_mask`, for all rows at once.
  """
  kept = _random_cuts(rng, b, n - n_noise, n_spans)
  noise = _random_cuts(rng, b, n_noise, n_spans)
  change = np.zeros((b, n + 1), np.int8)
  np.put_along_axis(change, kept[:, 1:] + noise[:, :-1], 1, axis=1)
  np.put_along_axis(change, kept[:, 1:] + noise[:, 1:], -1, axis=1)
  return np.cumsum(change[:, :n], axis=1, dtype=np.int8).astype(bool)


def _random_cuts(
  rng: np.random.Generator, b: int, n_items: int, n_parts: int
) -> Int[np.ndarray, 'b parts']:
  """Edges 0 < … < n_items of `n_parts` non-empty parts, [b, n_parts + 1]."""
  edges = np.zeros((b, n_parts + 1), np.int64)
  edges[:, -1] = n_items
  if n_parts > 1:
    keys = rng.random((b, n_items - 1))
    cuts = np.argpartition(keys, n_parts - 2, axis=1)[:, : n_parts - 1]
    edges[:, 1:-1] = np.sort(cuts, axis=1) + 1
  return edges
