"""Laws of a score over log scale: smooth, broken, and piecewise straight ones.

Each law is fitted to many replicates of a curve at once. Residuals are whitened
by the curve's errors, so a residual sum of squares is −2 log-likelihood up to
a constant, under normal errors.

`error` is everywhere the standard errors [n] of values that err each by itself,
or a root L [n, n] of their covariance LLᵀ.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from research.scaling.emergence import cone

GAPS = 2.0
"""A sigmoid whose 10–90 % rise takes this many gaps of the grid is smooth: one
that is quicker cannot be told from a step by so coarse a grid."""

WIDEST = float(np.log(10))
"""Nor is a 10–90 % rise over a factor of ten in scale ever called a step."""

_TRIED = 4


class Fits(NamedTuple):
  """A law fitted to b replicates of a curve of n sizes.

  Attributes:
    rss: Residual sum of squares, in units of squared errors, [b].
    fitted: The law at the sizes, [b, n].
    parameters: How many were used, [b].
    place: Which of the law's candidate places is best, [b].
    weights: Of the law's columns, [b, m].
  """

  rss: np.ndarray
  fitted: np.ndarray
  parameters: np.ndarray
  place: np.ndarray
  weights: np.ndarray


@runtime_checkable
class Law(Protocol):
  """What can be fitted to replicates of a curve."""

  def fit(self, values: np.ndarray) -> Fits: ...


def whitener(error: np.ndarray) -> np.ndarray:
  """W, [n, n]: errors times W are independent and of unit variance."""
  if error.ndim == 1:
    return np.diag(1 / error)
  return np.linalg.inv(error).T


class Straight:
  """The best of several linear designs, such as lines with a corner."""

  def __init__(
    self,
    designs: Sequence[np.ndarray],
    error: np.ndarray,
    last: float | None = None,
  ):
    """`designs` are [n, k]; `last` is the sign asked of the last weight."""
    self._designs, self._last = designs, last
    self._whiten = whitener(error)

  def fit(self, values: np.ndarray) -> Fits:
    """Values [b, n] by least squares; a wrong sign is a weight of zero."""
    target = values @ self._whiten
    return best([self._one(i, target) for i in range(len(self._designs))])

  def _one(self, number, target) -> Fits:
    design = self._designs[number]
    scaled = self._whiten.T @ design
    weights = target @ np.linalg.pinv(scaled).T
    if self._last is not None:
      without = target @ np.linalg.pinv(scaled[:, :-1]).T
      wrong = weights[:, -1] * self._last < 0
      weights[wrong, :-1], weights[wrong, -1] = without[wrong], 0
    return Fits(
      ((target - weights @ scaled.T) ** 2).sum(axis=1),
      weights @ design.T,
      np.full(len(target), scaled.shape[1]),
      np.full(len(target), number),
      weights,
    )


def constant(x: np.ndarray, error: np.ndarray) -> Straight:
  """No trend at all."""
  return Straight([np.ones((len(x), 1))], error)


def line(x: np.ndarray, error: np.ndarray) -> Straight:
  """A straight line in log scale."""
  return Straight([np.stack([np.ones_like(x), x - x[0]], 1)], error)


def corner(x: np.ndarray, error: np.ndarray, sign: float) -> Straight:
  """A line that turns upwards (for `sign` −1, downwards) at an inner size."""
  ones = np.ones_like(x)
  return Straight(
    [np.stack([ones, x - x[0], np.maximum(x - c, 0)], 1) for c in x[1:-1]],
    error,
    sign,
  )


class Smooth:
  """Any monotone curve made of rises that are no quicker than the grid allows.

  f(x) = a + sign · Σ w_k r_k((x − t_k)/d_k) with w_k ≥ 0. The rises r are the
  logistic curve, the Gompertz curve, which is exp(−(N/N₀)^−a), the probability
  under a loss that is a power law, and its mirror image. Their middles t_k lie
  half a gap apart; their 10–90 % rise d_k is `GAPS` times the gap around them,
  at most `WIDEST`. All that is no quicker is a mixture of them, to a hundredth
  of its height: power laws, lines, plateaus, several rises. So no curve is
  called broken for having a shape that one formula lacks.
  """

  def __init__(self, x: np.ndarray, error: np.ndarray, sign: float):
    """`x` is log scale, ascending, [n]; `sign` 1 for a curve that rises."""
    self.x, self._sign, self._whiten = x, sign, whitener(error)
    gaps, middles = np.diff(x), (x[1:] + x[:-1]) / 2
    halves = np.array([0.5, 1, 1.5])
    self._centres = np.concatenate(
      [x[0] - gaps[0] * halves, x, middles, x[-1] + gaps[-1] * halves]
    )
    near = np.interp(self._centres, middles, gaps)
    self._rises = np.minimum(GAPS * near, WIDEST)
    self._columns = self._design(x)
    self._scaled = self._whiten.T @ self._columns
    self._gram = self._scaled.T @ self._scaled
    self._smooth = self._gram.shape[0] - len(gaps)

  def _design(self, at: np.ndarray) -> np.ndarray:
    """Columns: one, the rises, and a step in the middle of every gap."""
    z = (at[:, None] - self._centres) / self._rises
    steps = at[:, None] > (self.x[1:] + self.x[:-1]) / 2
    parts = _logistic(z), _gompertz(z), 1 - _gompertz(-z), steps
    ones = np.ones((len(at), 1))
    return np.concatenate([ones, *(self._sign * p for p in parts)], axis=1)

  def fit(self, values: np.ndarray) -> Fits:
    """Values [b, n] by least squares."""
    return self._fit(values, None)

  def with_step(self, values: np.ndarray, gaps: np.ndarray) -> Fits:
    """The same with one step more, in a gap [b] of each replicate."""
    return self._fit(values, gaps)

  def promise(self, values: np.ndarray) -> np.ndarray:
    """How steeply a step in each gap would lower what is left, [b, n − 1]."""
    steps = slice(self._smooth, None)
    residual = (values - self.fit(values).fitted) @ self._whiten
    lengths = np.sqrt(self._gram.diagonal()[steps])
    return residual @ self._scaled[:, steps] / lengths

  def at(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The fitted curve of `weights` [m] at other log scales."""
    return self._design(x) @ weights

  def _fit(self, values, gaps) -> Fits:
    target = values @ self._whiten
    allowed = np.zeros((len(values), self._gram.shape[0]), bool)
    allowed[:, : self._smooth] = True
    if gaps is not None:
      allowed[np.arange(len(values)), self._smooth + gaps] = True
    weights = cone.solve(self._gram, target @ self._scaled, allowed)
    residual = target - weights @ self._scaled.T
    return Fits(
      (residual**2).sum(axis=1),
      weights @ self._columns.T,
      1 + (weights[:, 1:] > 0).sum(axis=1),
      np.zeros(len(values), int) if gaps is None else gaps,
      weights,
    )


class Broken:
  """A smooth law and one step in one of the grid's gaps."""

  def __init__(self, smooth: Smooth, gaps: Sequence[int]):
    """`gaps` are the candidates, by the number of the size before them."""
    self._smooth, self._gaps = smooth, np.asarray(gaps, int)

  def fit(self, values: np.ndarray) -> Fits:
    """Values [b, n] by least squares; `place` is the number of a gap.

    On a fine grid only the gaps that promise most are tried, by the gradient
    at the smooth fit.
    """
    if not len(self._gaps):
      return self._smooth.fit(values)
    promise = self._smooth.promise(values)[:, self._gaps]
    order = np.argsort(-promise, axis=1, kind='stable')[:, :_TRIED]
    return best(
      [self._smooth.with_step(values, gaps) for gaps in self._gaps[order].T]
    )

  def each(self, values: np.ndarray) -> list[Fits]:
    """The fit for each candidate gap."""
    return [
      self._smooth.with_step(values, np.full(len(values), gap))
      for gap in self._gaps
    ]


class Monotone:
  """A broken law that rises or one that falls, whichever fits better."""

  def __init__(self, x: np.ndarray, error: np.ndarray):
    """`x` is log scale, ascending, [n]."""
    gaps = range(len(x) - 1)
    self._laws = [Broken(Smooth(x, error, s), gaps) for s in (1.0, -1.0)]

  def fit(self, values: np.ndarray) -> Fits:
    """Values [b, n] by least squares."""
    return best([law.fit(values) for law in self._laws])


def best(fits: Sequence[Fits]) -> Fits:
  """Of several laws, for each replicate the one that leaves least.

  To have chosen counts as one parameter.
  """
  chosen = np.array([fit.rss for fit in fits]).argmin(axis=0)
  rows = np.arange(len(chosen))
  parts = (np.array(part)[chosen, rows] for part in zip(*fits, strict=True))
  rss, fitted, parameters, place, weights = parts
  return Fits(rss, fitted, parameters + (len(fits) > 1), place, weights)


def _logistic(z: np.ndarray) -> np.ndarray:
  """From 10 to 90 % as z goes from −1/2 to 1/2; so is `_gompertz`."""
  return 0.5 * (1 + np.tanh(np.log(9) * z))


def _gompertz(z: np.ndarray) -> np.ndarray:
  low, high = -np.log(np.log(10)), -np.log(-np.log(0.9))
  power = (high - low) * z + (low + high) / 2
  return np.exp(-np.exp(-np.maximum(power, -20)))  # exp(−e²⁰) is zero.
