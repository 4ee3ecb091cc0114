"""Kaplan: loss over parameters and tokens, without a floor."""

import dataclasses
import itertools
from typing import ClassVar

import numpy as np

from research.scaling.cost import Cost
from research.scaling.laws.law import Curve, Named
from research.scaling.points import Points


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kaplan(Curve):
  """L(N, D) = [(N_c/N)^(α_N/α_D) + D_c/D]^α_D (Kaplan et al. 2020, eq. 1.5).

  Minimised as for `Chinchilla`: Huber's loss of ln L, with n = ln N_c and
  d = ln D_c. The exponents of N* and D* are those of this surface along 6ND;
  the paper's own N* ∝ C^.73 comes from its fits of loss against steps.
  """

  name: ClassVar[str] = 'kaplan'

  @property
  def coordinates(self) -> tuple[str, ...]:
    return ('n', 'd', 'alpha_N', 'alpha_D')

  def evaluate(
    self, theta: np.ndarray, points: Points
  ) -> tuple[np.ndarray, np.ndarray]:
    n_c, d_c, for_n, for_d = theta.T[:, :, None]
    above = n_c - np.log(points.params)
    left, right = for_n / for_d * above, d_c - np.log(points.tokens)
    total = np.logaddexp(left, right)
    share = np.exp(left - total)
    slopes = [
      share * for_n,
      (1 - share) * for_d,
      share * above,
      total - share * left,
    ]
    return for_d * total, np.stack(slopes, axis=-1)

  def starts(self, points: Points, count: int, seed: int) -> np.ndarray:
    """A grid of exponents and of the terms' shares at the typical point."""
    shares = (0.02, 0.2, 0.5, 0.8, 0.98)
    side = max(2, round((count / len(shares)) ** 0.5))
    exponents = np.geomspace(0.01, 1, side)
    n, d, y = (
      np.log(column).mean()
      for column in (points.params, points.tokens, points.loss)
    )
    rows = [
      (
        n + (np.log(share) + y / for_d) * for_d / for_n,
        d + np.log(1 - share) + y / for_d,
        for_n,
        for_d,
      )
      for share, for_n, for_d in itertools.product(shares, exponents, exponents)
    ]
    return np.array(rows)

  def bounds(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
    return (
      np.array([-np.inf, -np.inf, 1e-4, 1e-4]),
      np.array([np.inf, np.inf, 3, 3]),
    )

  def parameters(self, theta: np.ndarray) -> Named:
    n_c, d_c, for_n, for_d = theta.T
    with np.errstate(over='ignore'):
      sizes = {'N_c': np.exp(n_c), 'D_c': np.exp(d_c)}
    return {**sizes, 'alpha_N': for_n, 'alpha_D': for_d}

  def exponents(self, theta: np.ndarray, cost: Cost) -> Named:
    return cost.exponents(theta[:, 2] / theta[:, 3], np.ones(len(theta)))

  def optimum(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> tuple[np.ndarray, np.ndarray]:
    n_c, d_c, for_n, for_d = theta.T
    power = for_n / for_d
    ratio = power * n_c - d_c
    return cost.optimum(ratio, power, np.ones(len(theta)), compute)

  def text(self, parameters: dict[str, float]) -> str:
    return (
      'L = [({N_c:.3g} / N)^({alpha_N:.4f} / {alpha_D:.4f}) + {D_c:.3g} / D]'
      '^{alpha_D:.4f}'
    ).format(**parameters)
