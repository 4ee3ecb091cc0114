"""Items: what each run of a study scored on every item, from stored outputs."""

from collections.abc import Iterator
import lzma
import os
from typing import Any

from etils import epath
import numpy as np
import pandas as pd

from research.evals import metrics, outputs
from research.scaling.emergence.items import COLUMN
from research.study import store

_ASKED = ['run', 'step', 'task', 'prompting', 'shots', 'prompt_hash']


def of_study(
  frame: pd.DataFrame, workdir: str | os.PathLike[str]
) -> pd.DataFrame:
  """The results table with a column of each row's marks, item by item.

  A row has none where its outputs are not kept, where its metric is no mean
  over items, or where the outputs do not give the row's value: those are of
  another evaluation.
  """
  if not set(_ASKED) <= set(frame.columns):
    return frame
  column: list[np.ndarray | None] = [None] * len(frame)
  rows = frame.reset_index(drop=True)
  groups: Any = rows.groupby(_ASKED, sort=False)
  for asked, part in groups:
    found = list(_marks(epath.Path(workdir), *asked))
    for index, metric, value in zip(
      part.index, part['metric'], part['value'], strict=True
    ):
      column[int(index)] = next(
        (
          m
          for name, m in found
          if name == metric and np.isclose(m.mean(), value)
        ),
        None,
      )
  return frame.assign(**{COLUMN: pd.Series(column, frame.index, object)})


def _marks(
  workdir: store.Path,
  run: str,
  step: float,
  task: str,
  prompting: str,
  shots: float,
  prompt_hash: str,
) -> Iterator[tuple[str, np.ndarray]]:
  """Metrics and their marks, of every file of such outputs that can be read."""
  folder = store.answers(workdir / 'runs' / run, int(step))
  name = outputs.name(task, prompting, int(shots), prompt_hash)
  for path in sorted(folder.glob(f'{name}-*')):
    try:
      found = outputs.read(path)
    except (lzma.LZMAError, EOFError, ValueError):
      continue
    for measure in metrics.measures(found):
      if measure.items is not None:
        yield measure.metric, measure.items
