"""A case: the findings of a task's metrics, weighed against each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from research.scaling.emergence import curves, finding, kinds, null, signals
from research.scaling.emergence.finding import LEVEL, Finding


class Said(NamedTuple):
  """A verdict, why, where the break is, and how many items would show more."""

  verdict: str
  evidence: str
  broken: Finding | None = None
  items: int | None = None


class Case:
  """The findings of a task, sorted by what their metrics are.

  Attributes:
    votes: Those of metrics that measure ability.
    harsh: Votes that are all or nothing.
    graded: Votes that are per token or probabilities.
  """

  def __init__(
    self,
    findings: Sequence[Finding],
    length: float | None,
    rng: np.random.Generator,
  ):
    """`length` is the tokens of an answer, if all answers have as many."""
    self.length, self.rng = length, rng
    votes = [f for f in findings if f.curve.metric.votes] or list(findings)
    self.votes = votes
    self.harsh = [f for f in votes if f.curve.metric.harsh]
    self.graded = [f for f in votes if not f.curve.metric.harsh]

  def verdict(self) -> Said:
    """What is said, why, where, and with how many items one would see more."""
    live = [
      f
      for f in self.votes
      if f.verdict not in (kinds.NOISE, kinds.UNMEASURABLE)
    ]
    if not live:
      return self._flat()
    for rule in (
      self._broken,
      self._artefact,
      self._one_metric,
      self._floor,
    ):
      if said := rule():
        return said
    return self._smooth(live)

  def _flat(self) -> Said:
    guessed = [f for f in self.votes if f.verdict == kinds.UNMEASURABLE]
    few = [f for f in guessed if f.trend]
    guessed = [f for f in guessed if not f.trend] or guessed
    if guessed:
      n = len(guessed[0].curve.scale)
      why = f'every interval of {_names(guessed)} contains chance'
      if n < finding.FEWEST:
        why = f'too few sizes: {n}, where a law needs {finding.FEWEST}'
      elif guessed == few:
        why = (
          f'{n} sizes that scatter more than items and runs explain: any order'
          ' of them may be chance'
        )
      return Said(kinds.UNMEASURABLE, f'{why}.')
    p = min(f.p_value or 0 for f in self.votes)
    return Said(
      kinds.NOISE,
      f'{_names(self.votes)}: no trend beyond the deviation of items and runs'
      f' (p = {p:.2g}).',
    )

  def _broken(self) -> Said | None:
    """A break in a graded metric and in another, at one place; or in one."""
    harsh, graded = _breaks(self.harsh), _breaks(self.graded)
    # A harsh metric that sees nothing of the task has no say.
    deaf = {kinds.NOISE, kinds.UNMEASURABLE}
    heard = [f for f in self.harsh if f.verdict not in deaf]
    for first in graded:
      others = harsh or ([] if heard else [g for g in graded if g is not first])
      with_it = [f for f in others if _overlap(first, f)]
      if with_it:
        return Said(kinds.BREAK, _step_words([*with_it, first]), first)
    return None

  def _one_metric(self) -> Said | None:
    """A break in one metric, which no other confirms or explains."""
    broken = [*_breaks(self.graded), *_breaks(self.harsh)]
    if not broken:
      return None
    one = broken[0]
    others = [f for f in self.votes if f is not one]
    rest = f'; {_names(others)} does not confirm it' if others else ''
    words = f'{_step_words([one])[:-1]}, in this metric only{rest}.'
    return Said(kinds.ONE_METRIC, words, one)

  def _artefact(self) -> Said | None:
    """A harsh metric jumps or turns where a graded one was on its way."""
    shown = [f for f in self.harsh if f.verdict in ('onset', 'break')]
    heard = [f for f in self.graded if f.verdict in ('smooth', 'onset')]
    for harsh in sorted(shown, key=lambda f: f.verdict != 'break'):
      for graded in heard:
        there, here, p = ahead(graded, harsh, self.rng)
        if p * len(heard) > LEVEL:
          continue
        verb = 'steps' if harsh.verdict == 'break' else 'takes off'
        return Said(
          kinds.ARTEFACT,
          f'{harsh.name} {verb} only {harsh.curve.beyond}'
          f' {harsh.curve.scale[harsh.turn or 0]:.3g}, having made {here:.0%}'
          f' of its way, where {graded.name} had made {there:.0%}'
          f' (p = {p:.2g}) and has no step of its own'
          f' (p = {graded.p_value:.2g}){self._length_words(harsh)}.',
          None,
          self._items(harsh),
        )
    return None

  def _floor(self) -> Said | None:
    """A harsh metric sees nothing below a size."""
    for harsh in self.harsh:
      curve = harsh.curve
      unseen = curve.floor is not None and finding.below_notice(curve)
      none = unseen == len(curve.scale)
      if none and curve.floor:  # Part marks may come from form alone.
        return Said(kinds.UNMEASURABLE, self._flat().evidence)
      if not unseen or (harsh.verdict != 'onset' and not none):
        continue
      items = self._items(harsh)
      would = f' {items} would do' if items else ' more are needed'
      return Said(
        kinds.FLOOR,
        f'{harsh.name} cannot be told from {curve.floor:.3g} as far as'
        f' {curve.scale[unseen - 1]:.3g}'
        f' with {curve.n_items or "so few"} items:{would}'
        f'{"" if none else ", and beyond it the rise is smooth"}.',
        None,
        items,
      )
    return None

  def _smooth(self, live) -> Said:
    first = live[0]
    tested = [f for f in live if f.step]
    p = min((f.p_value or 0 for f in tested), default=1.0)
    p = min(1.0, p * len(tested))  # Of the smallest of so many (Bonferroni).
    start, end = first.curve.value[[0, -1]]
    law = 'log ' if first.curve.metric.logarithm else ''
    return Said(
      kinds.SMOOTH,
      f'{law}{first.name} goes from {start:.3g} to {end:.3g}; no step in'
      f' {_names(tested)} that a smooth law cannot follow (p = {p:.2g}).',
    )

  def _items(self, harsh: Finding) -> int | None:
    """Items that would show the largest size below notice.

    The rate there is p^L where it can be known, else the smooth law's.
    """
    curve = harsh.curve
    count = finding.below_notice(curve)
    told = self._told(harsh)
    if told is None and harsh.step:
      told = harsh.step.small.fitted[0]
    if not count or curve.floor is None or told is None:
      return None
    z = finding.deviate(len(curve.scale))
    needed = signals.items_needed(float(told[count - 1]), curve.floor, z)
    # A law that expects more than was seen there tells no number.
    return needed if (needed or 0) > (curve.n_items or 0) else None

  def _per_token(self) -> Finding | None:
    names = ('token', 'char')
    for f in self.graded:
      metric = f.curve.metric
      if metric.bounded and any(n in metric.name.lower() for n in names):
        return f
    return None

  def _told(self, harsh: Finding) -> np.ndarray | None:
    per_token = self._per_token()
    if self.length is None or per_token is None:
      return None
    told, _ = signals.length_effect(harsh.curve, per_token.curve, self.length)
    return told

  def _length_words(self, harsh: Finding) -> str:
    per_token, told = self._per_token(), self._told(harsh)
    if per_token is None or told is None:
      return ''
    miss = np.abs(told - harsh.curve.value).max()
    return (
      f'; {per_token.name}^{self.length:.3g} foretells {harsh.name} to within'
      f' {miss:.2g}'
    )


def ahead(
  graded: Finding, harsh: Finding, rng: np.random.Generator
) -> tuple[float, float, float]:
  """How far the graded metric had come where the harsh one takes off.

  Returns:
    Share of its way that the graded metric had made at `harsh.turn`, the same
    of the harsh one, and the p-value of the first being no larger, over items
    and runs.
  """
  x = harsh.curve.x
  at = np.array([x[0], x[harsh.turn or 0], x[-1]])

  def shares(curve: curves.Curve, count: int) -> np.ndarray:
    noise = rng.standard_normal((count, len(curve.value))) @ curve.root.T
    noise[0] = 0
    drawn = curve.value + noise
    first, here, last = (
      np.array([np.interp(a, curve.x, row) for row in drawn]) for a in at
    )
    # A replicate whose ends meet has no way to speak of.
    way = last - first
    return np.divide(here - first, way, out=np.zeros(count), where=way != 0)

  count = null.REPLICATES
  there, here = shares(graded.curve, count), shares(harsh.curve, count)
  p = float(1 + (there[1:] <= here[1:]).sum()) / count
  return float(there[0]), float(here[0]), p


def _breaks(group: Sequence[Finding]) -> list[Finding]:
  """Breaks that hold at the level of the whole group (Bonferroni)."""
  tested = [f for f in group if f.step]
  return [
    f
    for f in tested
    if f.verdict == 'break' and (f.p_value or 0) * len(tested) <= LEVEL
  ]


def _overlap(a: Finding, b: Finding) -> bool:
  (low, high), (other_low, other_high) = a.interval95, b.interval95  # type: ignore[misc]
  return max(low, other_low) < min(high, other_high)


def _names(findings: Sequence[Finding]) -> str:
  names = [f.name for f in findings]
  return ' and '.join(
    [', '.join(names[:-1]), names[-1]] if names[1:] else names
  )


def _step_words(broken: Sequence[Finding]) -> str:
  low = max(f.interval95[0] for f in broken if f.interval95)
  high = min(f.interval95[1] for f in broken if f.interval95)
  p = max(f.p_value or 0 for f in broken)
  verb = 'step' if len(broken) > 1 else 'steps'
  return (
    f'{_names(broken)} {verb} between {low:.3g} and {high:.3g}, more quickly'
    f' than any smooth law of this grid (p ≤ {p:.2g}).'
  )
