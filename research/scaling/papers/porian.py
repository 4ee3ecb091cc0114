"""Porian et al. 2024: why Kaplan's and Chinchilla's exponents differ.

Resolving Discrepancies in Compute-Optimal Scaling of Language Models
(arXiv 2406.19146). One change of set-up at a time moves the exponent of N*(C)
from .84 to .50. The optimum at each budget is found by Akima interpolation,
its deviation by adding seed noise, the exponent by a weighted log-log fit.
"""

import pathlib

import numpy as np
import pandas as pd

from research.config import BadInput
from research.scaling import akima
from research.scaling.papers.reproduction import (
  Panel,
  Reproduction,
  Series,
  Target,
  read,
)

POINTS = 'porian_isoflop_points_refinedweb.csv'
OPTIMA = 'porian_optima_refinedweb.csv'

NO_DOWNLOAD = (
  'porian: the authors publish a pickle, which is never loaded: give'
  f' --data_dir with {POINTS} and {OPTIMA}'
)

_SETUP = ['hparams', 'warmup', 'decay', 'param_count']

EXPONENTS = {
  ('base', 'long', 'kaplan', 'kaplan'): ("Kaplan's set-up", 0.8353),
  ('base', 'long', 'kaplan', 'standard'): ('+ last-layer FLOPs', 0.7065),
  ('base', 'short', 'kaplan', 'standard'): ('+ short warm-up', 0.6020),
  ('base', 'short', 'chinchilla', 'standard'): ('+ matched decay', 0.5715),
  ('tuned', 'short', 'const', 'standard'): ('+ tuned', 0.4969),
}
"""Exponent of N*(C) by set-up (figure 1, RefinedWeb), to four decimals."""


def reproduce(folder: pathlib.Path | None) -> Reproduction:
  """The five exponents, from the published optima and from the raw points.

  Raises:
    BadInput: There is no folder, or it lacks the two tables.
  """
  if folder is None:
    raise BadInput(NO_DOWNLOAD)
  points = read(folder, POINTS, *_SETUP, 'flops', 'params', 'loss')
  optima = read(folder, OPTIMA, *_SETUP, 'flops', 'n_star', 'n_star_std')
  optima = optima.dropna(subset=['n_star'])
  from_optima, from_points, panels = [], [], []
  for setup, (name, published) in EXPONENTS.items():
    theirs = _where(optima, setup)
    ours = minima(_where(points, setup)).merge(
      theirs[['flops', 'n_star_std']], on='flops'
    )
    from_optima.append(
      Target(f'{name}, their optima', exponent(theirs), published, 5e-5)
    )
    from_points.append(
      Target(f'{name}, raw points', exponent(ours), published, 0.0072)
    )
    panels += _series(name, theirs, ours, len(panels) // 3)
  panel = Panel('N*(C)', 'budget (FLOPs)', 'parameters', tuple(panels))
  return Reproduction(
    source='Porian et al. 2024, RefinedWeb: exponent of N*(C)',
    targets=(*from_optima, *from_points),
    panels=(panel,),
  )


def minima(points: pd.DataFrame) -> pd.DataFrame:
  """N* of each budget (`flops`, `n_star`) whose minimum lies in its grid."""
  fits = {
    budget: akima.fit(group['params'], group['loss'])
    for budget, group in points.groupby('flops')
    if len(set(group['params'])) >= 3
  }
  rows = [(b, fit.params) for b, fit in fits.items() if fit.inside]
  return pd.DataFrame(rows, columns=['flops', 'n_star'])


def exponent(optima: pd.DataFrame) -> float:
  """Slope of ln N* over ln C, weighted by 1/`n_star_std`²."""
  return float(_line(optima)[0])


def _line(optima: pd.DataFrame) -> np.ndarray:
  x, y = np.log(optima['flops']), np.log(optima['n_star'])
  return np.polyfit(x, y, 1, w=1 / optima['n_star_std'])


def _where(table: pd.DataFrame, setup: tuple[str, ...]) -> pd.DataFrame:
  chosen = (table[_SETUP] == list(setup)).all(axis=1)
  return table.loc[chosen].reset_index(drop=True)


def _series(name, theirs, ours, group) -> list[Series]:
  x, own = theirs['flops'].to_numpy(), ours['flops'].to_numpy()
  line = np.exp(np.polyval(_line(ours), np.log(own)))
  marks = '' if group else 'raw points, interpolated'
  label = f'{name}: {exponent(ours):.3f}'
  return [
    Series('', x, theirs['n_star'].to_numpy(), 'points', group),
    Series(marks, own, ours['n_star'].to_numpy(), 'points', None),
    Series(label, own, line, 'line', group),
  ]
