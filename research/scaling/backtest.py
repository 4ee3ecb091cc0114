"""Backtest: the largest budget, predicted from the smaller ones."""

from typing import TYPE_CHECKING, Any

import numpy as np

from research.scaling import bootstrap
from research.scaling.points import Points

if TYPE_CHECKING:
  from research.scaling.fit import Fit
  from research.scaling.laws.allocation import Allocation


def split(points: Points) -> tuple[np.ndarray, np.ndarray] | None:
  """Masks of the smaller budgets and of the largest; None for one budget.

  Points without a budget go by their FLOPs: the largest budget are those
  within a factor of 1.5 of the most.
  """
  budget = np.where(np.isnan(points.budget), points.flops, points.budget)
  largest = budget > budget.max() / 1.5
  return (~largest, largest) if (~largest).any() else None


def losses(before: 'Fit', held: Points) -> list[dict[str, Any]]:
  """Each held-out loss beside what the fit of the others says of it.

  The interval is that of a new run: the law's own, and the noise of one.
  """
  own = ('params', 'tokens')
  more = {n: getattr(held, n) for n in before.law.inputs if n not in own}
  p = before.predict(held.params, held.tokens, observed=True, **more)
  places = zip(held.params, held.tokens, strict=True)
  return [
    {'params': float(n), 'tokens': float(d), 'quantity': 'loss'}
    | score(p.value[i], (p.low[i], p.high[i]), held.loss[i])
    for i, (n, d) in enumerate(places)
  ]


def optima(
  before: 'Fit', law: 'Allocation', held: Points
) -> list[dict[str, Any]]:
  """The largest held-out optimum's N* and L* beside what the others say.

  The intervals are those of the curves and of the optimum's own noise.
  """
  found = law.optima(held, held.loss)
  if not len(found.compute):
    return []
  c = found.compute[-1:]
  best, samples = (law.curves(t, c) for t in (before.theta, before.samples))
  luck = law.luck(before, held)
  entries = []
  for name, value in best.items():
    if np.isnan(value).any():  # Two optima were left, and show no floor.
      continue
    drawn = samples[name][:, 0]
    if luck:
      drawn = drawn * [factors[name] for factors in luck]
    entries.append(
      {'compute': float(c[0]), 'quantity': name}
      | score(value[0, 0], bootstrap.interval(drawn), getattr(found, name)[-1])
    )
  return entries


def score(
  predicted: float, interval: tuple[Any, Any], actual: float
) -> dict[str, Any]:
  """A prediction beside what came: error relative, inside the interval or not.

  Without an interval it is neither inside nor outside.
  """
  low, high = (float(end) for end in interval)
  known = np.isfinite(low)
  return {
    'predicted': float(predicted),
    'interval95': [low, high],
    'actual': float(actual),
    'error': float(predicted / actual - 1),
    'inside': bool(low <= actual <= high) if known else None,
  }
