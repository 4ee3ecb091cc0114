"""The verdict on a task: what survives when its metric is changed."""

from collections.abc import Callable, Collection, Sequence
import dataclasses
from typing import Any, cast

import numpy as np
import pandas as pd

from research.scaling.emergence import curves, finding, signals
from research.scaling.emergence.case import Case
from research.scaling.emergence.certificate import Certificate, certify
from research.scaling.emergence.finding import Finding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
  """The verdict on a task, and what it rests on.

  Attributes:
    task: Name, with the variant where there are several.
    verdict: One of `kinds`.
    evidence: One sentence.
    findings: One a metric.
    broken: The finding that tells where the break is; None without one.
    items_needed: Items that would show what lies below the floor, if it can
      be told.
    certificate: How far the numbers can be trusted.
    signal: The clearest metric's signal to noise; None for one size.
    task_law: Whether drawn answers follow PassUntil's law; None where no
      answers were drawn, or too few sizes pass sometimes.
  """

  task: str
  verdict: str
  evidence: str
  findings: tuple[Finding, ...]
  broken: Finding | None = None
  items_needed: int | None = None
  certificate: Certificate
  signal: signals.Signal | None = None
  task_law: signals.TaskLaw | None = None

  @property
  def greyed(self) -> bool:
    """Whether no metric stands out of its noise."""
    return self.signal is not None and self.signal.ratio < signals.BAR

  @property
  def n_items(self) -> int | None:
    """Items of the test; the fewest, should metrics differ."""
    counts = [f.curve.n_items for f in self.findings]
    return min((n for n in counts if n is not None), default=None)

  def to_dict(self) -> dict[str, Any]:
    """As in verdicts.json; numbers are plain."""
    return {
      'verdict': self.verdict,
      'scale': self.broken and self.broken.place,
      'interval95': self.broken and list(self.broken.interval95 or ()),
      'metrics': {
        f.name: {
          'verdict': f.verdict,
          'statistic': f.statistic,
          'p_value': f.p_value,
          'harsh': f.curve.metric.harsh,
          'errors': f.curve.errors,
        }
        for f in self.findings
      },
      'evidence': self.evidence,
      'n_items': self.n_items,
      'items_needed': self.items_needed,
      'signal_to_noise': self.signal and self.signal._asdict(),
      'task_law': self.task_law and self.task_law._asdict(),
      'certificate': self.certificate.to_dict(),
    }


def verdicts(
  frame: pd.DataFrame,
  graded: Collection[str] = (),
  seed: int = 0,
  listen: Callable[[str], object] = lambda task: None,
) -> list[Verdict]:
  """A verdict for every task of a score table, in its order.

  Args:
    frame: As `scores.tidy` returns it.
    graded: Metrics that are per-token or probabilities though their names do
      not say so.
    seed: Of the bootstrap; each task draws its own stream.
    listen: Called with each task before it is judged.
  """
  judged = []
  for number, (task, found) in enumerate(curves.curves(frame, graded)):
    listen(task)
    rng = np.random.default_rng([seed, number])
    rows = cast(pd.DataFrame, frame[frame['label'] == task])
    judged.append(judge(task, found, rng, rows))
  return judged


def judge(
  task: str,
  found: Sequence[curves.Curve],
  rng: np.random.Generator,
  rows: pd.DataFrame,
) -> Verdict:
  """The verdict on one task from all its metrics.

  Args:
    task: Its name.
    found: A curve a metric.
    rng: Source of the bootstrap.
    rows: The task's rows in the score table, of every step.
  """
  findings = tuple(finding.find(curve, rng) for curve in found)
  lengths = set(rows['answer_length'].dropna())
  length = float(lengths.pop()) if len(lengths) == 1 else None
  said = Case(findings, length, rng).verdict()
  drawn = [c for c in found if signals.DRAWN.search(c.metric.name.lower())]
  return Verdict(
    task=task,
    verdict=said.verdict,
    evidence=said.evidence,
    findings=findings,
    broken=said.broken,
    items_needed=said.items,
    certificate=certify(findings),
    signal=signals.clearest(found, rows),
    task_law=signals.pass_until(drawn[0], rng) if drawn else None,
  )
