"""Hoffmann et al. 2022: parameters and tokens grow alike (Chinchilla).

Training Compute-Optimal Large Language Models (arXiv 2203.15556). The runs were
never published (see `besiroglu` for what was read off a figure). The constants
of approach 3, unrounded as in the paper's TeX source, must give the paper's
exponents and its optimum at Gopher's compute, and come back from a surface.
"""

import pathlib

import numpy as np

from research.scaling import isoflop, points
from research.scaling.cost import Cost
from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.papers import besiroglu
from research.scaling.papers.reproduction import (
  Panel,
  Reproduction,
  Series,
  Target,
)

CONSTANTS = besiroglu.HOFFMANN
"""Rounded in the paper to 1.69, 406.4, 410.7, .34, .28, of which the exponents
do not give its own .46 but .45."""

GOPHER = 5.76e23
"""Training FLOPs of Gopher."""

BUDGETS = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])
"""Of the paper's isoFLOP curves (figure 3)."""


def reproduce(folder: pathlib.Path | None = None) -> Reproduction:
  """Exponents, the optimum at Gopher's compute, and the constants."""
  del folder
  law, theta = Chinchilla(), besiroglu.coordinates(CONSTANTS)[None]
  exponents = law.exponents(theta, Cost())
  (n,), _ = (x[0] for x in law.optimum(theta, np.array([GOPHER]), Cost()))
  given = surface()
  found = law.solve(given, 500, 0)
  recovered = law.parameters(found.theta[None])
  curves = parabolas(given)
  centred = parabola_exponent(curves)
  return Reproduction(
    source='Hoffmann et al. 2022: approach 3, and a surface of its constants',
    targets=(
      Target('a of N* ∝ C^a', float(exponents['a'][0]), 0.46, 0.005),
      Target('b of D* ∝ C^b', float(exponents['b'][0]), 0.54, 0.005),
      Target("N* at Gopher's compute, 1e9", float(n) / 1e9, 40, 0.5),
      *(
        Target(name, float(recovered[name][0]), value, 1e-4 * value)
        for name, value in CONSTANTS.items()
      ),
      Target(
        'a by parabolas, grids on the optimum',
        centred,
        float(exponents['a'][0]),
        0.001,
      ),
    ),
    panels=(_panel(curves),),
    notes=(
      'The runs are not published: the constants come from their own surface.',
      *found.certificate.faults,
    ),
  )


def surface() -> points.Points:
  """Losses without noise: seven sizes about the optimum of each budget."""
  law, theta = Chinchilla(), besiroglu.coordinates(CONSTANTS)[None]
  best, _ = law.optimum(theta, BUDGETS, Cost())
  n = (best[0][:, None] * np.geomspace(0.25, 4, 7)).ravel()
  budget = np.repeat(BUDGETS, 7)
  d = budget / (6 * n)
  return points.make(n, d, law.loss(theta, points.at(n, d))[0], budget=budget)


def parabolas(given: points.Points) -> dict[float, isoflop.Parabola]:
  """Approach 2: the parabola of each budget."""
  return {
    float(budget): isoflop.fit(mine.params, mine.loss)
    for budget in np.unique(given.budget)
    for mine in [given.take(given.budget == budget)]
  }


def parabola_exponent(curves: dict[float, isoflop.Parabola]) -> float:
  """Slope of ln N* over ln C through the parabolas' minima."""
  sizes = [curve.params or np.nan for curve in curves.values()]
  return float(np.polyfit(np.log(list(curves)), np.log(sizes), 1)[0])


def _panel(curves: dict[float, isoflop.Parabola]) -> Panel:
  series = []
  for i, (budget, curve) in enumerate(curves.items()):
    n = np.geomspace(curve.smallest, curve.largest, 40)
    best = np.array([curve.params])
    series += [
      Series(f'{budget:.0e} FLOPs', n, curve(n), 'line', i),
      Series('', best, curve(best), 'points', i),
    ]
  return Panel('isoFLOP', 'parameters', 'nats a token', tuple(series), 'x')
