"""Signals beside the verdict: p^L, items needed, signal to noise, PassUntil."""

from collections.abc import Sequence
import math
import re
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from research.scaling.emergence import laws, null
from research.scaling.emergence.curves import Curve


def exact_match(per_token: np.ndarray, length: float) -> np.ndarray:
  """Exact match p^L of answers of L tokens, each right with probability p.

  Schaeffer et al. (2023, eq. 3); tokens are taken to fail independently.
  """
  return np.asarray(per_token) ** length


def items_needed(rate: float, floor: float, z: float) -> int | None:
  """Items at which a share of `rate` lies z standard errors from the floor.

  None where the two are the same.
  """
  gap = abs(rate - floor)
  if gap < 1e-9 or not 0 < rate < 1:
    return None
  return math.ceil(z**2 * rate * (1 - rate) / gap**2)


class Signal(NamedTuple):
  """How far a metric tells models apart.

  Attributes:
    ratio: Dispersion across sizes over deviation within one.
    items: Items at which the ratio would be `BAR`, where the deviation is no
      more than that of item sampling; else None, since more would not help.
  """

  ratio: float
  items: int | None


BAR = 3.0
"""Signal to noise below which a task is greyed."""


def signal_to_noise(curve: Curve, checkpoints: pd.DataFrame) -> Signal:
  """Standard deviation across sizes over that within one.

  Within a size it is that of a run's last (up to five) checkpoints where there
  are some, else that of runs, else the error over items.

  Args:
    curve: The final values.
    checkpoints: Rows of this task and metric, of every step.
  """
  across = float(np.std(curve.value, ddof=1))
  within = _last_checkpoints(curve, checkpoints) or curve.deviation
  item = float(np.sqrt((curve.item**2).mean()))
  noise = within or item
  ratio = across / noise
  if ratio >= BAR or curve.n_items is None or not across or noise > item:
    return Signal(ratio, None)
  return Signal(ratio, math.ceil(curve.n_items * (BAR / ratio) ** 2))


def clearest(curves: Sequence[Curve], rows: pd.DataFrame) -> Signal | None:
  """The best signal to noise of a task's metrics; None for one size.

  Args:
    curves: One a metric.
    rows: The task's rows in the score table, of every step.
  """
  told = [
    signal_to_noise(one, cast(pd.DataFrame, mine))
    for one in curves
    if one.metric.votes and len(one.scale) > 1
    for mine in [rows[rows['metric'] == one.metric.name]]
  ]
  return max(told, key=lambda signal: signal.ratio, default=None)


def _last_checkpoints(curve: Curve, rows: pd.DataFrame) -> float:
  """Pooled deviation over each run's last five steps; 0 without steps."""
  keys = ['model', 'seed', 'scale']
  rows = rows.dropna(subset=['step']).sort_values(by='step')
  last = rows.groupby(keys, dropna=False).tail(5)
  if curve.metric.logarithm:
    last = last.assign(value=np.log(last['value']))
  values: Any = last.groupby(keys, dropna=False)['value']
  variance = values.var(ddof=1).dropna()
  return float(np.sqrt(variance.mean())) if len(variance) else 0.0


DRAWN = re.compile('pass_?until')
"""Names of success rates of drawn answers."""


class TaskLaw(NamedTuple):
  """PassUntil's law of a success rate.

  Attributes:
    verdict: `task law`, where F(N) is linear in log N, or `accelerated`, where
      it is concave.
    slope: Of F in ln N.
    p_value: Of the concave law against the line.
  """

  verdict: str
  slope: float
  p_value: float


def pass_until(curve: Curve, rng: np.random.Generator) -> TaskLaw | None:
  """Whether F(N) = log(−log PU) is linear in log N (Hu et al. 2024, sec. 4).

  Sizes that never or always pass have no F and are left out.

  Args:
    curve: Success rates PU = r/K, r passes in K samples.
    rng: Source of the null.

  Returns:
    None for fewer than four sizes.
  """
  rate = curve.value
  there = (rate > 0) & (rate < 1)
  if there.sum() < 4:
    return None
  rate, x = rate[there], curve.x[there]
  f = np.log(-np.log(rate))
  slopes = 1 / (rate * np.log(rate))
  covariance = curve.covariance[np.ix_(there, there)]
  error = np.linalg.cholesky(covariance * np.outer(slopes, slopes))
  z = x - x.mean()
  line = np.stack([np.ones_like(z), z], 1)
  bent = laws.Straight([np.column_stack([line, z**2])], error, last=-1.0)
  straight = laws.Straight([line], error)
  test = null.likelihood_ratio(f, error, straight, bent, rng)
  slope = float(test.small.weights[0, 1])
  verdict = 'accelerated' if test.p_value <= 0.025 else 'task law'
  return TaskLaw(verdict, slope, test.p_value)


def length_effect(
  harsh: Curve, per_token: Curve, length: float
) -> tuple[np.ndarray, float]:
  """Exact match as p^L foretells it, and its largest miss over the sizes.

  Args:
    harsh: Exact match.
    per_token: Share of tokens that are right, at the same sizes.
    length: Tokens of an answer.
  """
  p = np.interp(harsh.x, per_token.x, per_token.value)
  told = exact_match(np.clip(p, 0, 1), length)
  return told, float(np.abs(cast(np.ndarray, told) - harsh.value).max())
