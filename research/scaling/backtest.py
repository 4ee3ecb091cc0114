"""Backtest: the largest budget, predicted from the smaller ones."""

from typing import TYPE_CHECKING, Any

import numpy as np

from research.scaling import bootstrap
from research.scaling.points import Points

if TYPE_CHECKING:
  from research.scaling.fit import Fit
  from research.scaling.laws.allocation import Allocation, Optima


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
  """The held-out optimum's N* and L* beside what the others' curves say.

  The intervals are those of the curves and of the optimum's own noise.
  """
  found = law.optima(held, held.loss)
  if not len(found.compute):
    return []
  last = law.last(found)
  c = found.compute[last : last + 1]
  again = law.imagined(
    held, before.solution.theta, len(before.samples), before.seed + 1
  )
  near = [_nearest(law.optima(held, loss), c[0]) for loss in again]
  entries = []
  for name, ask in (
    ('params', lambda theta: law.optimum(theta, c, before.cost)[0]),
    ('loss', lambda theta: law.frontier(theta, c, before.cost)),
  ):
    actual = getattr(found, name)[last]
    samples = ask(before.samples)[:, 0]
    if near:
      samples = samples * [optimum[name] / actual for optimum in near]
    entries.append(
      {'compute': float(c[0]), 'quantity': name}
      | score(ask(before.theta)[0, 0], bootstrap.interval(samples), actual)
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


def _nearest(found: 'Optima', compute: float) -> dict[str, float]:
  """The optimum nearest in compute; NaN if there is none."""
  if not len(found.compute):
    return dict.fromkeys(found._fields, np.nan)
  nearest = np.abs(np.log(found.compute / compute)).argmin()
  return {name: column[nearest] for name, column in found._asdict().items()}
