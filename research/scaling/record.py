"""Record: what fit.json holds of a fit."""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from research.scaling import bootstrap
from research.scaling.cost import Cost
from research.scaling.laws.law import Law, Named
from research.scaling.points import Points, at

if TYPE_CHECKING:
  from research.scaling.fit import Fit, Prediction


def record(
  fit: 'Fit', compute: np.ndarray, places: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """A fit as JSON data; a number that is not finite is None."""
  named = fit.law.parameters(fit.samples)
  ranged = {
    name: bootstrap.ranged(value, named[name])
    for name, value in fit.parameters.items()
  }
  objective = fit.law.objective
  data = {
    'law': fit.law.name,
    'text': fit.text,
    'certified': fit.certificate.certified,
    'parameters': fit.parameters,
    'stderr': {name: r['stderr'] for name, r in ranged.items()},
    'interval95': {name: r['interval95'] for name, r in ranged.items()},
    'derived': {**fit.exponents(), 'optimum': fit.optimum(compute)},
    'objective': {
      'name': objective.name,
      'space': objective.space,
      'reduction': 'sum',
      'delta': objective.delta,
      'value': fit.solution.value,
      'points': len(fit.points),
    },
    'alternative': _alternative(fit),
    'predictions': _predictions(fit, compute, places),
    'certificate': fit.certificate.to_dict(),
    'backtest': fit.backtest,
    'details': fit.law.details(fit.points),
    'provenance': {
      'points': fingerprint(fit.points),
      'bootstrap': len(fit.samples),
      'seed': fit.seed,
      'cost': fit.cost._asdict(),
    },
  }
  return finite(data)


def exponents(law: Law, theta: np.ndarray, cost: Cost) -> Named:
  """A law's exponents: those among its parameters and those of N* and D*."""
  named = law.parameters(theta)
  own = {name: named[name] for name in ('alpha', 'beta') if name in named}
  return {**own, **law.exponents(theta, cost)}


def fingerprint(points: Points) -> str:
  """SHA-256 of the points' columns, to know them again."""
  digest = hashlib.sha256()
  for field in dataclasses.fields(points):
    column = np.ascontiguousarray(getattr(points, field.name), float)
    digest.update(field.name.encode() + column.tobytes())
  return digest.hexdigest()


def finite(data: Any) -> Any:
  """JSON data with None for every number that is not finite."""
  if isinstance(data, Mapping):
    return {key: finite(value) for key, value in data.items()}
  if isinstance(data, list | tuple):
    return [finite(value) for value in data]
  if isinstance(data, float) and not math.isfinite(data):
    return None
  return data


def _alternative(fit: 'Fit') -> dict[str, Any] | None:
  other = fit.alternative
  if other is None:
    return None
  theta = other.theta[None]
  named = {
    **fit.law.parameters(theta),
    **fit.law.exponents(theta, fit.cost),
  }
  return {
    'method': other.method,
    'parameters': {name: float(value[0]) for name, value in named.items()},
    'objective': other.value,
    'condition': other.condition,
  }


def _predictions(
  fit: 'Fit', compute: np.ndarray, places: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """The loss at each asked point, and of the best cell at each compute."""
  entries = [
    _prediction(place, fit.predict(**place), 0, fit.law.of_cells)
    | _accuracy(fit, place)
    for place in map(dict, places)
  ]
  best = fit.frontier(compute)
  return entries + [
    _prediction({'compute': float(c)}, best, i, fit.law.of_compute)
    for i, c in enumerate(compute)
  ]


def _accuracy(fit: 'Fit', place: Mapping[str, Any]) -> dict[str, Any]:
  where = at(**place)
  value = fit.law.accuracy(fit.theta, where)
  samples = fit.law.accuracy(fit.samples, where)
  if value is None or samples is None:
    return {}
  return {'accuracy': bootstrap.ranged(float(value[0, 0]), samples[:, 0])}


def _prediction(
  place: dict[str, Any], prediction: 'Prediction', i: int, unknown: str
) -> dict[str, Any]:
  """An entry; where the law does not know the loss, `note` says why."""
  value, low, high, factor = (float(column[i]) for column in prediction)
  entry = {
    'at': place,
    'value': value,
    'interval95': [low, high] if math.isfinite(low) else None,
    'outside': factor > 1,
    'factor': factor,
  }
  return entry if math.isfinite(value) else {**entry, 'note': unknown}
