"""Muennighoff et al. 2023: what repeated tokens are worth.

Scaling Data-Constrained Language Models (arXiv 2305.16264). The runs are not
read here: the paper's constants and two losses that its code gives fix the law,
and a surface of those constants must give them back.
"""

import pathlib

import numpy as np

from research.scaling import points
from research.scaling.laws.data_constrained import DataConstrained
from research.scaling.papers.reproduction import (
  Panel,
  Reproduction,
  Series,
  Target,
)

CONSTANTS = {
  'a': 6.255414,
  'b': 7.3049974,
  'e': 0.6254804,
  'alpha': 0.3526596,
  'beta': 0.3526596,
  'R_D*': 15.387756,
  'R_N*': 5.309743,
}
"""As in the authors' code; a, b and e are ln A, ln B and ln E."""

LOSSES = (
  (6.34e9, 242e9, 25e9, 2.2256440889984477),
  (8.67e9, 178e9, 25e9, 2.2269634075087867),
)
"""N, D, U and the loss that the authors' code gives (their figure 1)."""

EPOCHS = np.geomspace(0.5, 500, 9)


def reproduce(folder: pathlib.Path | None = None) -> Reproduction:
  """The two losses, and the seven constants from a surface without noise."""
  del folder
  law, theta = DataConstrained(), coordinates()
  targets = []
  for n, d, u, loss in LOSSES:
    ours = law.loss(theta[None], points.at(n, d, unique_tokens=u))[0, 0]
    name = f'L({n / 1e9:g}B, {d / 1e9:g}B of {u / 1e9:g}B tokens)'
    targets.append(Target(name, float(ours), loss, 1e-14))
  found = law.solve(surface(), 90, 0)
  for name, ours, true in zip(CONSTANTS, found.theta, theta, strict=True):
    known = np.exp if name.startswith('R') else np.float64
    targets.append(
      Target(
        name, float(known(ours)), float(known(true)), 1e-4 * abs(known(true))
      )
    )
  return Reproduction(
    source='Muennighoff et al. 2023: the law, and a surface of its constants',
    targets=tuple(targets),
    panels=(_panel(law, theta),),
    notes=(
      'The runs are not published with this project: the constants are'
      ' recovered from their own surface.',
      *found.certificate.faults,
    ),
  )


def coordinates() -> np.ndarray:
  """The constants as the law's coordinates."""
  *plain, r_d, r_n = CONSTANTS.values()
  return np.array([*plain, np.log(r_d), np.log(r_n)])


def surface() -> points.Points:
  """Losses without noise: 7 sizes, 4 corpora, half to 500 epochs."""
  n, u, epochs = (
    axis.ravel()
    for axis in np.meshgrid(
      np.geomspace(1e7, 8e9, 7), np.geomspace(1e8, 1e11, 4), EPOCHS
    )
  )
  where = points.at(n, u * epochs, unique_tokens=u)
  loss = DataConstrained().loss(coordinates()[None], where)[0]
  return points.make(n, u * epochs, loss, unique_tokens=u)


def _panel(law: DataConstrained, theta: np.ndarray) -> Panel:
  n, unique, epochs = 2e9, 25e9, np.geomspace(1, 500, 60)
  repeated = points.at(n, unique * epochs, unique_tokens=unique)
  fresh = points.at(n, unique * epochs, unique_tokens=unique * epochs)
  return Panel(
    '2B parameters, 25B unique tokens',
    'epochs',
    'nats a token',
    (
      Series('repeated', epochs, law.loss(theta[None], repeated)[0], 'line', 0),
      Series('all fresh', epochs, law.loss(theta[None], fresh)[0], 'line', 1),
    ),
    'x',
  )
