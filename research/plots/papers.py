"""Papers' plots: what a reproduction found, panel beside panel."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from research.plots import panels, style
from research.scaling.papers.reproduction import Panel, Reproduction, Series


def reproduction(found: Reproduction) -> Figure:
  """The panels of a reproduction, left to right."""
  count = len(found.panels)
  with style.drawing(5 * count + 1, 4.4) as figure:
    grid = panels.grid(figure, count, False, count)
    for axes, panel in zip(grid.flat, found.panels, strict=True):
      _draw(axes, panel)
    figure.suptitle(found.source, fontsize=9, x=0.01, ha='left')
  return figure


def _draw(axes: Axes, panel: Panel) -> None:
  groups: list[int | None] = [
    *{s.group: None for s in panel.series if s.group is not None}
  ]
  tints = dict(
    zip(groups, [*style.PALETTE.values(), *style.SPARE], strict=False)
  )
  for series in panel.series:
    _series(axes, series, tints.get(series.group, style.INK))
  for name in panel.log:
    values = [v for s in panel.series for v in np.ravel(getattr(s, name))]
    low, high = panels.span(values)
    panels.log_axis(getattr(axes, f'{name}axis'), low, high, style.power)
  axes.set_title(panel.title)
  axes.set_xlabel(panel.x)
  axes.set_ylabel(panel.y)
  if any(series.label for series in panel.series):
    axes.legend(loc='best')


def _series(axes: Axes, series: Series, tint: str) -> None:
  label = series.label or '_'
  if series.kind == 'line':
    axes.plot(series.x, series.y, color=tint, label=label, lw=1.2)
  else:
    mark = 'o' if series.group is not None else '+'
    axes.plot(series.x, series.y, mark, color=tint, label=label, ms=5)
