"""Identity: whether published checkpoints are what their names say.

Public checkpoints have been mislabelled. Two tests need no number from
elsewhere. No two checkpoints may be the same weights. And a sample of the
matrices is compared: of one training run, a checkpoint is more like the one
before and the one after it than these are like each other; checkpoints of
different runs are not correlated at all, since hidden units have no order.
"""

from collections.abc import Iterator, Mapping
import itertools
import json
from typing import Any, NamedTuple

import numpy as np

from research.files import write_whole
from research.study import store

WEIGHTS = 'weights.json'
_EACH = 512  # numbers of each matrix, all its layers together
_SIGMAS = 5


class Weights(NamedTuple):
  """What is kept of a checkpoint's weights.

  Attributes:
    hash: Of all of them.
    sample: Numbers of its matrices, of mean 0 and deviation 1 in each.
  """

  hash: str
  sample: np.ndarray


class Sample:
  """Numbers at fixed places of the matrices that pass by."""

  def __init__(self):
    self.parts: list[np.ndarray] = []

  def take(self, name: str, x: np.ndarray) -> None:
    """Takes from a parameter, if it is a matrix, or one a layer."""
    # Vectors are left out: scales near 1 make strangers alike.
    if x.ndim - ('.blocks.' in name) < 2:
      return
    flat = x.reshape(-1)
    places = np.linspace(0, flat.size - 1, min(_EACH, flat.size)).astype(int)
    part = flat[places].astype(np.float64)
    part -= part.mean()
    self.parts.append(part / (part.std() or 1.0))


def keep(run: store.Path, digest: str, sample: Sample) -> None:
  """Keeps what tells these weights from others in the run's folder."""
  numbers = np.concatenate(sample.parts).round(4).tolist()
  told = {'hash': digest, 'sample': numbers}
  write_whole(run / WEIGHTS, json.dumps(told))


def read(run: store.Path) -> Weights:
  """What `keep` kept."""
  told: dict[str, Any] = json.loads((run / WEIGHTS).read_text())
  return Weights(told['hash'], np.array(told['sample']))


def doubts(chain: Mapping[int, Weights]) -> dict[int, str]:
  """The checkpoints of one size that are not what they should be, with why.

  Between two checkpoints whether a stranger is the one or the other is not to
  be told: both are doubted, and so are two that have changed places. What goes
  unseen: neighbours exchanged that are so alike that no correlation differs by
  more than noise, and some first or last ones of another step than their name
  says.

  Args:
    chain: Weights by training step.
  """
  found = _copies(chain)
  left = {step: chain[step] for step in sorted(chain) if step not in found}
  if len(left) > 1:
    outliers = _outliers(left)
    found |= outliers
    for a, b in itertools.pairwise(left):
      other = {**left, a: left[b], b: left[a]}
      if outliers.keys() & {a, b} and not _outliers(other) | _strangers(other):
        found |= {step: _either(a, b) for step in (a, b)}
    left = {s: w for s, w in left.items() if s not in found}
    found |= _strangers(left) | _exchanged(left)
  return found


def _copies(chain: Mapping[int, Weights]) -> dict[int, str]:
  found = {}
  for (a, its), (b, other) in itertools.permutations(chain.items(), 2):
    if its.hash == other.hash:
      found[a] = (
        f'step {a} and step {b} are the same weights ({its.hash}): one of them'
        ' is mislabelled; get it again, or leave both out'
      )
  return found


class _Triple(NamedTuple):
  """Three steps that follow each other, and how alike they are."""

  a: int
  b: int
  c: int
  before: float
  after: float
  across: float
  noise: float


def _triples(chain: Mapping[int, Weights]) -> Iterator[_Triple]:
  steps = list(chain)
  for a, b, c in zip(steps, steps[1:], steps[2:], strict=False):
    before, after, across = (
      _alike(chain[x], chain[y]) for x, y in ((a, b), (b, c), (a, c))
    )
    yield _Triple(a, b, c, before, after, across, _noise(chain[b]))


def _outliers(chain: Mapping[int, Weights]) -> dict[int, str]:
  """Those less like both neighbours than these are like each other."""
  return {
    t.b: (
      f'step {t.b} is not between its neighbours: correlation {t.before:.2f}'
      f' with step {t.a}, {t.after:.2f} with step {t.c}, which have'
      f' {t.across:.2f}; it is mislabelled: leave it out'
    )
    for t in _triples(chain)
    if t.across > max(t.before, t.after) + t.noise
  }


def _either(a: int, b: int) -> str:
  return (
    f'step {a} and step {b} would be in order if they were exchanged: one or'
    ' both are mislabelled; leave them out'
  )


def _exchanged(chain: Mapping[int, Weights]) -> dict[int, str]:
  """Those that stand on the wrong side of a neighbour."""
  found = {}
  for t in _triples(chain):
    if t.across > min(t.before, t.after) + t.noise:
      pair = (t.b, t.c) if t.before < t.after else (t.a, t.b)
      found |= {step: _either(*pair) for step in pair}
  return found


def _strangers(chain: Mapping[int, Weights]) -> dict[int, str]:
  """Those not correlated with any neighbour."""
  steps = list(chain)
  found = {}
  for i, step in enumerate(steps):
    near = [steps[j] for j in (i - 1, i + 1) if 0 <= j < len(steps)]
    most = max((_alike(chain[step], chain[n]) for n in near), default=1.0)
    if most < _noise(chain[step]):
      found[step] = (
        f'step {step} is a stranger to step {" and ".join(map(str, near))}:'
        f' correlation {most:.2f}; one is of another run, or name steps between'
      )
  return found


def _alike(a: Weights, b: Weights) -> float:
  """The correlation of two samples."""
  return float(np.corrcoef(a.sample, b.sample)[0, 1])


def _noise(one: Weights) -> float:
  """A correlation that independent samples do not reach."""
  return _SIGMAS / len(one.sample) ** 0.5
