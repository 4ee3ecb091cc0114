"""The null: a likelihood ratio of two laws, held against sampling noise."""

from typing import NamedTuple

import numpy as np

from research.scaling.emergence.laws import Fits, Law

REPLICATES = 1000
_CHUNK = 250
_ENOUGH = 50

PRIOR = 4.0
"""Degrees of freedom that the known errors count for in the dispersion."""

COST = 2.0
"""What AIC asks of the likelihood ratio for a parameter."""


class Ratio(NamedTuple):
  """A larger law against a smaller one.

  Attributes:
    statistic: Likelihood ratio, over the dispersion that the larger law leaves.
    p_value: Share of replicates of the smaller law whose ratio is as large; 1,
      and none drawn, where the ratio does not pay for the parameters.
    replicates: How many were drawn.
    dispersion: Variance that the larger law leaves, over that of the known
      errors; 1 where they explain all of it.
    small: Fit of the smaller law.
    large: Fit of the larger law.
  """

  statistic: float
  p_value: float
  replicates: int
  dispersion: float
  small: Fits
  large: Fits


def likelihood_ratio(
  value: np.ndarray,
  error: np.ndarray,
  small: Law,
  large: Law,
  rng: np.random.Generator,
  replicates: int = REPLICATES,
  added: int = 0,
  loose: bool = False,
) -> Ratio:
  """Tests `small` against `large` by a parametric bootstrap.

  A replicate draws items and seeds anew for every size: the smaller law plus
  normal errors of the known covariance (items, which sizes may share, and
  seeds), widened by what the larger law cannot explain either. The statistic is
  studentised likewise, as an F is, so deviation between sizes that no seed told
  of (one run a size) is not taken for structure. With seven sizes the residual
  says little, and its variance is moderated by that of the known errors (as in
  Smyth 2004, eq. 3).

  Once `_ENOUGH` replicates are as large, the p-value is settled (Besag and
  Clifford 1991) and no more are drawn.

  Args:
    value: The curve, [n].
    error: Standard error of each size, items and seeds, [n]; or a root of the
      errors' covariance, [n, n].
    small: The null hypothesis.
    large: The alternative; contains `small`.
    rng: Source of the replicates.
    replicates: At most this many.
    added: Parameters for which the ratio must pay by AIC before it is tested.
    loose: Whether, should the larger law leave more than the errors explain,
      replicates have the variance that the smaller one leaves, as a permutation
      of the sizes would.
  """
  ratio, dispersion, fits = _ratio(value[None], small, large)
  if ratio[0] < COST * added:
    return Ratio(float(ratio[0]), 1.0, 0, float(dispersion[0]), *fits)
  width = dispersion[0]
  if loose and width > 1:
    width = max(width, fits[0].rss[0] / (len(value) - 1))
  root = np.diag(error) if error.ndim == 1 else error
  centre, spread = fits[0].fitted[0], root.T * np.sqrt(width)
  drawn = above = 0
  while drawn < replicates and above < _ENOUGH:
    count = min(_CHUNK, replicates - drawn)
    noise = rng.standard_normal((count, len(value)))
    ratios, _, _ = _ratio(centre + noise @ spread, small, large)
    above += int((ratios >= ratio[0]).sum())
    drawn += count
  return Ratio(
    float(ratio[0]),
    (1 + above) / (1 + drawn),
    drawn,
    float(dispersion[0]),
    *fits,
  )


def _ratio(values, small: Law, large: Law):
  fits = small.fit(values), large.fit(values)
  free = np.maximum(values.shape[1] - fits[1].parameters, 0)
  dispersion = np.maximum(1, (fits[1].rss + PRIOR) / (free + PRIOR))
  # Two solvers of the same residual may differ in the last digits.
  gain = np.maximum(fits[0].rss - fits[1].rss, 0)
  return gain / dispersion, dispersion, fits
