"""Backtest: the largest budget, predicted from the smaller ones."""

from typing import Any

import numpy as np

from research.scaling.points import Points


def split(points: Points) -> tuple[np.ndarray, np.ndarray] | None:
  """Masks of the smaller budgets and of the largest; None for one budget.

  Points without a budget go by their FLOPs: the largest budget are those
  within a factor of 1.5 of the most.
  """
  budget = np.where(np.isnan(points.budget), points.flops, points.budget)
  largest = budget > budget.max() / 1.5
  return (~largest, largest) if (~largest).any() else None


def score(
  points: Points, value: np.ndarray, low: np.ndarray, high: np.ndarray
) -> list[dict[str, Any]]:
  """Predicted beside actual, one entry a point.

  Args:
    points: Held out, with what they turned out to be.
    value: Predicted loss of each.
    low: Lower end of each prediction's interval.
    high: Upper end.
  """
  return [
    {
      'params': float(n),
      'tokens': float(d),
      'predicted': float(v),
      'interval95': [float(lo), float(hi)],
      'actual': float(loss),
      'error': float(v / loss - 1),
      'inside': bool(lo <= loss <= hi),
    }
    for n, d, v, lo, hi, loss in zip(
      points.params, points.tokens, value, low, high, points.loss, strict=True
    )
  ]
