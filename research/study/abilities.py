"""The report's section on abilities: verdicts, curves, ability against loss."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from research.plots import emergence as plots
from research.scaling.emergence import scores, signals, verdict
from research.scaling.emergence.finding import Finding
from research.study.blocks import Picture, Row, Table, Text, picture


def abilities(frame: pd.DataFrame) -> Iterator[Picture | Table | Text]:
  """What becomes of each task with size; nothing for a study without tasks."""
  rows = frame[~frame['task'].isin(scores.NOT_ABILITIES)]
  if rows.empty:
    return
  table = scores.of_study(frame)
  judged = verdict.verdicts(table)
  yield Text(
    'An ability emerges if it steps more quickly than any smooth law that this '
    'grid of sizes could show, under a per-token or probability metric as well '
    'as under a harsh one. Everything else is said of the metric, of the '
    'number of items, or of noise.'
  )
  yield _verdicts(judged, table)
  for number, one in enumerate(judged):
    yield picture(
      plots.task(one),
      f'ability-{number}',
      f'{one.task}, {one.verdict}: {one.evidence} Bars are one standard error '
      'over items and seeds, faint marks single runs; a band is where a break '
      'lies.',
    )
  yield from _against_loss(frame, table)


def _verdicts(judged: list[verdict.Verdict], table: pd.DataFrame) -> Table:
  """One row a task; those that stand out of noise too little are flagged."""
  return Table(
    columns=[
      ('task', 'text'),
      ('verdict', 'text'),
      ('break between', ''),
      ('items', ''),
      ('signal to noise', ''),
      ('evidence', 'long'),
    ],
    rows=[_row(one, table) for one in judged],
    caption='Verdicts',
    note=f'Signal to noise below {signals.BAR:.0f} is flagged, with the items '
    'that would do where sampling is what the noise consists of.',
  )


def _row(one: verdict.Verdict, table: pd.DataFrame) -> Row:
  at = one.broken.interval95 if one.broken else None
  best = [signal for f in one.findings if (signal := _signal(one, f, table))]
  top = max(best, key=lambda s: s.ratio) if best else None
  ratio = '–'
  if top is not None:
    more = f' ({top.items} items)' if top.items else ''
    ratio = f'{top.ratio:.1f}{more}'
  return Row(
    (
      one.task,
      one.verdict,
      f'{at[0]:.3g} – {at[1]:.3g}' if at else '–',
      str(one.n_items or '–'),
      ratio,
      one.evidence,
    ),
    flag=top is not None and top.ratio < signals.BAR,
  )


def _signal(
  one: verdict.Verdict, finding: Finding, table: pd.DataFrame
) -> signals.Signal | None:
  if len(finding.curve.scale) < 2 or not finding.curve.metric.votes:
    return None
  mine = (table['label'] == one.task) & (table['metric'] == finding.name)
  checkpoints: Any = table[mine]
  return signals.signal_to_noise(finding.curve, checkpoints)


def _against_loss(
  frame: pd.DataFrame, table: pd.DataFrame
) -> Iterator[Picture]:
  """Each task's first metric over the native validation loss of its run."""
  native: Any = frame[
    (frame['task'] == 'validation')
    & (frame['metric'] == 'loss')
    & (frame['domain'] == 'all')
  ]
  losses = native.rename(columns={'run': 'model', 'value': 'loss'})
  losses = losses[['model', 'step', 'loss']].astype({'step': float})
  first: Any = table[
    table['metric'] == table.groupby('label')['metric'].transform('first')
  ]
  merged = first.drop(columns='loss', errors='ignore').merge(
    losses, on=['model', 'step']
  )
  if merged.empty:
    return
  yield picture(
    plots.against_loss(merged, 'native loss, nats per token'),
    'ability-loss',
    'Ability against loss (Du et al. 2024), better models to the right, larger '
    'ones darker. Native losses of different architectures are of different '
    'objectives: only within one do the places compare.',
  )
