"""Pairs: how two architectures compare on text that both have read."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from research.scaling import bootstrap, frontier


class Best(NamedTuple):
  """The best cell of one architecture at one budget.

  Attributes:
    budget: FLOPs.
    params: Its size.
    value: Bits per byte.
    spread: Standard error from seeds; 0 where no cell was repeated.
    error: Standard error from seeds and from the spans; 0 where unknown.
    bits: Of each span, the mean over seeds; None where they were not kept.
  """

  budget: float
  params: float
  value: float
  spread: float
  error: float
  bits: np.ndarray | None


class Times(NamedTuple):
  """How many times the compute of one the other needs.

  Attributes:
    base: The architecture whose loss is to be reached.
    other: The one that is to reach it.
    loss: The level compared at: the lowest that both reach.
    times: Compute of `other` over that of `base` there; where their ranges do
      not overlap, the bound that `bound` tells of.
    low: Lower end of the 95 % interval; NaN for a bound.
    high: Upper end, infinite where `other` may not reach the level at all.
    bound: Empty where the ranges overlap; `more` if `other` at its largest
      budget has not reached what `base` has at its smallest, `less` if it is
      beyond all of `base` already at its smallest.
  """

  base: str
  other: str
  loss: float
  times: float
  low: float
  high: float
  bound: str


def best(
  frame: pd.DataFrame, spans: pd.DataFrame | None = None
) -> dict[str, list[Best]]:
  """Each architecture's best cells by the yardstick, budgets ascending.

  Args:
    frame: A results table.
    spans: Bits of each span of each run (`run`, `span`, `bits`), if known.
  """
  rows = frontier.ladder(
    frontier.final(frame, 'yardstick', 'bits_per_byte').dropna(
      subset=['budget']
    )
  )
  cells = frontier.best_by(
    frontier.over_seeds(rows), 'architecture', 'budget'
  ).sort_values(by='budget', kind='stable')
  table = _table(spans)
  found: dict[str, list[Best]] = {}
  for cell in cells.to_dict('records'):
    keys = ('architecture', 'budget', 'params', 'learning_rate', 'batch_size')
    mine = np.ones(len(rows), bool)
    for key in keys:
      mine &= (rows[key] == cell[key]).to_numpy() | pd.isna(cell[key])
    runs = [run for run, its in zip(rows['run'], mine, strict=True) if its]
    kept = table is not None and all(run in table.index for run in runs)
    spread, error = np.nan_to_num([cell['spread'], cell['stderr']])
    found.setdefault(cell['architecture'], []).append(
      Best(
        cell['budget'],
        cell['params'],
        cell['value'],
        float(spread),
        float(error),
        table.loc[runs].to_numpy(float).mean(axis=0)
        if kept and table is not None
        else None,
      )
    )
  return found


def times(
  bests: dict[str, list[Best]],
  base: str,
  other: str,
  n_bytes: np.ndarray | None = None,
  resamples: int = 2000,
  seed: int = 0,
) -> Times:
  """How many times the compute of `base` `other` needs for the same loss.

  Losses between budgets lie on straight lines of logarithms. The interval is of
  a bootstrap over spans, the same ones for both, and over the seeds' spread; a
  value whose spans were not kept moves by its own standard error.

  Args:
    bests: What `best` returns.
    base: One of its architectures.
    other: Another.
    n_bytes: Bytes of each span, if they were kept.
    resamples: Of the bootstrap.
    seed: Of the bootstrap.
  """
  lines = [_line(bests[name]) for name in (base, other)]
  loss, ratio, bound = _ratio(*lines)
  if bound:
    return Times(base, other, loss, ratio, np.nan, np.nan, bound)
  rng = np.random.default_rng(seed)
  drawn = []
  for _ in range(resamples):
    weights = None
    if n_bytes is not None:
      n = len(n_bytes)
      weights = rng.multinomial(n, np.full(n, 1 / n)).astype(float)
    again = [
      (budget, _moved(bests[name], weights, n_bytes, rng))
      for name, (budget, _) in zip((base, other), lines, strict=True)
    ]
    _, value, open_ = _ratio(*again)
    drawn.append({'more': np.inf, 'less': 0.0, '': value}[open_])
  low, high = bootstrap.interval(np.array(drawn))
  return Times(base, other, loss, ratio, float(low), float(high), '')


def difference(a: Best, b: Best, n_bytes: np.ndarray) -> tuple[float, float]:
  """Bits per byte of `a` less those of `b`, and its standard error.

  The error is over spans, which both have read, so what makes a span hard for
  both is not in it; the seeds' spread is.
  """
  gap = a.value - b.value
  spread = np.hypot(a.spread, b.spread)
  if a.bits is None or b.bits is None:
    return gap, float('nan')
  apart = a.bits - b.bits
  left = apart - apart.sum() / n_bytes.sum() * n_bytes
  n = len(left)
  error = np.sqrt(n / (n - 1) * np.sum(left**2)) / n_bytes.sum()
  return gap, float(np.hypot(error, spread))


def span_bytes(spans: pd.DataFrame | None) -> np.ndarray | None:
  """Bytes of each span, in the order of `Best.bits`; None if unknown."""
  if spans is None or not len(spans):
    return None
  one = frontier.where(spans, spans['run'] == spans['run'].iloc[0])
  return one.sort_values(by='span')['bytes'].to_numpy(float)


def _table(spans: pd.DataFrame | None) -> pd.DataFrame | None:
  """Bits, [run, span]."""
  if spans is None or not len(spans):
    return None
  return spans.pivot(index='run', columns='span', values='bits')


def _line(bests: list[Best]) -> tuple[np.ndarray, np.ndarray]:
  budget, value = np.array([(b.budget, b.value) for b in bests]).T
  return budget, value


def _moved(
  bests: list[Best],
  weights: np.ndarray | None,
  n_bytes: np.ndarray | None,
  rng: np.random.Generator,
) -> np.ndarray:
  """Values with other spans and other seeds."""
  values = []
  for cell in bests:
    value, error = cell.value, cell.error
    if weights is not None and n_bytes is not None and cell.bits is not None:
      value = float(cell.bits @ weights / (n_bytes @ weights))
      error = cell.spread
    values.append(value + error * rng.standard_normal())
  return np.array(values)


def _ratio(base, other) -> tuple[float, float, str]:
  """The level, the ratio of compute there, and whether it is a bound."""
  lines = [(c, np.minimum.accumulate(v)) for c, v in (base, other)]
  (base_c, base_v), (other_c, other_v) = lines
  level = float(max(base_v[-1], other_v[-1]))
  if level > base_v[0]:
    return level, float(other_c[-1] / base_c[0]), 'more'
  if level > other_v[0]:
    return level, float(other_c[0] / base_c[-1]), 'less'
  spent = [
    np.interp(np.log(level), np.log(v[::-1]), np.log(c[::-1])) for c, v in lines
  ]
  return level, float(np.exp(spent[1] - spent[0])), ''
