"""Points: what a law is fitted to, one run (or evaluation of a run) each."""

from collections.abc import Mapping
import dataclasses
import os
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
import pandas as pd

from research.config import BadInput
from research.scaling import compute, frontier

REQUIRED = ('params', 'tokens', 'loss')
OPTIONAL = (
  'flops',
  'budget',
  'unique_tokens',
  'accuracy',
  'weight',
  'stderr',
  'params_non_embedding',
)
_MAY_BE_ZERO = ('accuracy', 'weight', 'stderr')


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Points:
  """Columns of one length; what is not known is NaN.

  Attributes:
    params: Parameters N, counted as the convention says.
    tokens: Training tokens D, repeated ones included.
    loss: What the law is fitted to: nats a token, or bits a byte.
    flops: Training FLOPs C; 6·params·tokens where not given.
    budget: Points of one budget make one isoFLOP curve.
    unique_tokens: Tokens that are not repetitions.
    accuracy: Share of right answers on a task.
    weight: Of each point in the objective.
    stderr: Standard error of the loss, in its unit; it widens intervals and
      does not weigh.
    params_non_embedding: Parameters without embeddings.
  """

  params: np.ndarray
  tokens: np.ndarray
  loss: np.ndarray
  flops: np.ndarray
  budget: np.ndarray
  unique_tokens: np.ndarray
  accuracy: np.ndarray
  weight: np.ndarray
  stderr: np.ndarray
  params_non_embedding: np.ndarray

  def __len__(self) -> int:
    return len(self.params)

  def take(self, which: ArrayLike) -> 'Points':
    """The points that an index or a mask chooses."""
    index = np.asarray(which)
    columns = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    return Points(**{name: column[index] for name, column in columns.items()})

  def counted(self, convention: str) -> 'Points':
    """These points, N and C counted under another convention.

    Raises:
      BadInput: There is no such convention, or a column it counts is unknown.
    """
    if convention not in compute.CONVENTIONS:
      known = ', '.join(compute.CONVENTIONS)
      raise BadInput(f'convention={convention!r} is not known; give {known}')
    rule = compute.CONVENTIONS[convention]
    if rule.size is None:
      return self
    params = getattr(self, rule.size)
    if np.isnan(params).any():
      raise BadInput(
        f'convention={convention} counts the column {rule.size}, which is not '
        'there for every point'
      )
    flops = rule.factor * params * self.tokens
    return dataclasses.replace(self, params=params, flops=flops)


def make(
  params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, **more
) -> Points:
  """Points from columns, checked.

  Args:
    params: Parameters of each.
    tokens: Training tokens of each.
    loss: Loss of each.
    **more: Other columns of `Points`; a number stands for every point.

  Raises:
    BadInput: A value is missing, not finite or out of range.
  """
  given = {'params': params, 'tokens': tokens, 'loss': loss, **more}
  columns = np.broadcast_arrays(*(np.atleast_1d(v) for v in given.values()))
  frame = pd.DataFrame(dict(zip(given, columns, strict=True)))
  return from_frame(frame, 'points')


def at(params: ArrayLike, tokens: ArrayLike, **more) -> Points:
  """Points whose loss is not known: where a law is asked for it.

  `params` and `tokens` may be [fits, n], other points for each fit.
  """
  n, d = np.broadcast_arrays(
    *(np.atleast_1d(np.asarray(x, float)) for x in (params, tokens))
  )
  columns = {'params': n, 'tokens': d, 'flops': 6 * n * d, **more}
  names = [f.name for f in dataclasses.fields(Points)]
  return Points(
    **{
      name: np.broadcast_to(
        np.asarray(columns.get(name, np.nan), float), n.shape
      )
      for name in names
    }
  )


def read_csv(
  path: str | os.PathLike[str], group: str | None = None
) -> dict[str, Points]:
  """The points of a CSV file, by the value of its column `group`.

  Raises:
    BadInput: The file is no such table; the line says what to mend.
  """
  return {name: from_frame(*t) for name, t in tables(path, group).items()}


def tables(
  path: str | os.PathLike[str], group: str | None = None
) -> dict[str, tuple[pd.DataFrame, str]]:
  """The rows of a CSV file, by its column `group`, and what to call them.

  Without `group` there is one entry, under the empty name.

  Raises:
    BadInput: The file is no table, lacks the column or a value of it.
  """
  try:
    frame = pd.read_csv(path)
  except FileNotFoundError:
    raise BadInput(f'data={path} is not there; name a CSV file') from None
  except (
    UnicodeDecodeError,
    pd.errors.ParserError,
    pd.errors.EmptyDataError,
  ) as e:
    reason = str(e).strip().splitlines()[-1]
    raise BadInput(f'data={path} is not a CSV file: {reason}') from None
  if group is None:
    return {'': (frame, f'data={path}')}
  if group not in frame:
    raise BadInput(f'group={group}: data={path} has no such column')
  absent = frame[group].isna().to_numpy()
  if absent.any():
    row = int(np.argmax(absent)) + 1
    raise BadInput(f'data={path}, row {row}: {group} is missing; give it')
  return {
    str(name): (rows, f'data={path}, {group}={name}')
    for name, rows in frame.groupby(group, sort=False)
  }


def from_study(
  frame: pd.DataFrame,
  task: str = 'yardstick',
  metric: str = 'bits_per_byte',
  domain: str = 'all',
) -> dict[str, Points]:
  """The points of a study's results table, by architecture.

  Seeds are averaged; `stderr` is their spread (`frontier.over_seeds`). The
  evaluation's own error is not in it: all cells read the same text, so it
  moves them together. Of cells that differ in a swept field the best stands
  for its size and budget. Rows whose column `fitted` is false are left out.

  Args:
    frame: A results table.
    task: Rows of this task.
    metric: And of this metric, which becomes the loss.
    domain: And of this domain.
  """
  if 'fitted' in frame:
    frame = frontier.where(frame, ~frame['fitted'].eq(False))
  rows = frontier.final(frontier.ladder(frame), task, metric, domain)
  cells = frontier.best_by(
    frontier.over_seeds(rows), 'architecture', 'budget', 'params'
  )
  return {
    str(name): from_frame(
      mine.assign(loss=mine['value'], stderr=mine['spread']),
      f'architecture={name}',
    )
    for name, mine in cells.groupby('architecture', sort=False)
  }


def from_frame(frame: pd.DataFrame, where: str) -> Points:
  """The points of a table with the columns of `Points`; others are left out.

  Args:
    frame: One row a point.
    where: What an error calls the table.

  Raises:
    BadInput: A column is missing, or a value is missing or out of range.
  """
  missing = [name for name in REQUIRED if name not in frame]
  if missing:
    raise BadInput(
      f'{where} has no column {missing[0]!r}; it needs {", ".join(REQUIRED)}'
    )
  if not len(frame):
    raise BadInput(f'{where} has no rows')
  columns = {name: _column(frame, name, where) for name in REQUIRED}
  more = {n: _column(frame, n, where) for n in OPTIONAL if n in frame}
  return Points(**_filled(columns, more))


def _filled(
  columns: Mapping[str, np.ndarray], more: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """All columns, those that were not given by their defaults."""
  unknown = np.full(len(columns['params']), np.nan)
  default = {
    **dict.fromkeys(OPTIONAL, unknown),
    'flops': 6 * columns['params'] * columns['tokens'],
    'weight': np.ones_like(unknown),
  }
  return {**default, **columns, **more}


def _column(frame: pd.DataFrame, name: str, where: str) -> np.ndarray:
  """A column as floats, refused where a value cannot be."""
  given = cast(pd.Series, frame[name])
  values = np.asarray(pd.to_numeric(given, errors='coerce'), float)
  # A default for some rows only would mix two ways of counting.
  optional = name not in (*REQUIRED, 'weight', 'flops')
  absent = np.asarray(given.isna(), bool)
  bad = ~np.isfinite(values) & ~(optional & absent)
  least = 'no less than zero' if name in _MAY_BE_ZERO else 'above zero'
  bad |= values < 0 if name in _MAY_BE_ZERO else values <= 0
  if bad.any():
    row = int(np.argmax(bad))
    raise BadInput(
      f'{where}, row {row + 1}: {name}={given.iloc[row]} must be a '
      f'finite number {least}'
    )
  return values
