"""Likelihood summed over rows: ratios of two sums, with standard errors."""

from typing import NamedTuple

import numpy as np


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
