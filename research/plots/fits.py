"""Fits: a fitted law over its points, what it leaves, and its optimum."""

import io
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from research.plots import panels, style
from research.scaling.fit import Fit
from research.scaling.laws.isoflop import IsoFlop
from research.scaling.points import at

INK = style.PALETTE['decoder']
BEST = style.PALETTE['encoder']


def figure(fits: dict[str, Fit], compute: list[float]) -> Figure:
  """A row of panels for each group.

  Loss over compute with the law at each size and its frontier (or isoFLOP
  curves and their minima); what the fit leaves; and N*(C) with its interval.
  A law that is not certified has no frontier and no N*(C) here.

  Args:
    fits: By group.
    compute: FLOPs that the frontier and N*(C) reach out to.
  """
  with style.drawing(11.5, 0.4 + 3.7 * len(fits)) as figure:
    grid = figure.subplots(len(fits), 3, squeeze=False)
    for row, (name, fit) in zip(grid, fits.items(), strict=True):
      reach = [*fit.points.flops, *compute]
      along = np.geomspace(min(reach), max(reach), 60)
      if isinstance(fit.law, IsoFlop):
        _isoflop(row[0], fit, fit.law)
      else:
        _losses(row[0], fit, along)
      _left(row[1], fit)
      _optimum(row[2], fit, along)
      label = f'{style.title(name)}\n' if name else ''
      text = textwrap.fill(fit.text, 60)
      row[0].set_title(f'{label}{text}', fontsize=7.5)
  return figure


def image(figure: Figure, suffix: str) -> bytes:
  """The figure as a file of this kind: .png, .svg or .pdf."""
  out = io.BytesIO()
  with style.house():
    figure.savefig(out, format=suffix.removeprefix('.') or 'png', dpi=150)
  return out.getvalue()


def _losses(axes: Axes, fit: Fit, along: np.ndarray) -> None:
  """Points by size over compute, the law along them, and its frontier."""
  points = fit.points
  sizes = np.unique(points.params)
  tints = style.shades(INK, len(sizes))
  for size, tint in zip(sizes, tints, strict=True):
    mine = points.take(points.params == size)
    mine = mine.take(np.argsort(mine.tokens))
    axes.plot(mine.flops, mine.loss, 'o', color=tint, ms=4, mew=0)
    if 1 < len(sizes) <= 30 and len(mine) > 1:
      tokens = np.geomspace(mine.tokens.min(), mine.tokens.max(), 40)
      ratio = np.interp(np.log(tokens), np.log(mine.tokens), np.log(mine.flops))
      line = fit.law.loss(fit.theta, at(size, tokens, flops=np.exp(ratio)))
      axes.plot(np.exp(ratio), line[0], color=tint, lw=0.9)
  best = fit.frontier(along) if fit.certificate.certified else None
  if best is not None:
    axes.fill_between(along, best.low, best.high, color=BEST, alpha=0.2, lw=0)
    axes.plot(along, best.value, '--', color=BEST, lw=1.4)
  low, high = panels.span(along, 0.04)
  panels.log_axis(axes.xaxis, low, high, style.power)
  shown = [
    *points.loss,
    *(best.low if best else []),
    *(best.value if best else []),
  ]
  panels.loss_axis(axes, panels.span(shown, 0.06, 1.01))
  axes.set_xlabel('training compute (FLOPs)')
  axes.set_ylabel('loss')


def _isoflop(axes: Axes, fit: Fit, law: IsoFlop) -> None:
  """Each budget's points, curve and minimum."""
  minima = law.minima(fit.points, fit.points.loss)
  for minimum, tint in zip(minima, style.shades(INK, len(minima)), strict=True):
    mine = fit.points.take(fit.points.budget == minimum.budget)
    x = getattr(mine, law.over)
    axes.plot(x, mine.loss, 'o', color=tint, ms=4, mew=0)
    if minimum.curve is not None:
      line = np.geomspace(x.min(), x.max(), 80)
      axes.plot(line, minimum.curve(line), color=tint, lw=1)
    if minimum.verdict == 'inside':
      look: dict[str, Any] = {'mfc': 'none', 'mec': BEST, 'ms': 8, 'mew': 1.4}
      axes.plot([getattr(minimum, law.over)], [minimum.loss], 'D', **look)
  low, high = panels.span(getattr(fit.points, law.over))
  panels.log_axis(axes.xaxis, low, high)
  panels.loss_axis(axes, panels.span(fit.points.loss, 0.06, 1.01))
  axes.set_xlabel('parameters' if law.over == 'params' else 'tokens')
  axes.set_ylabel('loss')


def _left(axes: Axes, fit: Fit) -> None:
  """What the fit leaves of each loss, in per cent."""
  points = fit.points
  fitted = fit.law.fitted(fit.solution.theta, points)
  left = 100 * (points.loss / fitted - 1)
  if not left.any():  # An envelope says nothing of single losses.
    axes.set_axis_off()
    return
  axes.axhline(0, color=style.FAINT, lw=1)
  axes.plot(points.flops, left, 'o', color=INK, ms=4, mew=0)
  low, high = panels.span(points.flops)
  panels.log_axis(axes.xaxis, low, high, style.power)
  most = max(1.15 * float(np.abs(left).max()), 0.01)
  axes.set_ylim(-most, most)
  axes.set_xlabel('training compute (FLOPs)')
  axes.set_ylabel('loss less fit (%)')
  axes.set_title('what the fit leaves', fontsize=8.5)


def _optimum(axes: Axes, fit: Fit, along: np.ndarray) -> None:
  """N*(C) with its interval, over the cells that were trained."""
  points = fit.points
  axes.plot(points.flops, points.params, 'o', color=style.FAINT, ms=3, mew=0)
  shown = [*points.params]
  rows = fit.optimum(along) if fit.certificate.certified else []
  if rows:
    best = np.array([row['params']['value'] for row in rows])
    axes.plot(along, best, color=BEST)
    shown += list(best)
    if rows[0]['params']['interval95']:
      low, high = np.array([row['params']['interval95'] for row in rows]).T
      axes.fill_between(along, low, high, color=BEST, alpha=0.2, lw=0)
    a = fit.exponents()['a']['value']
    axes.set_title(f'N* grows as C^{a:.3f}', fontsize=8.5)
  panels.log_axis(axes.xaxis, *panels.span(along, 0.04), style.power)
  panels.log_axis(axes.yaxis, *panels.span(shown))
  axes.set_xlabel('training compute (FLOPs)')
  axes.set_ylabel('parameters')
