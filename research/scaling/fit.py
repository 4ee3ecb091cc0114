"""Fit: a law fitted to points, with intervals, certificate and backtest."""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from research.config import BadInput
from research.scaling import backtest, bootstrap
from research.scaling import points as points_
from research.scaling.cost import Cost, cost
from research.scaling.laws.law import Law, Solution
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
    backtest: Largest budget held out, an entry a point; None where there is
      one budget or too few points without it.
    seed: Of starts and bootstrap.
  """

  law: Law
  points: Points
  solution: Solution
  samples: np.ndarray
  cost: Cost
  backtest: list[dict[str, Any]] | None
  seed: int

  @property
  def certificate(self):
    return self.solution.certificate

  @property
  def parameters(self) -> dict[str, float]:
    """The parameters that the paper prints."""
    named = self.law.parameters(self.solution.theta[None])
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
      **more: Further columns of `Points` that the law needs.
    """
    where = points_.at(params, tokens, **more)
    value = self.law.loss(self.solution.theta[None], where)[0]
    samples = self.law.loss(self.samples, where)
    if observed and len(samples):
      samples = samples * self._noise(samples.shape)
    low, high = bootstrap.interval(samples)
    return Prediction(value, low, high, self._outside(where))

  def exponents(self) -> dict[str, dict[str, Any]]:
    """`a` and `b` of N* ∝ C^a and D* ∝ C^b, with intervals."""
    best = self.law.exponents(self.solution.theta[None], self.cost)
    samples = self.law.exponents(self.samples, self.cost)
    return {n: _ranged(v[0], samples[n]) for n, v in best.items()}

  def optimum(self, compute: ArrayLike) -> list[dict[str, Any]]:
    """N*, D*, D*/N* and the loss at each compute; empty without optimum."""
    c = np.atleast_1d(np.asarray(compute, float))
    best = self.law.optimum(self.solution.theta[None], c, self.cost)
    if best is None or not len(c):
      return []
    spread = self.law.optimum(self.samples, c, self.cost)
    assert spread is not None
    rows = []
    for i, budget in enumerate(c):
      n, d = best[0][0, i], best[1][0, i]
      ns, ds = spread[0][:, i], spread[1][:, i]
      rows.append(
        {
          'compute': float(budget),
          'params': _ranged(n, ns),
          'tokens': _ranged(d, ds),
          'tokens_per_parameter': _ranged(d / n, ds / ns),
        }
      )
    return rows

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
    named = self.law.parameters(self.samples)
    ranged = {n: _ranged(v, named[n]) for n, v in self.parameters.items()}
    objective = self.law.objective
    return {
      'law': self.law.name,
      'text': self.text,
      'parameters': self.parameters,
      'stderr': {n: r['stderr'] for n, r in ranged.items()},
      'interval95': {n: r['interval95'] for n, r in ranged.items()},
      'derived': {**self.exponents(), 'optimum': self.optimum(compute)},
      'objective': {
        'name': objective.name,
        'space': objective.space,
        'reduction': 'sum',
        'delta': objective.delta,
        'value': self.solution.value,
        'points': len(self.points),
      },
      'predictions': [self._prediction(place) for place in at],
      'certificate': self.certificate.to_dict(),
      'backtest': self.backtest,
      'provenance': {
        'points': fingerprint(self.points),
        'bootstrap': len(self.samples),
        'seed': self.seed,
        'cost': self.cost._asdict(),
      },
    }

  def _prediction(self, place: Mapping[str, Any]) -> dict[str, Any]:
    p = self.predict(**place)
    return {
      'at': dict(place),
      'value': float(p.value[0]),
      'interval95': [float(p.low[0]), float(p.high[0])],
      'outside': bool(p.factor[0] > 1),
      'factor': float(p.factor[0]),
    }

  def _noise(self, shape: tuple[int, ...]) -> np.ndarray:
    """Factors by which single runs differ from the law."""
    rng = np.random.default_rng([self.seed, 1])
    fitted = self.law.fitted(self.solution.theta, self.points)
    residual = np.log(self.points.loss / fitted)
    free = max(1, len(residual) - len(self.solution.theta))
    scale = np.sqrt(len(residual) / free)
    return np.exp(scale * rng.choice(residual, size=shape))

  def _outside(self, where: Points) -> np.ndarray:
    factor = np.ones(len(where))
    for name in ('params', 'tokens', 'flops'):
      seen, asked = getattr(self.points, name), getattr(where, name)
      beyond = np.maximum(asked / seen.max(), seen.min() / asked)
      factor = np.maximum(factor, beyond)
    return factor


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
    held_out: Whether the largest budget is predicted from the others, too.

  Raises:
    BadInput: The points lack a column that the law needs.
  """
  for name in law.columns:
    if np.isnan(getattr(points, name)).any():
      raise BadInput(f'law={law.name} needs the column {name!r} at every point')
  solution = law.solve(points, starts, seed)
  result = Fit(
    law=law,
    points=points,
    solution=solution,
    samples=bootstrap.resample(law, points, solution.theta, resamples, seed),
    cost=cost(points),
    backtest=None,
    seed=seed,
  )
  if not held_out:
    return result
  return dataclasses.replace(result, backtest=_backtest(result, starts))


def fingerprint(points: Points) -> str:
  """SHA-256 of the points' columns, to know them again."""
  digest = hashlib.sha256()
  for field in dataclasses.fields(points):
    column = np.ascontiguousarray(getattr(points, field.name), float)
    digest.update(field.name.encode() + column.tobytes())
  return digest.hexdigest()


def _backtest(result: Fit, starts: int) -> list[dict[str, Any]] | None:
  """The largest budget's points, predicted by a fit of the others."""
  parts = backtest.split(result.points)
  if parts is None or len(result.points.take(parts[0])) < result.law.least:
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
  more = {
    name: getattr(held, name)
    for name in result.law.columns
    if name not in ('params', 'tokens')
  }
  p = before.predict(held.params, held.tokens, observed=True, **more)
  return backtest.score(held, p.value, p.low, p.high)


def _ranged(value, samples: np.ndarray) -> dict[str, Any]:
  """A value with its bootstrap error and interval."""
  low, high = bootstrap.interval(samples)
  enough = len(samples) > 1
  finite = samples[np.isfinite(samples)]
  return {
    'value': float(value),
    'stderr': float(finite.std(ddof=1)) if len(finite) > 1 else None,
    'interval95': [float(low), float(high)] if enough else None,
  }
