"""Compute: what a training FLOP counts, and the best loss it buys."""

import dataclasses
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike
import pandas as pd


@runtime_checkable
class Counted(Protocol):
  """A model's shape that knows its own size and its own FLOPs."""

  @property
  def n_params(self) -> int: ...

  @property
  def n_params_non_embedding(self) -> int: ...

  def train_flops(
    self, source_len: int, target_len: int | None = None
  ) -> float: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convention:
  """A way to count the FLOPs of training, held as data.

  Attributes:
    title: What a plot's axis calls it.
    size: The column of the results table that is N in C = `factor` N D, or
      None where the FLOPs of the matrix products are counted exactly.
    factor: FLOPs per parameter and token.
    note: One sentence that says what is counted and what is not.
  """

  title: str
  size: str | None
  factor: float = 6.0
  note: str = ''


CONVENTIONS = {
  'model': Convention(
    title='model FLOPs',
    size=None,
    note='Matrix products of the plain forward and backward pass, counted '
    'exactly from each config: attention scores, head and cross attention '
    'included, look-ups, norms and recomputation not.',
  ),
  '6nd': Convention(
    title='6ND FLOPs, all parameters',
    size='params',
    note='Six FLOPs per parameter and token, embeddings included.',
  ),
  '6nd_non_embedding': Convention(
    title='6ND FLOPs, non-embedding parameters',
    size='params_non_embedding',
    note='Six FLOPs per non-embedding parameter and token (Kaplan et al. '
    '2020, eq. 2.2, without the attention term).',
  ),
}


def flops(frame: pd.DataFrame, convention: str = 'model') -> np.ndarray:
  """Training FLOPs of each row of a results table under a convention."""
  rule = CONVENTIONS[convention]
  if rule.size is None:
    return frame['flops'].to_numpy(float)
  sizes, tokens = frame[rule.size], frame['tokens']
  return rule.factor * sizes.to_numpy(float) * tokens.to_numpy(float)


def sequence_flops(
  config: Counted,
  source_len: int,
  target_len: int | None = None,
  convention: str = 'model',
) -> float:
  """Training FLOPs of one sequence of a model that is not built yet.

  Args:
    config: The model's shape.
    source_len: Corpus tokens in the sequence: D of 6ND counts these.
    target_len: Length of the decoder side of an encoder-decoder.
    convention: A key of `CONVENTIONS`.
  """
  rule = CONVENTIONS[convention]
  if rule.size is None:
    return float(config.train_flops(source_len, target_len))
  sizes = {
    'params': config.n_params,
    'params_non_embedding': config.n_params_non_embedding,
  }
  return rule.factor * sizes[rule.size] * source_len


def lower_envelope(compute: ArrayLike, loss: ArrayLike) -> np.ndarray:
  """Indices of the runs that no run of equal or less compute equals.

  The first is the run of least compute; along the rest, in order of compute,
  the loss falls strictly (Chinchilla's approach 1, Hoffmann et al. 2022, sec.
  3.1). Rows with a compute or loss that is not finite are never on it.
  """
  compute = np.asarray(compute, float)
  loss = np.asarray(loss, float)
  if compute.shape != loss.shape or compute.ndim != 1:
    raise ValueError(
      f'compute {compute.shape} and loss {loss.shape} must be of one length'
    )
  order = np.lexsort((loss, compute))
  order = order[np.isfinite(compute[order]) & np.isfinite(loss[order])]
  best = np.minimum.accumulate(loss[order])
  lower = np.ones(len(order), bool)
  lower[1:] = loss[order][1:] < best[:-1]
  return order[lower]


class Bracket(NamedTuple):
  """Where the best of a sweep over one value lies.

  Attributes:
    value: The value whose loss is lowest.
    loss: That loss.
    below: Whether a smaller value was tried, and is worse.
    above: Whether a larger value was tried, and is worse.
    tried: Number of different values with a loss.
  """

  value: float
  loss: float
  below: bool
  above: bool
  tried: int

  @property
  def both(self) -> bool:
    return self.below and self.above


def bracket(values: ArrayLike, losses: ArrayLike) -> Bracket:
  """The best of a sweep, and on which sides worse values bound it.

  Losses of the same value (seeds) are averaged. An infinite loss is a run
  that diverged, and worse than any; a NaN is a run that is missing, and is
  left out. Of equal losses the smallest value is the best.

  Raises:
    ValueError: no value has a finite loss.
  """
  value = np.asarray(values, float)
  loss = np.asarray(losses, float)
  value, loss = value[~np.isnan(loss)], loss[~np.isnan(loss)]
  if not np.isfinite(loss).any():
    raise ValueError('no value of the sweep has a finite loss')
  tried = np.unique(value)
  means = np.array([loss[value == v].mean() for v in tried])
  best = int(means.argmin())
  return Bracket(
    value=float(tried[best]),
    loss=float(means[best]),
    below=best > 0,
    above=bool((means[best + 1 :] > means[best]).any()),
    tried=len(tried),
  )


def bracketed(values: ArrayLike, losses: ArrayLike) -> bool:
  """Whether the best value has a worse one on both sides."""
  return bracket(values, losses).both
