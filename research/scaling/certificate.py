"""Certificate: why a fit can be trusted, or in one line each, why not."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import numpy as np

from research.scaling import descent

SAME = 1e-6
"""Objectives that agree to this share are one minimum."""

RIVAL = 0.01
"""A second minimum whose objective is higher by less than this share cannot
be told from the best."""

AGREEMENT = 0.05
"""At least this share of the starts, and three, must reach the best."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Minimum:
  """One of the minima that the starts found.

  Attributes:
    objective: Its value.
    starts: How many starts came to rest there.
    parameters: Those of one of them.
  """

  objective: float
  starts: int
  parameters: dict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
  """What the search for the minimum says of it.

  Attributes:
    starts: How many were tried; one where the fit is in closed form.
    reached: How many came to rest in the best minimum.
    gradient: Largest component of the projected gradient at the best.
    imbalance: The same as a share of the points' pulls.
    condition: Condition number of the objective's curvature at the best, in
      the law's coordinates.
    minima: Distinct minima, the best first.
    faults: Reasons not to trust the fit; none if it is certified.
    warnings: What a reader should know all the same.
  """

  starts: int = 1
  reached: int = 1
  gradient: float = 0.0
  imbalance: float = 0.0
  condition: float | None = None
  minima: tuple[Minimum, ...] = ()
  faults: tuple[str, ...] = ()
  warnings: tuple[str, ...] = ()

  @property
  def certified(self) -> bool:
    return not self.faults

  def warned(self, *warnings: str) -> 'Certificate':
    """This certificate with more warnings."""
    return dataclasses.replace(self, warnings=(*self.warnings, *warnings))

  def to_dict(self) -> dict[str, Any]:
    """As it stands in fit.json."""
    return {'certified': self.certified, **dataclasses.asdict(self)}


def certify(
  minima: descent.Minima,
  parameters: Callable[[np.ndarray], dict[str, np.ndarray]],
  coordinates: Sequence[str],
  bounds: tuple[np.ndarray, np.ndarray],
  curvature: np.ndarray,
  faults: Sequence[str] = (),
) -> Certificate:
  """Judges what many starts found.

  Args:
    minima: Where the starts came to rest.
    parameters: From coordinates [fits, k] to parameters [fits] by name.
    coordinates: Their names, for the fault of one at its bound.
    bounds: Least and greatest of each, [k].
    curvature: Of the objective at the best, [k, k].
    faults: Faults that were known before.
  """
  best = int(np.nanargmin(minima.value))
  groups = _distinct(minima)
  at_best = groups[0] if groups and best in groups[0] else np.array([best])
  found = [*faults]
  found += _at_bounds(minima.theta[best], coordinates, bounds)
  found += _moving(minima, best)
  found += _disagreement(minima, groups, at_best, parameters)
  values = np.abs(np.linalg.eigvalsh(curvature))
  return Certificate(
    starts=len(minima.value),
    reached=len(at_best),
    gradient=float(minima.gradient[best]),
    imbalance=float(minima.imbalance[best]),
    condition=float(values.max() / max(values.min(), 1e-300)),
    minima=tuple(
      Minimum(
        objective=float(minima.value[group[0]]),
        starts=len(group),
        parameters={
          name: float(value[0])
          for name, value in parameters(minima.theta[group[:1]]).items()
        },
      )
      for group in groups[:10]
    ),
    faults=tuple(found),
  )


def _distinct(minima: descent.Minima) -> list[np.ndarray]:
  """Indices of the starts at rest, by minimum, the lowest first."""
  order = np.flatnonzero(minima.at_rest & np.isfinite(minima.value))
  order = order[np.argsort(minima.value[order], kind='stable')]
  values = minima.value[order]
  apart = np.diff(values) > SAME * values[1:] + 1e-20
  return np.split(order, np.flatnonzero(apart) + 1) if len(order) else []


def _at_bounds(theta, coordinates, bounds) -> list[str]:
  low, high = bounds
  return [
    f'{name} is at its bound {value:.4g}'
    for name, value, least, most in zip(
      coordinates, theta, low, high, strict=True
    )
    if value <= least or value >= most
  ]


def _moving(minima: descent.Minima, best: int) -> list[str]:
  if minima.at_rest[best]:
    return []
  return [
    f'the gradient is too large: {minima.gradient[best]:.2g}, '
    f'{minima.imbalance[best]:.2g} of the pull of the points (limit '
    f'{descent.AT_REST:g})'
  ]


def _disagreement(minima, groups, at_best, parameters) -> list[str]:
  """Faults of starts that do not agree on one minimum."""
  starts = len(minima.value)
  needed = min(starts, max(3, round(AGREEMENT * starts)))
  if len(at_best) < needed:
    return [
      f'starts disagree: {len(at_best)} of {starts} reached the best minimum, '
      f'fewer than {needed}'
    ]
  for name, values in parameters(minima.theta[at_best]).items():
    if np.ptp(values) > 1e-2 * np.abs(values).max():
      return [
        f'starts disagree: {name} lies between {values.min():.4g} and '
        f'{values.max():.4g} at the same objective'
      ]
  if len(groups) > 1:
    lowest, second = (minima.value[group[0]] for group in groups[:2])
    if second - lowest < RIVAL * lowest:
      return [
        f'starts disagree: a second minimum of {len(groups[1])} starts lies '
        f'only {second / lowest - 1:.2%} above the best'
      ]
  return []
