"""Noise spans: which tokens span corruption takes out (Raffel 2020)."""

from jaxtyping import Bool, Int
import numpy as np

from research.data.layout import Batch, Layout


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


def span_batch(
  rows: Int[np.ndarray, 'b n'],
  noise,
  n_spans: int,
  layout: Layout,
) -> Batch:
  """The encoder-decoder batch that takes `noise` out of `rows`.

  `noise` is bool [b, n], with the same number of tokens and of spans,
  `n_spans`, in each row.
  """
  b, n = rows.shape
  specials, segments = layout.specials, layout.segments(rows)
  begins = noise.copy()
  begins[:, 1:] &= ~noise[:, :-1]
  # Before the first span there is none, and no mark is read.
  sentinels = [0, *map(specials.sentinel, range(n_spans))]
  marks = np.array(sentinels, np.int32)[np.cumsum(begins, axis=1)]
  read = ~noise | begins
  tokens = np.where(begins, marks, rows)[read].reshape(b, -1)
  kept_segments = segments[read].reshape(b, -1)
  # Each token as a pair (the sentinel before it, itself), of which we keep
  # what is predicted.
  pairs = np.stack([marks, rows], axis=2)
  said = np.stack([begins, noise], axis=2)
  targets = pairs[said].reshape(b, -1)
  owners = np.repeat(segments[..., None], 2, axis=2)[said].reshape(b, -1)
  end = np.full((b, 1), specials.sentinel(n_spans), np.int32)
  return layout.pair(
    tokens,
    kept_segments,
    np.concatenate([targets, end], axis=1),
    np.concatenate([owners, owners[:, -1:]], axis=1),
    owners[:, 0],
    specials.bos,
  )


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
