"""Emergence plots: a task's curves under every metric, with the laws tried."""

from collections.abc import Mapping, Sequence
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
_WAYS, _MARKS = ('#56B4E9', '#0072B2', '#E69F00', '#882255'), 'os^D'


def task(verdict: Verdict, scale_label: str = 'parameters') -> Figure:
  """One panel a metric: runs, means with errors, chance, and both laws.

  Bars are one standard error over items and runs; a band marks the interval
  in which a break lies. The verdict is the title. A task that does not stand
  out of its noise is grey, with the items it would need in the title.

  Args:
    verdict: With its findings.
    scale_label: What the scale counts.
  """
  found = verdict.findings
  with style.drawing(10, 0.9 + 2.7 * panels.rows(len(found))) as figure:
    grid = panels.grid(figure, len(found), share=False)
    for axes, finding in zip(grid.flat, found, strict=False):
      _panel(axes, finding, verdict.greyed)
      axes.set_xlabel(scale_label)
    figure.suptitle(
      f'{verdict.task}: {verdict.verdict}{_dim(verdict)}',
      color=style.FAINT if verdict.greyed else style.INK,
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


def asking(
  ways: Mapping[str, Mapping[str, Curve]], losses: pd.DataFrame
) -> Figure:
  """Each task in all ways of asking, and perplexity beside it, over size.

  Args:
    ways: By task and way, the curve of one metric.
    losses: `scale` and `loss` of every model, in nats a token.
  """
  names = list(dict.fromkeys(way for task in ways.values() for way in task))
  count = len(ways) + ('loss' in losses)
  with style.drawing(10, 0.6 + 2.5 * panels.rows(count)) as figure:
    grid = iter(panels.grid(figure, count, share=False).flat)
    if 'loss' in losses:
      axes = next(grid)
      axes.plot(losses['scale'], np.exp(losses['loss']), 'o', color=style.INK)
      axes.set_title('native perplexity')
      _sized(axes, losses['scale'])
    for (task, curves), axes in zip(ways.items(), grid, strict=False):
      for way, curve in curves.items():
        _way(axes, curve, names.index(way))
      first = next(iter(curves.values()))
      if first.chance is not None:
        axes.axhline(first.chance, color=_CHANCE, ls=':', lw=1.2)
      axes.set_title(task)
      axes.set_ylabel(_label(first))
      _sized(axes, first.scale)
    handles = [
      Line2D([], [], color=_WAYS[i % 4], marker=_MARKS[i % 4], label=name)
      for i, name in enumerate(names)
    ]
    figure.legend(
      handles=handles, loc='outside lower center', ncols=max(len(names), 1)
    )
  return figure


def _way(axes: Axes, curve: Curve, number: int) -> None:
  axes.errorbar(
    # Beside each other, not on each other.
    curve.scale * (1 + 0.03 * number),
    curve.value,
    yerr=curve.error,
    color=_WAYS[number % 4],
    marker=_MARKS[number % 4],
    ms=4,
    lw=1.2,
    elinewidth=1.0,
    capsize=2,
  )


def _sized(axes: Axes, scale: Any) -> None:
  axes.set_xlabel('parameters')
  panels.log_axis(axes.xaxis, *panels.span(scale, 0.05, 1.1))


def _dim(verdict: Verdict) -> str:
  """Why a task is grey; '' for one that is not."""
  if verdict.signal is None or not verdict.greyed:
    return ''
  items = verdict.signal.items
  more = f', {items:,} items would do' if items else ''
  return f' (signal to noise {verdict.signal.ratio:.1f}{more})'


def _panel(axes: Axes, finding: Finding, grey: bool) -> None:
  curve = finding.curve
  ink = style.FAINT if grey else style.INK
  look: dict[str, Any] = {'ms': 3, 'alpha': 0.35, 'mew': 0}
  axes.plot(*curve.points.T, 'o', color=ink, **look)
  axes.errorbar(
    curve.scale,
    curve.value,
    yerr=curve.error,
    color=ink,
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
  _laws(axes, finding, grey)
  panels.log_axis(axes.xaxis, *panels.span(curve.scale, 0.05, 1.1))
  if curve.falls:
    axes.invert_xaxis()  # To the right is better, as in the other figures.
  p = f', step p = {finding.step.p_value:.2g}' if finding.step else ''
  axes.set_title(f'{_label(curve)}: {finding.verdict}{p}', fontsize=9)


def _laws(axes: Axes, finding: Finding, grey: bool) -> None:
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
      at = np.exp(-x if finding.curve.falls else x)
      axes.plot(at, law, color=style.FAINT if grey else tint, ls=ls, lw=1.4)


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
