"""Likelihood of a batch's targets under any network, in rows of fixed number.

One compiled function serves every model of the same shape, native validation
and yardstick alike: models are pytrees, and so arguments.
"""

from collections.abc import Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.objectives.language import softmax_cross_entropy


class Nll(NamedTuple):
  """Negative log-likelihoods in nats, float64 [n, t], weights not applied.

  Attributes:
    full: Under the softmax over the whole vocabulary.
    text: Under the softmax over text ids alone; nan where a target is special.
  """

  full: np.ndarray
  text: np.ndarray


def target_nll(
  model: Any, batch: Mapping[str, Any], n_text: int, batch_size: int = 16
) -> Nll:
  """The nll of each of `batch['targets']` [n, t] under the model's logits.

  Args:
    model: Maps a batch to logits [b, t, v].
    batch: Arrays of n rows each, as the model takes them, and `targets`.
    n_text: Ids below this are text.
    batch_size: Rows a forward pass; the last pass is filled up with copies.
  """
  n = len(batch['targets'])
  parts = []
  for start in range(0, n, batch_size):
    rows = np.minimum(np.arange(start, start + batch_size), n - 1)
    part = {name: np.asarray(x)[rows] for name, x in batch.items()}
    parts.append(_nll(model, part, n_text=n_text))
  full, text = (
    np.concatenate([np.asarray(part[i], np.float64) for part in parts])[:n]
    for i in range(2)
  )
  return Nll(full, text)


@functools.partial(jax.jit, static_argnames='n_text')
def _nll(model, batch, *, n_text: int):
  logits, targets = model(batch), jnp.asarray(batch['targets'])
  full, _ = softmax_cross_entropy(logits, targets)
  chosen = jnp.minimum(targets, n_text - 1)
  text, _ = softmax_cross_entropy(logits[..., :n_text], chosen)
  return full, jnp.where(targets < n_text, text, jnp.nan)


class Ratio(NamedTuple):
  """A ratio of two sums over rows, with its standard error.

  Attributes:
    value: Sum of numerators over sum of denominators.
    stderr: Square root of the ratio estimator's variance (Cochran 1977, eq.
      6.13, without the finite-population term); None for a single row.
  """

  value: float
  stderr: float | None


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> Ratio:
  """The ratio of the sums of two arrays [n], rows being the sampling unit."""
  value = numerator.sum() / denominator.sum()
  n = len(numerator)
  if n < 2:
    return Ratio(float(value), None)
  residual = numerator - value * denominator
  variance = n / (n - 1) * np.sum(residual**2) / denominator.sum() ** 2
  return Ratio(float(value), float(np.sqrt(variance)))
