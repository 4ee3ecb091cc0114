"""Emergence plots: a task's curves under every metric, with the laws tried."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import numpy as np
import pandas as pd

from research.plots import panels, style
from research.scaling.emergence.curves import Curve
from research.scaling.emergence.finding import Finding
from research.scaling.emergence.verdict import Verdict

_SMOOTH, _BROKEN, _CHANCE = '#0072B2', '#D55E00', '#555555'


def task(verdict: Verdict, scale_label: str = 'parameters') -> Figure:
  """One panel a metric: runs, means with errors, chance, and both laws.

  Bars are one standard error over items and runs; a band marks the interval
  in which a break lies. The verdict is the title.

  Args:
    verdict: With its findings.
    scale_label: What the scale counts.
  """
  found = verdict.findings
  with style.drawing(10, 0.9 + 2.7 * panels.rows(len(found))) as figure:
    grid = panels.grid(figure, len(found), share=False)
    for axes, finding in zip(grid.flat, found, strict=False):
      _panel(axes, finding)
      axes.set_xlabel(scale_label)
    figure.suptitle(
      f'{verdict.task}: {verdict.verdict}',
      x=0.01,
      ha='left',
      fontweight='bold',
    )
    _key(figure)
  return figure


def against_loss(frame: pd.DataFrame, loss_label: str) -> Figure:
  """Ability against loss, one panel a task: do models of a loss do alike?

  Args:
    frame: `label` (task), `loss`, `value`, `scale` and, where there are
      several, `architecture`; one metric a task, one row a run and step.
    loss_label: Name and unit of the loss.
  """
  tasks = list(frame.groupby('label', sort=False))
  with style.drawing(10, 0.6 + 2.7 * panels.rows(len(tasks))) as figure:
    grid = panels.grid(figure, len(tasks), share=False)
    names: dict[str, None] = {}
    for axes, (label, rows) in zip(grid.flat, tasks, strict=False):
      kinds = rows.get('architecture', pd.Series('decoder', rows.index))
      for name, part in rows.groupby(kinds, sort=False):
        names[str(name)] = None
        _by_size(axes, part, str(name))
      axes.invert_xaxis()  # To the right is better, as in the other figures.
      axes.set_title(str(label))
      axes.set_xlabel(loss_label)
      axes.set_ylabel(str(rows['metric'].iloc[0]).replace('_', ' '))
    if len(names) > 1:
      panels.legend(figure, list(names))
  return figure


def _by_size(axes: Axes, rows: pd.DataFrame, name: str) -> None:
  """Points darker for larger models."""
  sizes = sorted(rows['scale'].unique())
  for tint, size in zip(
    style.shades(style.color(name), len(sizes)), sizes, strict=True
  ):
    part = rows[rows['scale'] == size]
    look: dict[str, Any] = {'ls': '', 'ms': 4, 'mew': 0, 'color': tint}
    axes.plot(part['loss'], part['value'], style.marker(name), **look)


def _panel(axes: Axes, finding: Finding) -> None:
  curve = finding.curve
  look: dict[str, Any] = {'ms': 3, 'alpha': 0.35, 'mew': 0}
  axes.plot(*curve.points.T, 'o', color=style.INK, **look)
  axes.errorbar(
    curve.scale,
    curve.value,
    yerr=curve.error,
    color=style.INK,
    marker='o',
    ls='',
    ms=4,
    elinewidth=1.1,
    capsize=2,
    zorder=3,
  )
  if curve.chance is not None:
    axes.axhline(curve.chance, color=_CHANCE, ls=':', lw=1.2)
  if finding.interval95:
    axes.axvspan(*finding.interval95, color=_BROKEN, alpha=0.12, lw=0)
  _laws(axes, finding)
  panels.log_axis(axes.xaxis, *panels.span(curve.scale, 0.05, 1.1))
  p = f', step p = {finding.step.p_value:.2g}' if finding.step else ''
  axes.set_title(f'{_label(curve)}: {finding.verdict}{p}', fontsize=9)


def _laws(axes: Axes, finding: Finding) -> None:
  """The smooth law, and the broken one where a metric breaks."""
  if finding.step is None or finding.smooth is None:
    return
  x = np.linspace(finding.curve.x[0], finding.curve.x[-1], 400)
  for test, tint, ls, shown in (
    (finding.step.small, _SMOOTH, '-', True),
    (finding.step.large, _BROKEN, '--', finding.verdict == 'break'),
  ):
    if shown:
      law = finding.smooth.at(test.weights[0], x)
      axes.plot(np.exp(x), law, color=tint, ls=ls, lw=1.4)


def _label(curve: Curve) -> str:
  name = curve.metric.name.replace('_', ' ')
  return f'log {name}' if curve.metric.logarithm else name


def _key(figure: Figure) -> None:
  """What the lines mean, below the panels."""
  lines: Sequence[tuple[str, str, str]] = (
    (_SMOOTH, '-', 'smooth law'),
    (_BROKEN, '--', 'with a step'),
    (_CHANCE, ':', 'chance'),
  )
  handles = [Line2D([], [], color=c, ls=ls, label=t) for c, ls, t in lines]
  figure.legend(handles=handles, loc='outside lower center', ncols=3)
