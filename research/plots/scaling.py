"""Scaling plots: loss against compute, size and tokens, as figures.

Every function takes tables that `research.scaling` made and draws them; none
computes. A table of cells has `architecture`, `compute` (FLOPs), `params`,
`value`, `stderr` (NaN where unknown), one row a cell.
"""

from collections.abc import Mapping
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np
import pandas as pd

from research.plots import panels, style

BITS = 'bits per byte'


def against_compute(
  cells: pd.DataFrame,
  envelope: pd.DataFrame,
  baselines: pd.DataFrame,
  label: str = BITS,
  compute_label: str = 'model FLOPs',
) -> Figure:
  """Every cell, each architecture's lower envelope, and the baselines.

  Args:
    cells: The ladder's cells.
    envelope: Those on the lower envelopes, in order of compute.
    baselines: Cells of the baselines; one without compute is a level line.
    label: Name and unit of `value`.
    compute_label: What is counted.
  """
  with style.drawing(10, 5.2) as figure:
    axes = figure.subplots()
    ends = _compute_axes(axes, cells, envelope, baselines)
    panels.loss_axis(axes, panels.limits([cells, baselines]))
    panels.end_labels(axes, ends)
    axes.set_xlabel(f'training compute ({compute_label})')
    axes.set_ylabel(label)
  return figure


def against_compute_by(
  tables: Mapping[str, tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]],
  label: str = BITS,
  share: bool = True,
  compute_label: str = 'model FLOPs',
) -> Figure:
  """One panel of `against_compute` for each domain or architecture.

  Args:
    tables: Cells, envelope and baselines by the panel's title.
    label: Name and unit of `value`.
    share: Whether the panels have one loss axis, and so a legend.
    compute_label: What is counted.
  """
  with style.drawing(10, 0.4 + 3.1 * panels.rows(len(tables))) as figure:
    grid = panels.grid(figure, len(tables), share)
    every = [table for panel in tables.values() for table in panel]
    for axes, (name, panel) in zip(grid.flat, tables.items(), strict=False):
      _compute_axes(axes, *panel)
      panels.loss_axis(axes, panels.limits(every if share else panel))
      axes.set_title(name)
      axes.set_xlabel(f'training compute ({compute_label})')
    for axes in grid[:, 0]:
      axes.set_ylabel(label)
    if share:
      panels.legend(
        figure, list(dict.fromkeys(pd.concat(every)['architecture']))
      )
  return figure


def isoflop(
  curves: Mapping[tuple[str, float], tuple[pd.DataFrame, Any]],
  label: str = BITS,
  share: bool = True,
) -> Figure:
  """Loss over sizes, one curve a budget, one panel an architecture.

  Args:
    curves: Points (`params`, `value`, `stderr`) and fitted parabola by
      architecture and budget, as `isoflop.curves` gives them; a parabola may
      be None.
    label: Name and unit of `value`.
    share: Whether the panels have one loss axis.
  """
  names = list(dict.fromkeys(name for name, _ in curves))
  budgets = sorted({budget for _, budget in curves})
  every = [points for points, _ in curves.values()]
  with style.drawing(10, 0.5 + 3.7 * panels.rows(len(names))) as figure:
    grid = panels.grid(figure, len(names), share)
    for axes, name in zip(grid.flat, names, strict=False):
      shades = style.shades(style.color(name), len(budgets))
      mine = {
        budget: (*curves[name, budget], shade)
        for budget, shade in zip(budgets, shades, strict=True)
        if (name, budget) in curves
      }
      ends = _isoflop_axes(axes, mine)
      mine_only = [points for points, _, _ in mine.values()]
      panels.loss_axis(axes, panels.limits(every if share else mine_only))
      panels.end_labels(axes, ends)
      axes.set_title(style.title(name))
      axes.set_xlabel('parameters (all)')
    for axes in grid[:, 0]:
      axes.set_ylabel(label)
    panels.key(
      figure,
      ('D', 'white', 'minimum inside the grid'),
      ('<', 'white', 'minimum outside the grid, on this side'),
      ('x', style.INK, 'not convex: no minimum'),
    )
  return figure


def against_size(
  cells: pd.DataFrame, best: pd.DataFrame, label: str = BITS
) -> Figure:
  """Every cell over its size, and the best of each size joined by a line.

  Args:
    cells: The ladder's cells.
    best: The best cell of each architecture and size.
    label: Name and unit of `value`.
  """
  with style.drawing(10, 4.6) as figure:
    axes = figure.subplots()
    ends = []
    for name, group in panels.by_architecture(cells):
      panels.faint(axes, group['params'], group['value'], name)
      line = best.loc[best['architecture'] == name].sort_values(by='params')
      panels.points(axes, line['params'], line, name, '-')
      ends.append(panels.end(line['params'], line['value'], name))
    panels.log_axis(axes.xaxis, *panels.span(cells['params']))
    panels.loss_axis(axes, panels.limits([cells]))
    panels.end_labels(axes, ends)
    axes.set_xlabel('parameters (all)')
    axes.set_ylabel(label)
  return figure


def _compute_axes(
  axes: Axes,
  cells: pd.DataFrame,
  envelope: pd.DataFrame,
  baselines: pd.DataFrame,
) -> list[panels.End]:
  """Cells, envelopes and baselines over compute; where the lines end."""
  low, high = panels.span([*cells['compute'], *baselines['compute']])
  panels.log_axis(axes.xaxis, low, high, style.power)
  ends = []
  for name, group in panels.by_architecture(cells):
    panels.faint(axes, group['compute'], group['value'], name)
    line = envelope.loc[envelope['architecture'] == name]
    panels.points(axes, line['compute'], line, name, '-')
    if len(line):
      ends.append(panels.end(line['compute'], line['value'], name))
  for name, group in panels.by_architecture(baselines):
    ends.append(_baseline(axes, group, name, high))
  return ends


def _baseline(
  axes: Axes, group: pd.DataFrame, name: str, high: float
) -> panels.End:
  """A baseline's curve, or a level line from where it stands; its end."""
  placed = group.loc[group['compute'] > 0].sort_values(by='compute')
  panels.points(axes, placed['compute'], placed, name, '--')
  if len(placed) > 1:
    return panels.end(placed['compute'], placed['value'], name)
  level = min(group['value'].to_list())
  left = min(placed['compute'].to_list()) if len(placed) else axes.get_xlim()[0]
  axes.plot([left, high], [level] * 2, '--', color=style.color(name), lw=1.2)
  return high, level, style.title(name), style.color(name)


def _isoflop_axes(
  axes: Axes, curves: Mapping[float, tuple]
) -> list[panels.End]:
  """Points, parabolas and minima of one architecture by budget."""
  sizes = pd.concat([points['params'] for points, _, _ in curves.values()])
  panels.log_axis(axes.xaxis, *panels.span(sizes, 0.06))
  ends = []
  for budget, (points, parabola, tint) in curves.items():
    axes.errorbar(
      points['params'],
      points['value'],
      yerr=points['stderr'].fillna(0),
      color=tint,
      marker='o',
      ms=4,
      ls='' if parabola else ':',
      elinewidth=0.9,
    )
    x, y = points[['params', 'value']].to_numpy(float)[-1]
    if parabola:
      n = np.geomspace(parabola.smallest, parabola.largest, 60)
      axes.plot(n, parabola(n), color=tint)
      _mark_minimum(axes, parabola, tint)
      y = float(parabola(x))
    ends.append((x, y, style.power(budget), tint))
  return ends


def _mark_minimum(axes: Axes, parabola, tint: str) -> None:
  """A diamond at the minimum; else a mark that says where it would lie."""
  if parabola.inside:
    n, mark = parabola.params, 'D'
  elif parabola.convex:
    below = parabola.params <= parabola.smallest
    n = parabola.smallest if below else parabola.largest
    mark = '<' if below else '>'
  else:
    n, mark = math.sqrt(parabola.smallest * parabola.largest), 'x'
  look: dict[str, Any] = {'mfc': 'none', 'mec': tint, 'ms': 10, 'mew': 1.4}
  axes.plot([n], [float(parabola(n))], mark, zorder=5, **look)
