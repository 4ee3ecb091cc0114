"""Blocks: what a section of the report is made of, as plain data."""

from collections.abc import Iterable, Mapping, Sequence
import math
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from research.plots import style

Facts = Mapping[Any, Any]


class Text(NamedTuple):
  """A paragraph, or a command if `kind` is `code`."""

  text: str
  kind: str = 'text'


class Picture(NamedTuple):
  """A figure and what it shows."""

  svg: Markup
  caption: str
  kind: str = 'figure'


class Row(NamedTuple):
  """A table's row; flagged ones stand out."""

  cells: tuple[str, ...]
  flag: bool = False


class Table(NamedTuple):
  """A table of text.

  Attributes:
    columns: (heading, style) pairs; the style is '' for numbers, 'text' or
      'long'.
    rows: One text a column.
    caption: Stands above.
    note: Stands below.
    groups: (heading, number of columns) that stand over the columns'
      headings.
    folded: If given, the table is folded away under this line.
  """

  columns: Sequence[tuple[str, str]]
  rows: Sequence[Row]
  caption: str = ''
  note: str = ''
  groups: Sequence[tuple[str, int]] = ()
  folded: str = ''
  kind: str = 'table'


class Section(NamedTuple):
  """A heading and what stands under it."""

  id: str
  title: str
  blocks: Sequence[Text | Picture | Table]


def picture(figure: Figure, name: str, caption: str) -> Picture:
  """A drawn figure; its caption is also what a screen reader says."""
  return Picture(Markup(style.svg(figure, name, caption)), caption)


def number(value: Any, form: str = '.3f') -> str:
  """A number as text, or a dash where there is none."""
  return '–' if missing(value) else format(float(value), form)


def missing(value: Any) -> bool:
  """Whether a table holds nothing here."""
  if value is None:
    return True
  try:
    return not math.isfinite(value)
  except TypeError:
    return False


def listed(words: Iterable[str]) -> str:
  """`a`, `a and b`, `a, b and c`."""
  *first, last = list(words)
  return f'{", ".join(first)} and {last}' if first else last


def plain(value: Any) -> str:
  """Any value as short text, or a dash where there is none."""
  if missing(value):
    return '–'
  return f'{value:g}' if isinstance(value, float) else str(value)
