"""Training plots: curves over compute, and losses over a swept field."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import pandas as pd

from research.plots import panels, style


def training(curves: pd.DataFrame, label: str = 'nats per token') -> Figure:
  """Training loss over compute, one line a run, one panel an architecture.

  Args:
    curves: Columns `architecture`, `run`, `params`, `compute`, `loss`; darker
      lines are larger models.
    label: Unit of the loss.
  """
  names = list(dict.fromkeys(curves['architecture']))
  with style.drawing(10, 0.2 + 3.6 * panels.rows(len(names), 4)) as figure:
    grid = panels.grid(figure, len(names), False, 4)
    for axes, name in zip(grid.flat, names, strict=False):
      _training_axes(axes, curves.loc[curves['architecture'] == name], name)
      axes.set_title(style.title(name))
      axes.set_xlabel('training compute (model FLOPs)')
    for axes in grid[:, 0]:
      axes.set_ylabel(f'training loss, {label}')
  return figure


def sweep(
  slices: Sequence[Mapping[str, Any]], field: str, label: str
) -> Figure:
  """Loss over a swept field, one line a model, one panel an architecture.

  Args:
    slices: Each with `architecture`, `name` (of the line), `values` (numbers
      or words), `losses`, `best` (one of the values) and `bracketed`.
    field: The swept field.
    label: Name and unit of the loss.
  """
  names = list(dict.fromkeys(s['architecture'] for s in slices))
  columns = min(2, max(1, len(names)))
  with style.drawing(
    10, 0.5 + 3.9 * panels.rows(len(names), columns)
  ) as figure:
    grid = panels.grid(figure, len(names), False, columns)
    for axes, name in zip(grid.flat, names, strict=False):
      _sweep_axes(axes, [s for s in slices if s['architecture'] == name], name)
      axes.set_title(style.title(name))
      axes.set_xlabel(field.replace('_', ' '))
    for axes in grid[:, 0]:
      axes.set_ylabel(label)
    panels.key(
      figure,
      ('o', style.INK, 'best, with worse values on both sides'),
      ('o', 'white', 'best, but nothing worse on one side'),
    )
  return figure


def _training_axes(axes: Axes, curves: pd.DataFrame, name: str) -> None:
  sizes = sorted(set(curves['params']))
  shades = style.shades(style.color(name), len(sizes))
  for size, shade in zip(sizes, shades, strict=True):
    mine = curves.loc[curves['params'] == size]
    for _, run in mine.groupby('run', sort=False):
      axes.plot(run['compute'], run['loss'], color=shade, lw=0.8)
  handles = [
    Line2D([], [], color=shade, label=style.short(size))
    for size, shade in zip(sizes, shades, strict=True)
  ]
  axes.legend(handles=handles, title='parameters', loc='lower left')
  low, high = panels.span(curves['compute'], 0.03, 1.1)
  panels.log_axis(axes.xaxis, low, high, style.power)
  panels.loss_axis(axes, panels.span(curves['loss'], 0.06, 1.01))


def _sweep_axes(axes: Axes, slices: Sequence[Mapping], name: str) -> None:
  words = list(dict.fromkeys(v for s in slices for v in s['values']))
  named = any(isinstance(v, str) for v in words)
  ends = []
  shades = style.shades(style.color(name), len(slices))
  for line, tint in zip(slices, shades, strict=True):
    x = [words.index(v) for v in line['values']] if named else line['values']
    at = list(line['values']).index(line['best'])
    axes.plot(x, line['losses'], ':o' if named else '-o', color=tint, ms=4)
    fill = tint if line['bracketed'] else 'white'
    look: dict[str, Any] = {'color': tint, 'mfc': fill, 'ms': 9, 'mew': 1.5}
    axes.plot([x[at]], [line['losses'][at]], 'o', zorder=5, **look)
    ends.append((x[-1], line['losses'][-1], line['name'], tint))
  if named:
    axes.set_xticks(range(len(words)), [str(word) for word in words])
    axes.set_xlim(-0.3, len(words) - 0.7)
  elif min(words) > 0:
    ticks = words if len(words) < 9 else ()
    low, high = panels.span(words)
    panels.log_axis(axes.xaxis, low, high, '{:.3g}'.format, ticks)
  losses = [loss for line in slices for loss in line['losses']]
  panels.loss_axis(axes, panels.span(losses, 0.1, 1.01))
  panels.end_labels(axes, ends)
