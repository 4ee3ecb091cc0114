"""Fit: a law fitted to points, with intervals, certificate and backtest."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from research.config import BadInput
from research.scaling import bootstrap, misfit, record
from research.scaling import points as points_
from research.scaling.certificate import Certificate
from research.scaling.cost import Cost, cost
from research.scaling.laws.law import Alternative, Law, Solution
from research.scaling.points import Points


class Prediction(NamedTuple):
  """What a fit says of points that it has not seen, [points] each.

  Attributes:
    value: Loss.
    low: Lower end of its 95 % interval; NaN without a bootstrap.
    high: Upper end.
    factor: How far outside the data the point lies: by how much its
      parameters, tokens or FLOPs exceed the largest seen, or fall short of the
      smallest, whichever is more; one inside.
  """

  value: np.ndarray
  low: np.ndarray
  high: np.ndarray
  factor: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
  """A fitted law.

  Attributes:
    law: The law.
    points: What it was fitted to.
    solution: Best coordinates, objective and certificate.
    samples: Coordinates of the bootstrap's fits, [bootstrap, k].
    cost: What N and D cost, by the points' own FLOPs.
    alternative: The law by another method; None if it has none.
    backtest: Largest budget held out, an entry a point; None where there is
      one budget or too few points without it.
    seed: Of starts and bootstrap.
  """

  law: Law
  points: Points
  solution: Solution
  samples: np.ndarray
  cost: Cost
  alternative: Alternative | None = None
  backtest: list[dict[str, Any]] | None = None
  seed: int = 0

  @property
  def certificate(self) -> Certificate:
    return self.solution.certificate

  @property
  def theta(self) -> np.ndarray:
    """The best coordinates, as one fit, [1, k]."""
    return self.solution.theta[None]

  @property
  def parameters(self) -> dict[str, float]:
    """The parameters that the paper prints."""
    named = self.law.parameters(self.theta)
    return {name: float(value[0]) for name, value in named.items()}

  @property
  def text(self) -> str:
    """The formula with its numbers, marked if it is not certified."""
    text = self.law.text(self.parameters)
    return text if self.certificate.certified else f'{text} (uncertified)'

  def predict(
    self,
    params: ArrayLike,
    tokens: ArrayLike,
    *,
    observed: bool = False,
    **more,
  ) -> Prediction:
    """Loss at each (params, tokens).

    Args:
      params: N of each.
      tokens: D of each.
      observed: Whether the interval is that of a new run's loss, noise
        included, instead of the law's own value.
      **more: Further columns of `Points` that the law needs; FLOPs, where not
        given, are what such a cell costs by `cost`.

    Raises:
      BadInput: A column that the law needs is not given.
    """
    flops = self.cost.flops(params, tokens)
    where = points_.at(params, tokens, **{'flops': flops, **more})
    for name in self.law.inputs:
      if np.isnan(getattr(where, name)).any():
        raise BadInput(
          f'law={self.law.name} cannot be asked without {name}: add {name}:…'
        )
    value, samples = self.law.losses(self, where)
    if observed:
      samples = samples * self._deviations(samples.shape)
    low, high = bootstrap.interval(samples)
    return Prediction(value, low, high, self.outside(where))

  def frontier(self, compute: ArrayLike) -> Prediction:
    """Least loss for each compute; NaN where the law does not say."""
    c = np.atleast_1d(np.asarray(compute, float))
    best, samples = (
      self.law.frontier(theta, c, self.cost)
      for theta in (self.theta, self.samples)
    )
    if best is None or samples is None:
      best = samples = np.full((1, len(c)), np.nan)
    low, high = bootstrap.interval(samples)
    seen = self.law.known(self.points)
    if not len(seen):
      return Prediction(best[0], low, high, np.full(len(c), np.inf))
    factor = np.maximum(np.maximum(c / seen.max(), seen.min() / c), 1)
    return Prediction(best[0], low, high, factor)

  def exponents(self) -> dict[str, dict[str, Any]]:
    """`a` and `b` of N* ∝ C^a and D* ∝ C^b, with intervals."""
    best = self.law.exponents(self.theta, self.cost)
    samples = self.law.exponents(self.samples, self.cost)
    return {n: bootstrap.ranged(v[0], samples[n]) for n, v in best.items()}

  def optimum(self, compute: ArrayLike) -> list[dict[str, Any]]:
    """N*, D* and D*/N* at each compute; empty where the law has no optimum."""
    c = np.atleast_1d(np.asarray(compute, float))
    best = self.law.optimum(self.theta, c, self.cost)
    spread = self.law.optimum(self.samples, c, self.cost)
    if best is None or spread is None:
      return []
    n, d = best[0][0], best[1][0]
    names = ('params', 'tokens', 'tokens_per_parameter')
    return [
      {
        'compute': float(budget),
        **{
          name: bootstrap.ranged(value[i], samples[:, i])
          for name, value, samples in zip(
            names, (n, d, d / n), (*spread, spread[1] / spread[0]), strict=True
          )
        },
      }
      for i, budget in enumerate(c)
    ]

  def outside(self, where: Points) -> np.ndarray:
    """By what factor points lie outside the data; one inside."""
    factor = np.ones(len(where))
    for name in ('params', 'tokens', 'flops'):
      seen, asked = getattr(self.points, name), getattr(where, name)
      beyond = np.maximum(asked / seen.max(), seen.min() / asked)
      factor = np.maximum(factor, beyond)
    return factor

  def to_dict(
    self,
    compute: ArrayLike = (),
    at: Sequence[Mapping[str, Any]] = (),
  ) -> dict[str, Any]:
    """All of fit.json but where the points came from.

    Args:
      compute: FLOPs whose optimum is asked for.
      at: Points whose loss is asked for: `params`, `tokens`, and further
        columns that the law needs.
    """
    return record.record(self, np.atleast_1d(np.asarray(compute, float)), at)

  def _deviations(self, shape: tuple[int, ...]) -> np.ndarray:
    """Factors by which single runs differ from the law."""
    noise = self.law.noise(self.points, self.solution.theta)
    if noise is None:
      return np.ones(shape)
    drawn = noise.draw(np.random.default_rng([self.seed, 1]), shape)
    scale = float(np.sqrt((noise.scale**2).mean()))
    return np.exp(noise.widening * scale * drawn)


def fit(
  law: Law,
  points: Points,
  *,
  resamples: int = 1000,
  seed: int = 0,
  starts: int = 500,
  held_out: bool = True,
) -> Fit:
  """Fits a law; judge the result by its `certificate`.

  Args:
    law: The law.
    points: What it is fitted to.
    resamples: How many refits the intervals come from.
    seed: Of starts and bootstrap.
    starts: How many the descent begins from.
    held_out: Whether the largest budget is predicted from the others, too, and
      the law fitted by its alternative method.

  Raises:
    BadInput: The points lack a column that the law needs.
  """
  for name in law.columns:
    if np.isnan(getattr(points, name)).any():
      raise BadInput(f'law={law.name} needs the column {name!r} at every point')
  solution = _told(law, points, law.solve(points, starts, seed))
  result = Fit(
    law=law,
    points=points,
    solution=solution,
    samples=law.resample(points, solution.theta, resamples, seed),
    cost=cost(points),
    seed=seed,
  )
  if not held_out:
    return result
  result = _compared(result)
  return dataclasses.replace(result, backtest=_backtest(result, starts))


def refuse(found: Fit, name: str) -> None:
  """Refuses a fit that is not certified.

  Args:
    found: The fit.
    name: Of the group that it is of; empty if there is one.

  Raises:
    BadInput: Why it is not.
  """
  if found.certificate.certified:
    return
  where = f'law={found.law.name}' + f', {name}' * bool(name)
  first, *rest = found.certificate.faults
  more = f' (and {len(rest)} more)' if rest else ''
  raise BadInput(
    f'{where} is not certified: {first}{more}; --allow_uncertified writes it '
    'all the same'
  )


def _told(law: Law, points: Points, solution: Solution) -> Solution:
  """A solution, with a warning if it leaves more than noise."""
  theta = solution.theta
  fitted, leverage = law.fitted(theta, points), law.leverage(theta, points)
  said = misfit.warning(points, fitted, leverage)
  if said is None:
    return solution
  return solution._replace(certificate=solution.certificate.warned(said))


def _compared(result: Fit) -> Fit:
  """The fit beside its alternative, with a warning if they disagree."""
  if not result.certificate.certified:
    return result
  other = result.law.alternative(result.points)
  if other is None:
    return result
  found = record.exponents(result.law, other.theta[None], result.cost)
  ours = record.exponents(result.law, result.theta, result.cost)
  samples = record.exponents(result.law, result.samples, result.cost)
  warnings = []
  for name, value in ours.items():
    low, high = bootstrap.interval(samples[name])
    there, slack = found[name][0], 1e-3 * abs(value[0])
    if np.isnan(low):  # Without an interval, a twentieth is much.
      low, high = 0.95 * value[0], 1.05 * value[0]
    if not low - slack <= there <= high + slack:
      warnings.append(
        f'{other.method} disagrees: {name} = {there:.4g}, not {value[0]:.4g} '
        f'(interval {low:.4g} to {high:.4g})'
      )
  certificate = result.certificate.warned(*warnings)
  solution = result.solution._replace(certificate=certificate)
  return dataclasses.replace(result, solution=solution, alternative=other)


def _backtest(result: Fit, starts: int) -> list[dict[str, Any]] | None:
  """The largest budget's points, predicted by a fit of the others."""
  parts = result.law.held_out(result.points)
  if parts is None or parts[0].sum() < result.law.least:
    return None
  smaller, held = (result.points.take(part) for part in parts)
  before = fit(
    result.law,
    smaller,
    resamples=len(result.samples),
    seed=result.seed,
    starts=starts,
    held_out=False,
  )
  return result.law.backtest(before, held)
