"""Biderman et al. 2023: a jump that the metric made, in Pythia's evaluations.

Pythia (arXiv 2304.01373) publishes every task at up to 27 steps of 16 models.
LAMBADA's accuracy counts whole words guessed right and is exactly zero while
the perplexity of the same words already falls thirtyfold.
"""

import json
import pathlib
from typing import cast

import numpy as np
from numpy.typing import ArrayLike
import pandas as pd

from research.scaling.papers.reproduction import (
  Panel,
  Reproduction,
  Series,
  Target,
  read,
)

TABLE = 'pythia_evals.csv'
"""All evaluations in one table, as prepared for this project."""

MODEL = 'pythia-1.4b'

COMMITS = {
  0: 'ddad623a9395d2ecc4cf52dda5379ffd0fd82597',
  8: 'ddad623a9395d2ecc4cf52dda5379ffd0fd82597',
  32: 'ddad623a9395d2ecc4cf52dda5379ffd0fd82597',
  512: '58f33c6e3b521435f5af695eeb3a327a35ac4e58',
  1000: '4d0c90183683435b20890cabca52783c3b820d3c',
  23000: 'ddad623a9395d2ecc4cf52dda5379ffd0fd82597',
  43000: '4d0c90183683435b20890cabca52783c3b820d3c',
  83000: '4d0c90183683435b20890cabca52783c3b820d3c',
}
"""By step, a commit that is known to hold its file."""

REPOSITORY = 'https://github.com/EleutherAI/pythia'
FILES = {
  f'evals/pythia-v1/{MODEL}/zero-shot/1.4b_step{step}.json': commit
  for step, commit in COMMITS.items()
}
"""The authors' own files and their commits, for where there is no table."""


def reproduce(folder: pathlib.Path) -> Reproduction:
  """LAMBADA before step 1,000, and what BIG-bench's score makes of all tasks.

  The ranking needs every model and so the whole table; with the authors'
  files, which are one model's, it is left out.

  Raises:
    BadInput: The folder holds neither the table nor the authors' files.
  """
  whole = not (folder / next(iter(FILES))).exists()
  table = _read(folder) if whole else _read_authors(folder)
  theirs = table['model'] == MODEL
  lambada = table.loc[theirs & (table['task'] == 'lambada_openai')]
  curves = lambada.pivot_table(index='step', columns='metric', values='value')
  flat = curves.loc[:512]
  targets = (
    Target('highest accuracy through step 512', flat['acc'].max(), 0, 0),
    Target('perplexity at step 0', flat['ppl'].iloc[0], 3.59e6, 5e3),
    Target('perplexity at step 512', flat['ppl'].iloc[-1], 1.07e5, 5e2),
  )
  return Reproduction(
    source=f'Pythia: LAMBADA of {MODEL}, zero shots',
    targets=targets + (_ranking(table) if whole else ()),
    panels=_panels(curves),
    notes=()
    if whole
    else ('The ranking of tasks needs all models: give --data_dir.',),
  )


def breakthroughness(values: ArrayLike) -> float:
  """BIG-bench's score of a jump in values ordered by scale.

  The signed range over the root median square of twice the steps between
  neighbours (Srivastava et al. 2022, appendix B). It is high for smooth curves
  that rise late and for noise alike: a null is needed.
  """
  y = np.asarray(values, float)
  extent = np.sign(y.argmax() - y.argmin()) * (y.max() - y.min())
  return float(extent / np.sqrt(np.median((2 * np.diff(y)) ** 2)))


def scores(table: pd.DataFrame) -> pd.Series:
  """Breakthroughness over the eight sizes by (deduped, task, metric).

  Of accuracies at the last step, zero shots, highest first.
  """
  last = table['step'] == max(table['step'])
  chosen = last & (table['shots'] == 0) & (table['metric'] != 'ppl')
  groups = table.loc[chosen].sort_values(by='params')
  groups = groups.groupby(['deduped', 'task', 'metric'])['value']
  found = cast(pd.Series, groups.apply(breakthroughness))
  return found.sort_values(ascending=False)


def _ranking(table: pd.DataFrame) -> tuple[Target, ...]:
  tasks = list(scores(table).index.get_level_values('task'))
  smooth = {'lambada_openai', 'sciq'}
  first = next(i for i, task in enumerate(tasks) if task not in smooth)
  return (
    Target('places that LAMBADA and SciQ lead', first, 4, 0),
    Target('place of WSC, about 100 items', tasks.index('wsc') + 1, 5, 0),
  )


def _read(folder: pathlib.Path) -> pd.DataFrame:
  columns = ('model', 'deduped', 'params', 'shots', 'step', 'task', 'metric')
  table = read(folder, TABLE, *columns, 'value')
  return table.loc[table['shots'] == 0]


def _read_authors(folder: pathlib.Path) -> pd.DataFrame:
  rows = []
  for step, name in zip(COMMITS, FILES, strict=True):
    results = json.loads((folder / name).read_text())['results']
    for metric in ('acc', 'ppl'):
      value = results['lambada_openai'][metric]
      rows.append((MODEL, step, 'lambada_openai', metric, value))
  return pd.DataFrame(
    rows, columns=['model', 'step', 'task', 'metric', 'value']
  )


def _panels(curves: pd.DataFrame) -> tuple[Panel, ...]:
  steps = curves.index.to_numpy(float) + 1

  def panel(metric, title, log):
    series = Series('', steps, curves[metric].to_numpy(), 'points')
    joined = Series('', steps, curves[metric].to_numpy(), 'line')
    return Panel(title, 'step + 1', title, (series, joined), log)

  return panel('acc', 'accuracy', 'x'), panel('ppl', 'perplexity', 'xy')
