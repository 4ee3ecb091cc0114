"""Certificate: why a verdict can be trusted, or in one line each, why not."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from research.scaling.emergence import laws
from research.scaling.emergence.finding import LEVEL, Finding

SIZES = 6
"""Fewer cannot tell a step from a quick rise and a plateau."""

ITEMS = 200
"""With fewer, a share has a standard error of up to .035 or more."""

SCATTER = 4.0
"""Variance beyond that of items and runs from which it is not understood."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
  """What the tests of a verdict rest on.

  Attributes:
    level: Nominal level of every test.
    errors: Where errors over items are from (`curves.Curve.errors`).
    replicates: Of the largest bootstrap.
    sizes: Of the longest curve.
    runs: Of all of them.
    smooth_rise_10_90: The factor in scale over which the quickest rise that is
      called smooth goes from 10 to 90 %; None for one size.
    dispersion: The largest variance that a law leaves, over that of the known
      errors.
    faults: Reasons not to trust the verdict; none if it is certified.
  """

  level: float = LEVEL
  errors: str
  replicates: int
  sizes: int
  runs: int
  smooth_rise_10_90: float | None
  dispersion: float | None
  faults: tuple[str, ...]

  @property
  def certified(self) -> bool:
    return not self.faults

  def to_dict(self) -> dict[str, Any]:
    """As it stands in verdicts.json."""
    return {
      'certified': self.certified,
      **dataclasses.asdict(self),
      'faults': list(self.faults),
    }


def certify(findings: Sequence[Finding]) -> Certificate:
  """The certificate of a task's verdict, from its findings (one or more)."""
  votes = [f for f in findings if f.curve.metric.votes] or list(findings)
  curve = max((f.curve for f in votes), key=lambda c: len(c.scale))
  tests = [t for f in votes for t in (f.trend, f.step) if t]
  rise = np.exp(np.minimum(laws.GAPS * np.diff(curve.x), laws.WIDEST))
  return Certificate(
    errors=' and '.join(sorted({f.curve.errors for f in votes})),
    replicates=max((t.replicates for t in tests), default=0),
    sizes=len(curve.scale),
    runs=int(curve.runs.sum()),
    smooth_rise_10_90=float(np.median(rise)) if len(rise) else None,
    dispersion=max((t.dispersion for t in tests), default=None),
    faults=tuple(_faults(votes)),
  )


def _faults(votes: Sequence[Finding]):
  """One line for each reason."""
  curve = max((f.curve for f in votes), key=lambda c: len(c.scale))
  harsh = [f.curve for f in votes if f.curve.metric.harsh]
  counts = [f.curve.n_items for f in votes if f.curve.n_items is not None]
  if len(curve.scale) < SIZES:
    yield f'{len(curve.scale)} sizes, fewer than {SIZES}'
  if curve.runs.max() == 1:
    yield 'one run a size: its deviation is told from the residuals'
  if harsh and all(c.chance is None for c in harsh):
    yield 'chance is not known'
  if not counts:
    yield 'the number of items is not known'
  elif min(counts) < ITEMS:
    yield f'{min(counts)} items, fewer than {ITEMS}'
  if len(votes) == 1:
    yield 'one metric only'
  elif len(harsh) == len(votes):
    yield 'no per-token or probability metric'
  if any(f.curve.errors == 'guessed' for f in votes):
    yield 'errors of some metrics are guessed'
  if any(t.dispersion > SCATTER for f in votes for t in (f.trend, f.step) if t):
    yield 'values scatter more than items and runs explain'
