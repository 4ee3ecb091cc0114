"""Abilities of a study, judged over size and over loss, as the report tells."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from research.plots import emergence as plots
from research.plots import style
from research.scaling.emergence import kinds, scores, signals, verdict
from research.scaling.emergence.verdict import Verdict
from research.study.blocks import (
  Picture,
  Row,
  Table,
  Text,
  listed,
  missing,
  picture,
)

_TOLD = (kinds.BREAK, kinds.ONE_METRIC, kinds.ARTEFACT)
"""Kinds of which every task has a row of its own."""

_REST = (kinds.FLOOR, kinds.SMOOTH, kinds.NOISE, kinds.UNMEASURABLE)


class Judged(NamedTuple):
  """What is said of a study's abilities.

  Attributes:
    table: The score table.
    by_size: A verdict for each task over parameters, in the table's order.
    by_loss: The same over native loss, of tasks that size shows to be
      measurable, by name.
    shared: The same over bits per byte of the yardstick, architectures
      together; none for a single architecture.
  """

  table: pd.DataFrame
  by_size: list[Verdict]
  by_loss: dict[str, Verdict]
  shared: list[Verdict]


def judged(frame: pd.DataFrame) -> Judged | None:
  """Verdicts on all tasks of a results table; None if it has no tasks."""
  if set(frame['task']) <= set(scores.NOT_ABILITIES):
    return None
  table = scores.of_study(frame)
  by_size = verdict.verdicts(table)
  live = {v.task for v in by_size if v.verdict != kinds.UNMEASURABLE}
  asked = ['task', *(c for c in ('shots', 'prompting') if c in table)]
  mine: Any = table[table['label'].isin(list(live))]
  known = set(mine[asked].astype(str).itertuples(index=False, name=None))

  def over(scale: str) -> list[Verdict]:
    if scale not in table or not len(table[scale].dropna()):
      return []
    rows: Any = scores.of_study(frame, scale)
    names = rows[asked].astype(str).itertuples(index=False, name=None)
    kept = rows[[name in known for name in names]]
    return verdict.verdicts(kept) if len(kept) else []

  several = 'architecture' in table and len(set(table['architecture'])) > 1
  return Judged(
    table,
    by_size,
    {v.task: v for v in over('loss') if v.task in live},
    over(scores.SHARED) if several else [],
  )


def sentences(found: Judged | None) -> list[str]:
  """Findings: which abilities emerge, and how many do anything else."""
  if found is None:
    return []
  by_kind = _by_kind(found.by_size)
  breaks = [
    f'{one.task} under {_under(one)}, between {_between(one)}'
    for one in by_kind.get(kinds.BREAK, ())
  ]
  rest = [
    f'{len(by_kind[kind])} {kind}'
    for kind in (*_TOLD[1:], *_REST)
    if kind in by_kind
  ]
  count = len(breaks) or 'none'
  with_them = f': {"; ".join(breaks)}' if breaks else ''
  return [
    f'Of {len(found.by_size)} abilities, each way of asking counted, those '
    f'that emerge with size by a genuine break: {count}{with_them}.'
    + (f' The rest: {listed(rest)}.' if rest else '')
  ]


def abilities(found: Judged | None) -> Iterator[Picture | Table | Text]:
  """What becomes of each task with size; nothing for a study without tasks."""
  if found is None:
    return
  yield Text(
    'An ability emerges if it steps more quickly than any smooth law that this '
    'grid of sizes could show, under a per-token or probability metric as well '
    'as under a harsh one. Everything else is said of the metric, of the '
    'number of items, or of noise.'
  )
  yield _summary(found)
  yield _details(found)
  if found.shared:
    yield _shared(found.shared)
  yield from _asking(found)
  for number, one in enumerate(found.by_size):
    yield picture(
      plots.task(one),
      f'ability-{number}',
      f'{one.task}, {one.verdict}: {one.evidence} Bars are one standard error '
      'over items and seeds, faint marks single runs; a band is where a break '
      f'lies. {_by_loss(found, one)}',
    )
  yield from _against_loss(found.table)


def _by_kind(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
  found: dict[str, list[Verdict]] = {}
  for one in verdicts:
    found.setdefault(one.verdict, []).append(one)
  return found


def _under(one: Verdict) -> str:
  """Metrics that show what the verdict says."""
  votes = [f for f in one.findings if f.curve.metric.votes]
  if one.verdict == kinds.BREAK:
    return listed(f.name for f in votes if f.verdict == 'break')
  if one.broken:
    return f'{one.broken.name} alone'
  harsh = [f for f in votes if f.curve.metric.harsh]
  jumps = [f.name for f in harsh if f.verdict in ('break', 'onset')]
  return f'{listed(jumps)}, no graded metric' if jumps else '–'


def _between(one: Verdict) -> str:
  ends = one.broken.interval95 if one.broken else None
  return f'{style.short(ends[0])} and {style.short(ends[1])}' if ends else '–'


def _sure(one: Verdict) -> str:
  """The p-value of the step, and the certificate's faults."""
  p = ''
  if one.broken:
    shown = [f for f in one.findings if f.verdict == 'break']
    found = [one.broken] if one.verdict == kinds.ONE_METRIC else shown
    p = f'p ≤ {max(f.p_value or 0 for f in found):.2g}; '
  if one.certificate.certified:
    return p + 'certified'
  return f'{p}not certified: {"; ".join(one.certificate.faults)}'


def _by_loss(found: Judged, one: Verdict) -> str:
  """What loss makes of what size showed, in a sentence; '' if not known."""
  other = found.by_loss.get(one.task)
  if other is None:
    return ''
  said = other.verdict
  if one.verdict == kinds.BREAK and said == kinds.SMOOTH:
    return 'It jumps with size but is smooth in loss.'
  if one.verdict == said == kinds.BREAK:
    return f'It jumps in loss, too, between {_between(other)} nats a token.'
  return f'Over loss: {said}.'


def _summary(found: Judged) -> Table:
  """Which abilities emerge, under which metric, and how sure that is."""
  by_kind, rows = _by_kind(found.by_size), []
  told = [one for kind in _TOLD for one in by_kind.get(kind, ())]
  for one in sorted(told, key=lambda v: not v.certificate.certified):
    loss = found.by_loss.get(one.task)
    cells = (
      one.verdict,
      one.task,
      _under(one),
      _between(one),
      _sure(one),
      loss.verdict if loss else '–',
    )
    rows.append(Row(cells, flag=one.greyed))
  for kind in _REST:
    if mine := by_kind.get(kind):
      names = '; '.join(one.task for one in mine)
      sure = sum(one.certificate.certified for one in mine)
      of = f'{sure} of {len(mine)} certified'
      rows.append(Row((kind, names, '–', '–', of, '–')))
  return Table(
    columns=[
      ('over size', 'text'),
      ('ability', 'long'),
      ('under', 'long'),
      ('between', 'text'),
      ('how sure', 'long'),
      ('over loss', 'text'),
    ],
    rows=rows,
    caption='What emerges',
    note='Sizes are parameters. A verdict is certified if there are six sizes '
    'or more, several runs a size, 200 items or more, a known chance, and both '
    'harsh metrics and others. Over loss: the same tests with native loss in '
    'the place of size (Du et al. 2024); what jumps with size but is smooth in '
    'loss comes with the loss.',
  )


def _details(found: Judged) -> Table:
  """One row a task; those that stand out of noise too little are flagged."""
  drawn = any(one.task_law for one in found.by_size)
  columns = [
    ('task', 'text'),
    ('over size', 'text'),
    ('over loss', 'text'),
    ('items', ''),
    ('signal to noise', ''),
    *([('PassUntil', 'text')] if drawn else []),
    ('evidence', 'long'),
  ]
  rows = []
  for one in found.by_size:
    loss = found.by_loss.get(one.task)
    cells = (
      one.task,
      one.verdict,
      loss.verdict if loss else '–',
      str(one.n_items or '–'),
      _signal(one.signal),
      *([_law(one.task_law)] if drawn else []),
      one.evidence,
    )
    rows.append(Row(cells, flag=one.greyed))
  law = (
    ' PassUntil: whether log(−log PU) of drawn answers is linear in log size '
    '(task law) or bends down (accelerated), with its slope and p-value.'
  )
  return Table(
    columns=columns,
    rows=rows,
    caption='Every verdict',
    note=f'Signal to noise below {signals.BAR:.0f} is flagged, and grey in the '
    'figures, with the items that would do where sampling is what the noise '
    'consists of.' + (law if drawn else ''),
    folded=f'Every verdict and its evidence ({len(rows)})',
  )


def _signal(signal: signals.Signal | None) -> str:
  if signal is None:
    return '–'
  more = f' ({signal.items} items)' if signal.items else ''
  return f'{signal.ratio:.1f}{more}'


def _law(law: signals.TaskLaw | None) -> str:
  if law is None:
    return '–'
  return f'{law.verdict}, slope {law.slope:.2g} (p = {law.p_value:.2g})'


def _shared(verdicts: Sequence[Verdict]) -> Table:
  """Verdicts over the loss that compares across architectures."""
  return Table(
    columns=[
      ('task', 'text'),
      ('over bits per byte', 'text'),
      ('between', 'text'),
      ('evidence', 'long'),
    ],
    rows=[
      Row((one.task, one.verdict, _between(one), one.evidence), one.greyed)
      for one in verdicts
    ],
    caption='Over the loss that all architectures share',
    note='The scale is bits per byte of the yardstick’s spans: a smooth task '
    'is one that a model’s loss there tells, whatever its architecture and '
    'size. Noise or scatter says that models of one loss do not do alike.',
    folded=f'Over bits per byte, all architectures together ({len(verdicts)})',
  )


def _asking(found: Judged) -> Iterator[Picture]:
  """Ways of asking beside each other, with perplexity, by architecture."""
  known = found.table.drop_duplicates('label').set_index('label')
  ways: dict[str, dict[str, dict[str, Any]]] = {}
  for one in found.by_size:
    row: Mapping[Any, Any] = known.loc[one.task].to_dict()
    who = str(row.get('architecture', 'decoder'))
    curve = one.findings[0].curve
    if len(curve.scale) > 1:
      ways.setdefault(who, {}).setdefault(str(row['task']), {})[_way(row)] = (
        curve
      )
  for who, tasks in ways.items():
    rows: Any = found.table
    if 'architecture' in rows:
      rows = rows[rows['architecture'] == who]
    losses = rows.drop_duplicates('model')[['scale']]
    if 'loss' in rows:
      losses = rows.drop_duplicates('model')[['scale', 'loss']].dropna()
    yield picture(
      plots.asking(tasks, losses),
      f'asking-{who}',
      f'The {style.title(who)}: each task without shots, with shots and '
      'thought out, beside the native perplexity of the same models. Bars are '
      'one standard error over items and seeds.',
    )


def _way(row: Mapping[Any, Any]) -> str:
  shots = row.get('shots')
  text = 'asked' if missing(shots) else f'{int(shots or 0)} shots'
  thought = row.get('prompting') == 'chain_of_thought'
  return f'{text}, chain of thought' if thought else text


def _against_loss(table: pd.DataFrame) -> Iterator[Picture]:
  """Each task's first metric over the native validation loss of its run."""
  if 'loss' not in table:
    return
  first = table.groupby('label')['metric'].transform('first')
  rows: Any = table[(table['metric'] == first) & table['loss'].notna()]
  if rows.empty:
    return
  yield picture(
    plots.against_loss(rows, 'native loss, nats per token'),
    'ability-loss',
    'Ability against loss (Du et al. 2024), better models to the right, larger '
    'ones darker. Native losses of different architectures are of different '
    'objectives: only within one do the places compare.',
  )
