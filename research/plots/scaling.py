"""Scaling plots: loss against compute, size and tokens, as figures.

Every function takes tables that `research.scaling` made and draws them; none
computes. A table of cells has `architecture`, `compute` (FLOPs), `params`,
`value`, `stderr` (NaN where unknown), one row a cell.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import numpy as np
import pandas as pd

from research.plots import style

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
    envelope: Those on the lower envelopes.
    baselines: Cells of the baselines; one without compute is a level line.
    label: Name and unit of `value`.
    compute_label: What is counted.
  """
  with style.drawing(10, 4.8) as figure:
    axes = figure.subplots()
    _compute_axes(axes, cells, envelope, baselines, names=True)
    axes.set_xlabel(f'training compute ({compute_label})')
    axes.set_ylabel(label)
  return figure


def against_compute_by(
  panels: Mapping[str, tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]],
  label: str = BITS,
  share: bool = True,
) -> Figure:
  """One panel of `against_compute` for each domain or architecture.

  Args:
    panels: Cells, envelope and baselines by the panel's title.
    label: Name and unit of `value`.
    share: Whether the panels have one loss axis.
  """
  columns = max(1, min(3, len(panels)))
  lines = max(1, math.ceil(len(panels) / columns))
  with style.drawing(10, 0.5 + 3.0 * lines) as figure:
    grid = figure.subplots(lines, columns, squeeze=False, sharey=share)
    values = [c['value'] for panel in panels.values() for c in panel[::2]]
    limits = _limits(pd.concat(values)) if share and values else None
    for i, (axes, (name, panel)) in enumerate(
      zip(grid.flat, panels.items(), strict=False)
    ):
      _compute_axes(axes, *panel, names=False, limits=limits)
      axes.set_title(name)
      axes.set_xlabel('training compute (model FLOPs)')
      if i % columns == 0:
        axes.set_ylabel(label)
    _blank(grid, len(panels))
    shown = dict.fromkeys(
      a for panel in panels.values() for c in panel[::2] for a in c.architecture
    )
    _legend(figure, list(shown))
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
  with style.drawing(10, 4.2) as figure:
    grid = figure.subplots(1, max(1, len(names)), squeeze=False, sharey=share)
    for axes, name in zip(grid.flat, names, strict=False):
      mine = {b: c for (a, b), c in curves.items() if a == name}
      tints = dict(
        zip(budgets, style.shades(style.color(name), len(budgets)), strict=True)
      )
      _isoflop_axes(axes, mine, tints)
      axes.set_title(style.title(name))
    grid[0, 0].set_ylabel(label)
    _blank(grid, len(names))
    handles = [
      Line2D([], [], color=style.INK, marker=m, ls='', mfc=fill, label=text)
      for m, fill, text in (
        ('d', style.INK, 'minimum inside the grid'),
        ('<', 'white', 'minimum outside the grid, on this side'),
        ('x', style.INK, 'not convex: no minimum'),
      )
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=3)
  return figure


def against_size(
  cells: pd.DataFrame, best: pd.DataFrame, label: str = BITS
) -> Figure:
  """Every cell over its size, and the best of each size joined by a line."""
  with style.drawing(10, 4.4) as figure:
    axes = figure.subplots()
    ends = []
    for name, group in cells.groupby('architecture', sort=False):
      name = str(name)
      tint, mark = style.color(name), style.marker(name)
      axes.plot(
        group['params'], group['value'], mark, color=tint, ms=4, alpha=0.3
      )
      line = best[best['architecture'] == name].sort_values('params')
      _points(axes, line['params'], line, name, ls='-')
      last = line.iloc[-1]
      ends.append((last['params'], last['value'], style.title(name), tint))
    style.log_axis(axes.xaxis, *style.span(cells['params']))
    _loss_axis(axes, _limits(cells['value']))
    style.end_labels(axes, ends)
    axes.set_xlabel('parameters (all)')
    axes.set_ylabel(label)
  return figure


def training(curves: pd.DataFrame, label: str = 'nats per token') -> Figure:
  """Training loss over compute, one line a run, one panel an architecture.

  Args:
    curves: Columns `architecture`, `run`, `params`, `compute`, `loss`; darker
      lines are larger models.
    label: Unit of the loss.
  """
  names = list(dict.fromkeys(curves['architecture']))
  columns = max(1, min(4, len(names)))
  lines = max(1, math.ceil(len(names) / columns))
  with style.drawing(10, 0.4 + 3.4 * lines) as figure:
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
      _training_axes(axes, curves[curves['architecture'] == name], name)
    for axes in grid[:, 0]:
      axes.set_ylabel(f'training loss ({label})')
    _blank(grid, len(names))
  return figure


def sweep(
  slices: Sequence[Mapping[str, Any]], field: str, label: str
) -> Figure:
  """Loss over a swept field, one line a model, one panel an architecture.

  Args:
    slices: Each with `architecture`, `name` (of the line), `values`, `losses`,
      `best` (a value) and `bracketed`.
    field: The swept field.
    label: Name and unit of the loss.
  """
  names = list(dict.fromkeys(s['architecture'] for s in slices))
  with style.drawing(10, 4.0) as figure:
    grid = figure.subplots(1, max(1, len(names)), squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
      mine = [s for s in slices if s['architecture'] == name]
      _sweep_axes(axes, mine, style.shades(style.color(name), len(mine)))
      axes.set_title(style.title(name))
      axes.set_xlabel(field.replace('_', ' '))
    grid[0, 0].set_ylabel(label)
    _blank(grid, len(names))
    handles = [
      Line2D([], [], color=style.INK, marker='o', ls='', mfc=f, label=t, ms=8)
      for f, t in (
        (style.INK, 'best, worse on both sides'),
        ('white', 'best, at an edge of the sweep'),
      )
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=2)
  return figure


def _compute_axes(axes, cells, envelope, baselines, names, limits=None):
  """Cells, envelopes and baselines over compute in one pair of axes."""
  every = pd.concat([cells['compute'], baselines['compute']])
  low, high = style.span(every)
  ends = []
  for name, group in cells.groupby('architecture', sort=False):
    mark, tint = style.marker(str(name)), style.color(str(name))
    axes.plot(
      group['compute'], group['value'], mark, color=tint, ms=4, alpha=0.25
    )
    line = envelope[envelope['architecture'] == name]
    _points(axes, line['compute'], line, str(name), ls='-')
    if len(line):
      last = line.iloc[-1]
      end = last['compute'], last['value'], style.title(str(name)), tint
      ends.append(end)
  for name, group in baselines.groupby('architecture', sort=False):
    ends.append(_baseline(axes, group, str(name), high))
  style.log_axis(axes.xaxis, low, high, style.power)
  both = pd.concat([cells['value'], baselines['value']])
  _loss_axis(axes, limits or _limits(both))
  if names:
    style.end_labels(axes, ends)


def _baseline(axes: Axes, group: pd.DataFrame, name: str, high: float):
  """A baseline's curve, or a level line from where it stands; its end."""
  tint = style.color(name)
  placed = group[group['compute'] > 0].sort_values('compute')
  best = group.loc[group['value'].idxmin()]
  if len(placed) > 1:
    _points(axes, placed['compute'], placed, name, ls='--')
    last = placed.iloc[-1]
    return last['compute'], last['value'], style.title(name), tint
  if len(placed):
    start = float(placed['compute'].iloc[0])
    _points(axes, placed['compute'], placed, name, ls='')
    axes.plot([start, high], [best['value']] * 2, '--', color=tint, lw=1.2)
  else:
    axes.axhline(best['value'], ls='--', color=tint, lw=1.2)
  return high, best['value'], style.title(name), tint


def _points(axes: Axes, x, rows: pd.DataFrame, name: str, ls: str) -> None:
  """Markers with error bars, in the architecture's colour."""
  axes.errorbar(
    x,
    rows['value'],
    yerr=rows['stderr'].fillna(0),
    color=style.color(name),
    marker=style.marker(name),
    ls=ls,
    ms=5,
    elinewidth=1,
    capsize=0,
  )


def _isoflop_axes(axes: Axes, curves, tints) -> None:
  sizes = pd.concat([points['params'] for points, _ in curves.values()])
  low, high = style.span(sizes, 0.06)
  ends = []
  for budget, (points, parabola) in curves.items():
    tint = tints[budget]
    axes.errorbar(
      points['params'],
      points['value'],
      yerr=points['stderr'].fillna(0),
      color=tint,
      marker='o',
      ms=4,
      ls='' if parabola else ':',
      elinewidth=0.8,
    )
    last = points.iloc[-1]
    end = last['value']
    if parabola:
      n = np.geomspace(parabola.smallest, parabola.largest, 60)
      axes.plot(n, parabola(n), color=tint)
      _mark_minimum(axes, parabola, tint)
      end = float(parabola(parabola.largest))
    ends.append((last['params'], end, style.power(budget), tint))
  style.log_axis(axes.xaxis, low, high)
  axes.yaxis.set_major_locator(ticker.MaxNLocator(7))
  style.end_labels(axes, ends)
  axes.set_xlabel('parameters (all)')


def _mark_minimum(axes: Axes, parabola, tint: str) -> None:
  """A diamond at the minimum; else a mark that says where it would lie."""
  if parabola.inside:
    n, mark, fill = parabola.params, 'd', tint
  elif parabola.convex:
    below = parabola.params <= parabola.smallest
    n = parabola.smallest if below else parabola.largest
    mark, fill = ('<' if below else '>'), 'white'
  else:
    n, mark, fill = math.sqrt(parabola.smallest * parabola.largest), 'x', tint
  loss = float(parabola(n))
  axes.plot([n], [loss], mark, color=tint, mfc=fill, ms=9, mew=1.5, zorder=5)


def _training_axes(axes: Axes, curves: pd.DataFrame, name: str) -> None:
  sizes = sorted(curves['params'].unique())
  tints = dict(
    zip(sizes, style.shades(style.color(name), len(sizes)), strict=True)
  )
  for (params, _), run in curves.groupby(['params', 'run']):
    axes.plot(run['compute'], run['loss'], color=tints[params], lw=0.9)
  handles = [
    Line2D([], [], color=tints[n], label=style.short(n)) for n in sizes
  ]
  axes.legend(handles=handles, title='parameters', loc='upper right')
  low, high = style.span(curves['compute'], 0.03)
  style.log_axis(axes.xaxis, low, high, style.power)
  axes.yaxis.set_major_locator(ticker.MaxNLocator(7))
  axes.set_title(style.title(name))
  axes.set_xlabel('training compute (model FLOPs)')


def _sweep_axes(axes: Axes, slices, tints) -> None:
  values = [v for s in slices for v in s['values']]
  ends = []
  for line, tint in zip(slices, tints, strict=True):
    axes.plot(line['values'], line['losses'], 'o-', color=tint, ms=4)
    best = list(line['values']).index(line['best'])
    axes.plot(
      [line['best']],
      [line['losses'][best]],
      'o',
      color=tint,
      ms=8,
      mew=1.5,
      mfc=tint if line['bracketed'] else 'white',
      zorder=5,
    )
    ends.append((line['values'][-1], line['losses'][-1], line['name'], tint))
  if min(values) > 0:
    style.log_axis(axes.xaxis, *style.span(values))
  axes.yaxis.set_major_locator(ticker.MaxNLocator(7))
  style.end_labels(axes, ends)


def _limits(values: pd.Series) -> tuple[float, float]:
  return style.span(values, 0.06)


def _loss_axis(axes: Axes, limits: tuple[float, float]) -> None:
  """A logarithmic loss axis whose ticks are round numbers."""
  low, high = limits
  axes.set_yscale('log')
  axes.set_ylim(low, high)
  steps = ticker.MaxNLocator(7, steps=[1, 2, 2.5, 5, 10])
  ticks = [t for t in steps.tick_values(low, high) if low <= t <= high]
  axes.yaxis.set_major_locator(ticker.FixedLocator(ticks))
  axes.yaxis.set_major_formatter(ticker.FormatStrFormatter('%.3g'))
  axes.yaxis.set_minor_locator(ticker.NullLocator())


def _blank(grid: np.ndarray, used: int) -> None:
  for axes in grid.flat[used:]:
    axes.set_axis_off()


def _legend(figure: Figure, names: Sequence[str]) -> None:
  handles = [
    Line2D(
      [],
      [],
      color=style.color(name),
      marker=style.marker(name),
      label=style.title(name),
    )
    for name in names
  ]
  figure.legend(
    handles=handles, loc='outside lower center', ncols=max(1, len(names))
  )
