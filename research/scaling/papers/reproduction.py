"""Reproduction: our number beside a published one, and what a figure shows."""

import dataclasses
import hashlib
import math
import pathlib
from typing import Literal

import numpy as np
import pandas as pd

from research.config import BadInput


@dataclasses.dataclass(frozen=True)
class Target:
  """One number of a paper and ours.

  Attributes:
    name: What the number is.
    ours: The number that this code finds.
    published: The paper's, or the one that theory gives.
    tolerance: The largest difference that still counts as reproduced.
  """

  name: str
  ours: float
  published: float
  tolerance: float

  @property
  def met(self) -> bool:
    """Whether ours lies within the tolerance; a NaN never does."""
    return bool(abs(self.ours - self.published) <= self.tolerance)

  @property
  def digits(self) -> tuple[str, str]:
    """Ours and the published number, as far as the tolerance can tell."""
    size = max(abs(self.ours), abs(self.published))
    told = math.isfinite(size) and size > 0 < self.tolerance
    count = math.ceil(math.log10(size / self.tolerance)) + 1 if told else 0
    count = min(max(count, 4), 17)
    return f'{self.ours:.{count}g}', f'{self.published:.{count}g}'


@dataclasses.dataclass(frozen=True)
class Series:
  """Points or a line of a figure.

  Attributes:
    label: What the legend calls it; empty for no entry.
    x: Values along x.
    y: Values along y, as many.
    kind: Markers, or a line.
    group: Series of one group share a colour; None for ink.
  """

  label: str
  x: np.ndarray
  y: np.ndarray
  kind: Literal['points', 'line']
  group: int | None = 0


@dataclasses.dataclass(frozen=True)
class Panel:
  """One pair of axes; `log` names those that are logarithmic."""

  title: str
  x: str
  y: str
  series: tuple[Series, ...]
  log: Literal['', 'x', 'y', 'xy'] = 'xy'


@dataclasses.dataclass(frozen=True)
class Reproduction:
  """What became of a paper.

  Attributes:
    source: One sentence on where the numbers come from.
    targets: Each number with its tolerance.
    panels: What the figure shows, left to right.
    notes: What a reader should know besides, a sentence each.
  """

  source: str
  targets: tuple[Target, ...]
  panels: tuple[Panel, ...]
  notes: tuple[str, ...] = ()

  @property
  def met(self) -> bool:
    """Whether every target is met."""
    return all(target.met for target in self.targets)

  def __str__(self) -> str:
    names = max(len(target.name) for target in self.targets)
    rows = [('', 'ours', 'published', 'tolerance', '')]
    rows += [
      (t.name, *t.digits, f'{t.tolerance:.2g}', 'pass' if t.met else 'FAIL')
      for t in self.targets
    ]
    width = max(len(cell) for row in rows for cell in row[1:])
    lines = [
      f'{name:{names}}' + ''.join(f'  {cell:>{width}}' for cell in cells)
      for name, *cells in rows
    ]
    table = [line.rstrip() for line in lines]
    return '\n'.join([self.source, *table, *self.notes])


CHECKED = {
  'gadre_overtraining.csv': '6d2f41141eec91d90b53f2cddc5aad14'
  '7be6d4931918266a7c54c02b8070ab71',
  'porian_isoflop_points_refinedweb.csv': '4bf50ff0f393bf7b9e2dab30f77e74e2'
  '988a392ac4622d3e4190dc3c18be3c10',
  'porian_optima_refinedweb.csv': 'a136ee19be182162ded28b34a67044dc'
  'd04b8cfa4c872a16897e25a1c53118f8',
  'pythia_evals.csv': '9a866713c1897ea3df7a6c34167c57be'
  '1d08635615c30e5a3a55b621507e35e1',
}
"""SHA-256 of the tables on which the numbers were met."""


def unlike(folder: pathlib.Path) -> list[str]:
  """The tables in `folder` that are not those of `CHECKED`."""
  return [
    name
    for name, digest in CHECKED.items()
    if (folder / name).is_file()
    and hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
  ]


def read(folder: pathlib.Path, name: str, *columns: str) -> pd.DataFrame:
  """A published table from `folder`.

  Args:
    folder: The folder that holds it.
    name: The file's name.
    *columns: Those that must be there.

  Raises:
    BadInput: The file is not there, is no table, or lacks a column.
  """
  path = folder / name
  try:
    table = pd.read_csv(path)
  except OSError:
    raise BadInput(f'data_dir={folder} holds no readable {name}') from None
  except ValueError as error:
    raise BadInput(f'{path} is no table: {error}') from None
  lacking = [column for column in columns if column not in table]
  if lacking:
    raise BadInput(f'{path} has no column {lacking[0]!r}')
  return table
