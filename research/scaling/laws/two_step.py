"""Two-step: a task's loss by parameters and tokens, its accuracy by loss."""

import dataclasses
from typing import ClassVar, NamedTuple
import zlib

import numpy as np
import pandas as pd

from research.config import BadInput
from research.scaling import descent
from research.scaling.cost import Cost
from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.laws.law import Law, Named, Solution
from research.scaling.points import Points, from_frame

ANCHOR = (0.0, 1.0)
"""A task without loss is solved: one more point of step 2 (the recipe's)."""

_LOW = np.array([-1.0, 0.0, 0.0, 0.0])
_HIGH = np.array([0.0, np.inf, np.inf, 1.0])
"""Bounds of a, x0, k and b in step 2 (the recipe's)."""


class Checkpoints(NamedTuple):
  """What step 2 is fitted to, [checkpoints] each.

  Attributes:
    run: Number of the run, from 0.
    loss: Bits per byte of the right answers.
    accuracy: Share of right answers.
  """

  run: np.ndarray
  loss: np.ndarray
  accuracy: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoStep(Law):
  """Accuracy(L(N, D)) of a model ladder (Bhagia et al. 2024, eqs. 1 and 2).

  Step 1: L = E + A/N^α + B/D^β, L the task's bits per byte, by Huber's loss of
  log residuals. Step 2: accuracy = a / (1 + exp(−k (L − x0))) + b, a < 0, by
  least squares over intermediate checkpoints and the anchor (0, 1). See
  `recipe` for what the paper does to its curves first.

  Report the intervals: the paper's own prediction of ARC-Challenge missed by
  eleven points. `direct` is the rival without a step between.

  Attributes:
    checkpoints: Of step 2; None: the points of step 1.
  """

  name: ClassVar[str] = 'two_step'
  columns: ClassVar[tuple[str, ...]] = ('params', 'tokens', 'accuracy')
  checkpoints: Checkpoints | None = None

  @property
  def inputs(self) -> tuple[str, ...]:
    return ('params', 'tokens')

  @property
  def objective(self) -> descent.Objective:
    return Chinchilla().objective

  @property
  def least(self) -> int:
    return Chinchilla().least

  def read(self, table: pd.DataFrame, where: str) -> tuple[Law, Points]:
    """With a column `run`, rows are checkpoints, treated as the paper does."""
    if 'run' not in table:
      return super().read(table, where)
    finals, checkpoints = recipe(table)
    law = dataclasses.replace(self, checkpoints=checkpoints)
    return law, from_frame(finals, where)

  def solve(self, points: Points, starts: int, seed: int) -> Solution:
    first = Chinchilla().solve(points, starts, seed)
    second, faults = sigmoid(self._checkpoints(points))
    theta = np.concatenate([first.theta, second])
    certificate = dataclasses.replace(
      first.certificate, faults=(*first.certificate.faults, *faults)
    )
    return Solution(theta, first.value, certificate)

  def again(
    self, points: Points, theta: np.ndarray, loss: np.ndarray
  ) -> np.ndarray:
    """Step 1 on other losses; step 2 on runs drawn with replacement."""
    first = Chinchilla().again(points, theta[:5], loss)
    data = self._checkpoints(points)
    # Seeded by the losses, which the bootstrap's own seed has drawn.
    rng = np.random.default_rng(
      zlib.crc32(np.ascontiguousarray(loss).tobytes())
    )
    runs = int(data.run.max()) + 1
    drawn = rng.multinomial(runs, np.full(runs, 1 / runs), size=len(loss))
    found = _descend(data, np.repeat(theta[None, 5:], len(loss), 0), drawn)
    return np.concatenate([first, found.theta], axis=1)

  def leverage(self, theta: np.ndarray, points: Points) -> np.ndarray:
    return Chinchilla().leverage(theta[:5], points)

  def parameters(self, theta: np.ndarray) -> Named:
    a, x0, k, b = theta.T[5:]
    plain = Chinchilla().parameters(theta[:, :5])
    return {**plain, 'acc_a': a, 'acc_x0': x0, 'acc_k': k, 'acc_b': b}

  def exponents(self, theta: np.ndarray, cost: Cost) -> Named:
    return Chinchilla().exponents(theta[:, :5], cost)

  def optimum(
    self, theta: np.ndarray, compute: np.ndarray, cost: Cost
  ) -> tuple[np.ndarray, np.ndarray]:
    return Chinchilla().optimum(theta[:, :5], compute, cost)

  def loss(self, theta: np.ndarray, points: Points) -> np.ndarray:
    return Chinchilla().loss(theta[:, :5], points)

  def accuracy(self, theta: np.ndarray, points: Points) -> np.ndarray:
    """Share of right answers, [fits, n]."""
    return _evaluate(theta[:, 5:], self.loss(theta, points))[0]

  def text(self, parameters: dict[str, float]) -> str:
    second = (
      'accuracy = {acc_a:.4f} / (1 + e^(−{acc_k:.4f} (L − {acc_x0:.4f}))) +'
      ' {acc_b:.4f}'
    ).format(**parameters)
    return f'{Chinchilla().text(parameters)}; {second}'

  def _checkpoints(self, points: Points) -> Checkpoints:
    if self.checkpoints is not None:
      return self.checkpoints
    return Checkpoints(np.arange(len(points)), points.loss, points.accuracy)


def recipe(curves: pd.DataFrame) -> tuple[pd.DataFrame, Checkpoints]:
  """What the paper makes of its runs' evaluations.

  Step 1 takes each run's mean loss over the last five checkpoints, and the
  last one's tokens and other columns. Step 2 takes all but the first tenth of a
  run's checkpoints, loss and accuracy averaged over the last five of each.

  Args:
    curves: `run`, `params`, `tokens`, `loss` and `accuracy`, one row a
      checkpoint.

  Returns:
    The table of step 1, with the last means of accuracy, and step 2's data.

  Raises:
    BadInput: A column or a value is missing.
  """
  for name in ('run', 'params', 'tokens', 'loss', 'accuracy'):
    if name not in curves:
      raise BadInput(f'a model ladder needs the column {name!r}')
    missing = curves[name].isna().to_numpy()
    if missing.any():
      row = int(np.argmax(missing)) + 1
      raise BadInput(f'a model ladder, row {row}: {name} is missing; give it')
  finals, parts = [], []
  for number, (_, rows) in enumerate(curves.groupby('run', sort=False)):
    rows = rows.sort_values('tokens')
    tail = rows.iloc[-5:]
    finals.append(
      {
        **rows.iloc[-1].to_dict(),
        'loss': tail['loss'].mean(),
        'accuracy': tail['accuracy'].mean(),
      }
    )
    kept = rows[['loss', 'accuracy']].iloc[int(np.ceil(0.1 * len(rows))) :]
    means = kept.rolling(5, min_periods=1).mean().to_numpy()
    parts.append(np.column_stack([np.full(len(means), number), means]))
  run, loss, accuracy = np.concatenate(parts).T
  return pd.DataFrame(finals), Checkpoints(run.astype(int), loss, accuracy)


def sigmoid(data: Checkpoints) -> tuple[np.ndarray, tuple[str, ...]]:
  """(a, x0, k, b) of step 2, and the faults of the fit."""
  middle, spread = np.median(data.loss), max(np.ptp(data.loss), 1e-3)
  starts = np.array(
    [
      (data.accuracy.min() - 1, x0, k, 1.0)
      for x0 in (middle, middle - spread, middle + spread, middle / 2)
      for k in (1 / spread, 4 / spread, 16 / spread)
    ]
  )
  runs = np.ones((len(starts), int(data.run.max()) + 1))
  minima = _descend(data, starts, runs)
  best = int(np.argmin(minima.value))
  faults = []
  if not minima.at_rest[best]:
    faults.append(
      f'step 2: the gradient is too large: {minima.gradient[best]:.2g}'
    )
  if len(np.unique(data.loss)) < 4:
    faults.append('step 2: fewer than four different losses')
  return minima.theta[best], tuple(faults)


def direct(points: Points, asked: Points) -> np.ndarray:
  """The rival: accuracy by a power law of compute, without the loss between.

  −ln accuracy = A C^−α, by least squares in log-log (a straight line).

  Args:
    points: With `flops` and an `accuracy` strictly between 0 and 1.
    asked: Where, by `flops`.

  Returns:
    Accuracy, [asked].
  """
  inside = (points.accuracy > 0) & (points.accuracy < 1)
  x = np.log(points.flops[inside])
  slope, level = np.polyfit(x, np.log(-np.log(points.accuracy[inside])), 1)
  return np.exp(-np.exp(level + slope * np.log(asked.flops)))


def _descend(
  data: Checkpoints, starts: np.ndarray, runs: np.ndarray
) -> descent.Minima:
  """Fits of step 2; `runs` says how often each run counts, [fits, runs]."""
  loss = np.append(data.loss, ANCHOR[0])
  target = np.append(data.accuracy, ANCHOR[1])
  anchor = np.ones((len(starts), 1))
  weight = np.concatenate([runs[:, data.run], anchor], axis=1)
  return descent.descend(
    lambda theta: _evaluate(theta, loss),
    target,
    weight.astype(float),
    np.clip(starts, _LOW, _HIGH),
    delta=None,
    bounds=(_LOW, _HIGH),
  )


def _evaluate(
  theta: np.ndarray, loss: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Accuracy at `loss`, [n] or [fits, n], and its gradient."""
  a, x0, k, b = theta.T[:, :, None]
  share = 1 / (1 + np.exp(np.clip(-k * (loss - x0), -500, 500)))
  turn = a * share * (1 - share)
  slopes = [share, -turn * k, turn * (loss - x0), np.ones_like(share)]
  return a * share + b, np.stack(slopes, axis=-1)
