"""Hu et al. 2024: abilities too rare to be seen in a test of fixed size.

Predicting Emergent Abilities with Infinite Resolution Evaluation (PassUntil,
arXiv 2310.03262). A task is sampled until r answers pass, after K samples:
PU = r/K resolves any pass probability, however small. Under a task law
F(N) = ln(−ln PU) is a line in ln N; an accelerated ability bends below it.
"""

import pathlib

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from research.scaling.papers.reproduction import (
  Panel,
  Reproduction,
  Series,
  Target,
)

SIZES = np.geomspace(3e7, 2.4e9, 9)
ALPHA = 0.25
SCALE = 4e9
"""c in PU(N) = exp(−(c/N)^α · 3), which runs from 3e-5 to 3e-2."""

PASSES = 64
TASKS = 100


def reproduce(folder: pathlib.Path | None = None) -> Reproduction:
  """Recovers a simulated task law, and tells an accelerated one from it."""
  del folder
  rng = np.random.default_rng(0)
  truth = task_law(SIZES)
  found = estimates(rng, truth, PASSES, TASKS).mean(axis=1)
  faster = accelerated(SIZES)
  found_faster = estimates(rng, faster, PASSES, TASKS).mean(axis=1)
  few, r = 1e-3, 2
  sampled = estimates(rng, np.array([few]), r, 200_000)
  return Reproduction(
    source='Hu et al. 2024 (PassUntil): simulated models',
    targets=(
      Target('slope of F over ln N', line(SIZES, found)[0], -ALPHA, 0.005),
      Target('curvature of F, task law', bend(SIZES, found), 0, 0.005),
      Target(
        'curvature of F, accelerated',
        bend(SIZES, found_faster),
        bend(SIZES, faster),
        0.005,
      ),
      Target(
        f'mean of r/K over p, r={r}',
        float(sampled.mean()) / few,
        expected(few, r) / few,
        0.02,
      ),
      Target(
        f'mean of (r−1)/(K−1) over p, r={r}',
        float(unbiased(sampled, r).mean()) / few,
        1,
        0.02,
      ),
    ),
    panels=(_panel(found, truth, found_faster, faster),),
    notes=(
      'Published: the truth that was simulated. r/K is the most likely value,'
      ' not an unbiased one: it is high by about p/(r − 1).',
    ),
  )


def task_law(params: ArrayLike) -> np.ndarray:
  """PU(N) = exp(−3 (c/N)^α): F = ln(−ln PU) has the slope −α in ln N."""
  return np.exp(-3 * (SCALE / np.asarray(params, float)) ** ALPHA)


def accelerated(params: ArrayLike) -> np.ndarray:
  """An ability that falls below the line of its small sizes: F is concave."""
  x = np.log(np.asarray(params, float) / SIZES[0])
  f = np.log(-np.log(task_law(SIZES[:1])))[0] - 0.1 * x - 0.04 * x**2
  return np.exp(-np.exp(f))


def estimates(
  rng: np.random.Generator, p: np.ndarray, passes: int, tasks: int
) -> np.ndarray:
  """r/K of `tasks` runs at each pass probability, [probabilities, tasks]."""
  failures = rng.negative_binomial(passes, p[:, None], (len(p), tasks))
  return passes / (passes + failures)


def unbiased(estimate: ArrayLike, passes: int) -> np.ndarray:
  """(r − 1)/(K − 1), whose mean is p (Haldane 1945), from r/K."""
  return (passes - 1) / (passes / np.asarray(estimate, float) - 1)


def expected(p: float, passes: int) -> float:
  """The mean of r/K: a sum over the negative binomial distribution."""
  last = int(stats.nbinom.isf(1e-12, passes, p))
  failures = np.arange(last + 1)
  weights = stats.nbinom.pmf(failures, passes, p)
  return float(np.sum(weights * passes / (passes + failures)))


def transform(pass_until: ArrayLike) -> np.ndarray:
  """F = ln(−ln PU)."""
  return np.log(-np.log(np.asarray(pass_until, float)))


def line(params: ArrayLike, pass_until: ArrayLike) -> tuple[float, float]:
  """Slope and intercept of F over ln N."""
  x = np.log(np.asarray(params, float))
  slope, intercept = np.polyfit(x, transform(pass_until), 1)
  return float(slope), float(intercept)


def bend(params: ArrayLike, pass_until: ArrayLike) -> float:
  """Coefficient of (ln N)² in F: below zero where the ability accelerates."""
  x = np.log(np.asarray(params, float))
  return float(np.polyfit(x - x.mean(), transform(pass_until), 2)[0])


def _panel(found, truth, found_faster, faster) -> Panel:
  series = []
  for i, (name, ours, true) in enumerate(
    [('task law', found, truth), ('accelerated', found_faster, faster)]
  ):
    series += [
      Series('', SIZES, transform(ours), 'points', i),
      Series(name, SIZES, transform(true), 'line', i),
    ]
  return Panel('ln(−ln PU)', 'parameters', 'F', tuple(series), 'x')
