"""Panels: the grids, axes, marks and keys that the figures share."""

from collections.abc import Iterable, Iterator, Sequence
import math
from typing import Any, cast

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import numpy as np
import pandas as pd

from research.plots import style

End = tuple[float, float, str, str]
"""Where a line ends, in data units, its name and its colour."""


def by_architecture(
  cells: pd.DataFrame,
) -> Iterator[tuple[str, pd.DataFrame]]:
  """Each architecture's cells, in order of appearance."""
  for name, group in cells.groupby('architecture', sort=False):
    yield str(name), group


def faint(axes: Axes, x, y, name: str) -> None:
  """Pale markers: cells that are not on a line."""
  look: dict[str, Any] = {'ms': 4, 'alpha': 0.3, 'mew': 0}
  axes.plot(x, y, style.marker(name), color=style.color(name), **look)


def points(axes: Axes, x, cells: pd.DataFrame, name: str, ls: str) -> None:
  """Markers with error bars, joined, in the architecture's colour."""
  axes.errorbar(
    x,
    cells['value'],
    yerr=cells['stderr'].fillna(0),
    color=style.color(name),
    marker=style.marker(name),
    ls=ls,
    ms=4.5,
    elinewidth=1.1,
    capsize=2,
  )


def end(x, y, name: str) -> End:
  """The end of an architecture's line through the series x and y."""
  tint = style.color(name)
  return float(x.iloc[-1]), float(y.iloc[-1]), style.title(name), tint


def limits(tables: Sequence[pd.DataFrame]) -> tuple[float, float]:
  """Limits of a loss axis that shows every value and its error bar."""
  values = pd.concat([table['value'] for table in tables])
  errors = pd.concat([table['stderr'] for table in tables]).fillna(0)
  return span([*(values - errors), *(values + errors)], 0.06, 1.01)


def log_axis(
  axis,
  low: float,
  high: float,
  label=style.short,
  ticks: Sequence[float] = (),
) -> None:
  """Makes an x or y axis logarithmic, with ticks a reader can name.

  Ticks stand at 1, 2, 5 within a decade, at 1, 3 within three, else at
  powers of ten.

  Args:
    axis: `axes.xaxis` or `axes.yaxis`.
    low: Smallest value shown.
    high: Largest value shown.
    label: Turns a tick's value into text.
    ticks: Where ticks stand, if not by the rule.
  """
  name = axis.axis_name
  axes = axis.axes
  getattr(axes, f'set_{name}scale')('log')
  getattr(axes, f'set_{name}lim')(low, high)
  decades = math.log10(high / low)
  steps = (1, 2, 5) if decades < 1 else (1, 3) if decades < 3 else (1,)
  first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
  rule = [s * 10.0**e for e in range(first, last + 1) for s in steps]
  ticks = [t for t in ticks or rule if low <= t <= high]
  if len(ticks) < 2:
    ticks = list(np.geomspace(low, high, 3))
  axis.set_major_locator(ticker.FixedLocator(ticks))
  axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: label(v)))
  axis.set_minor_locator(ticker.NullLocator())


def span(
  values: Iterable[float], margin: float = 0.08, least: float = 1.2
) -> tuple[float, float]:
  """Limits of a logarithmic axis around positive values.

  Args:
    values: What is shown; others than positive numbers are not.
    margin: Room on either side, as a share of the whole (in logarithms).
    least: The room is at least this factor.
  """
  finite = [v for v in values if math.isfinite(v) and v > 0]
  if not finite:
    return 1.0, 10.0
  low, high = min(finite), max(finite)
  room = max((high / low) ** margin, least)
  return low / room, high * room


def end_labels(
  axes: Axes, labels: Sequence[tuple[float, float, str, str]]
) -> None:
  """Names lines at the right edge, pushed apart where they would overlap.

  Args:
    axes: With their limits set.
    labels: (x, y, text, colour) of each line's end, in data units.
  """
  if not labels:
    return
  to_axes = axes.transData + axes.transAxes.inverted()
  ends = [(to_axes.transform((x, y)), text, c) for x, y, text, c in labels]
  ends.sort(key=lambda end: end[0][1])
  points = axes.bbox.height * 72 / axes.figure.dpi
  places = _apart([float(at[1]) for at, _, _ in ends], 11 / points)
  for (at, text, tint), place in zip(ends, places, strict=True):
    axes.plot(
      [at[0], 1.01, 1.025],
      [at[1], place, place],
      ':',
      color=style.FAINT,
      lw=0.8,
      transform=axes.transAxes,
      clip_on=False,
    )
    axes.text(
      1.03,
      place,
      text,
      color=style.legible(tint),
      va='center',
      fontsize=8.5,
      transform=axes.transAxes,
    )


def _apart(places: list[float], gap: float) -> list[float]:
  """Ascending places moved as little as needed to lie `gap` apart."""
  moved = list(places)
  for _ in range(100):
    close = False
    for i in range(len(moved) - 1):
      lack = gap - (moved[i + 1] - moved[i])
      if lack > 1e-9:
        moved[i] -= lack / 2
        moved[i + 1] += lack / 2
        close = True
    if not close:
      break
  return moved


def loss_axis(axes: Axes, limits: tuple[float, float]) -> None:
  """A logarithmic loss axis whose ticks are round numbers."""
  low, high = limits
  axes.set_yscale('log')
  axes.set_ylim(low, high)
  steps = ticker.MaxNLocator(7, steps=[1, 2, 2.5, 5, 10])
  ticks = [t for t in steps.tick_values(low, high) if low <= t <= high]
  axes.yaxis.set_major_locator(ticker.FixedLocator(ticks))
  axes.yaxis.set_major_formatter(ticker.FormatStrFormatter('%.4g'))
  axes.yaxis.set_minor_locator(ticker.NullLocator())


def rows(count: int, columns: int = 3) -> int:
  """Rows of panels that `grid` makes."""
  return max(1, math.ceil(count / columns))


def grid(
  figure: Figure, count: int, share: bool, columns: int = 3
) -> np.ndarray:
  """Axes for `count` panels, in rows of at most `columns`; spare ones off."""
  shape = rows(count, columns), max(1, min(columns, count))
  grid = figure.subplots(*shape, squeeze=False, sharey=share)
  for axes in grid.flat[count:]:
    axes.set_axis_off()
  return cast(np.ndarray, grid)


def legend(figure: Figure, names: Sequence[str]) -> None:
  """Names the architectures below the panels."""
  handles = []
  for name in names:
    tint, mark, title = style.color(name), style.marker(name), style.title(name)
    handles.append(Line2D([], [], color=tint, marker=mark, label=title))
  columns = max(1, len(names))
  figure.legend(handles=handles, loc='outside lower center', ncols=columns)


def key(figure: Figure, *marks: tuple[str, str, str]) -> None:
  """What markers mean, below the panels: (marker, fill, meaning)."""
  handles = []
  for mark, fill, text in marks:
    look: dict[str, Any] = {'mfc': fill, 'ms': 7, 'label': text}
    handles.append(Line2D([], [], color=style.INK, marker=mark, ls='', **look))
  figure.legend(handles=handles, loc='outside lower center', ncols=len(marks))
