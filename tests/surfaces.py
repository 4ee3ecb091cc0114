"""Published surfaces L = E + A/N^α + B/D^β, and points on them."""

import numpy as np

from research.scaling import points

SURFACES = {
  'hoffmann': (1.69, 406.4, 410.7, 0.34, 0.28),
  'muennighoff': (
    *np.exp([0.6254804, 6.255414, 7.3049974]).tolist(),
    0.3526596,
    0.3526596,
  ),
  'besiroglu': (1.8172, 482.01, 2085.43, 0.3478, 0.3658),
  'flat in parameters': (0.5, 2, 5e3, 0.1, 0.6),
  'flat in tokens': (2, 1e4, 50, 0.5, 0.15),
}
NAMES = ('E', 'A', 'B', 'alpha', 'beta')


def loss(surface, params, tokens):
  e, a, b, alpha, beta = SURFACES[surface]
  return e + a / params**alpha + b / tokens**beta


def grid(
  surface, sizes=9, ratios=5, noise=0.0, seed=0, span=(2, 100), **columns
):
  """Sizes from 4e7 to 1.6e10, tokens a parameter in `span`, noise on ln L."""
  n, m = np.meshgrid(
    np.geomspace(4e7, 1.6e10, sizes), np.geomspace(*span, ratios)
  )
  n, d = n.ravel(), (n * m).ravel()
  noise = noise * np.random.default_rng(seed).standard_normal(n.size)
  return points.make(n, d, loss(surface, n, d) * np.exp(noise), **columns)


def isoflop(surface, drift=0.0, width=4.0, noise=0.0, seed=0):
  """Seven budgets of nine sizes around the optimum, C = 6ND.

  The grid's centre leaves the optimum by a factor of e^±drift at the ends.
  """
  _, a, b, alpha, beta = SURFACES[surface]
  g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
  budgets = np.geomspace(6e18, 6e21, 7)
  best = g * (budgets / 6) ** (beta / (alpha + beta))
  centre = best * np.exp(drift * np.linspace(-1, 1, 7))
  n = (centre[:, None] * width ** np.linspace(-1, 1, 9)).ravel()
  c = np.repeat(budgets, 9)
  d = c / (6 * n)
  noise = noise * np.random.default_rng(seed).standard_normal(n.size)
  return points.make(n, d, loss(surface, n, d) * np.exp(noise), budget=c)
