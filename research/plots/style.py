"""Style: one look for every figure, and figures as small, exact SVG.

Figures are made with `matplotlib.figure.Figure`, never pyplot: no backend is
chosen and nothing stays open.
"""

from collections.abc import Iterable, Sequence
import contextlib
import io
import math
import re

import matplotlib
from matplotlib import colors, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

PALETTE = {
  'decoder': '#0072B2',
  'encoder': '#D55E00',
  'encoder_decoder': '#009E73',
  'lstm': '#AA4499',
  'ngram': '#555555',
}
"""One colour an architecture, everywhere (after Okabe and Ito 2008)."""

SPARE = ('#E69F00', '#56B4E9', '#882255', '#999933', '#332288')
"""Colours of architectures that the palette does not name."""

MARKERS = {
  'decoder': 'o',
  'encoder': 's',
  'encoder_decoder': '^',
  'lstm': 'D',
  'ngram': 'X',
}

TITLES = {
  'encoder_decoder': 'encoder-decoder',
  'lstm': 'LSTM',
  'ngram': 'n-gram',
}

INK = '#1f2328'
FAINT = '#8b949e'

_SETTINGS = {
  'font.family': 'sans-serif',
  # Verdana has DejaVu's widths, for machines that have no DejaVu.
  'font.sans-serif': ['DejaVu Sans', 'Verdana', 'Arial', 'sans-serif'],
  'font.size': 9,
  'axes.titlesize': 10,
  'axes.titleweight': 'bold',
  'axes.titlelocation': 'left',
  'axes.labelsize': 9,
  'axes.edgecolor': FAINT,
  'axes.labelcolor': INK,
  'axes.titlecolor': INK,
  'text.color': INK,
  'xtick.color': INK,
  'ytick.color': INK,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'axes.axisbelow': True,
  'grid.color': '#e6e8eb',
  'grid.linewidth': 0.6,
  'lines.linewidth': 1.6,
  'legend.frameon': False,
  'legend.fontsize': 8,
  'svg.fonttype': 'none',
  'svg.hashsalt': 'research',
  'path.simplify': True,
}


def house():
  """The context in which figures are made and drawn."""
  return matplotlib.rc_context(_SETTINGS)


def color(architecture: str) -> str:
  """The colour of an architecture, the same in every figure."""
  if architecture in PALETTE:
    return PALETTE[architecture]
  return SPARE[sum(map(ord, architecture)) % len(SPARE)]


def marker(architecture: str) -> str:
  """The marker of an architecture, for eyes that do not tell the colours."""
  return MARKERS.get(architecture, 'v')


def title(architecture: str) -> str:
  """What an architecture is called in prose."""
  return TITLES.get(architecture, architecture.replace('_', ' '))


def shades(base: str, count: int) -> list[str]:
  """`count` shades of one colour, from light to dark, all legible on white."""
  rgb = np.asarray(colors.to_rgb(base))
  light, dark = 1 - 0.42 * (1 - rgb), 0.45 * rgb
  made = []
  for t in np.linspace(0, 1, count) if count > 1 else [0.5]:
    ends = (light, rgb) if t < 0.5 else (rgb, dark)
    made.append(colors.to_hex(ends[0] + (2 * t % 1) * (ends[1] - ends[0])))
  if count > 1:
    made[-1] = colors.to_hex(dark)
  return made


def short(number: float) -> str:
  """A count in three digits or fewer: 950, 12.5k, 1.2M, 3B."""
  if not math.isfinite(number):
    return '–'
  for scale, unit in ((1e12, 'T'), (1e9, 'B'), (1e6, 'M'), (1e3, 'k')):
    if abs(number) >= 0.9995 * scale:
      return f'{number / scale:.3g}{unit}'
  return f'{number:.3g}'


def power(number: float) -> str:
  """A number as 3×10¹², for FLOPs."""
  if not math.isfinite(number):
    return '–'
  if number <= 0:
    return '0'
  exponent = math.floor(math.log10(number) + 1e-9)
  mantissa = f'{number / 10**exponent:.2g}'
  if mantissa == '10':
    mantissa, exponent = '1', exponent + 1
  digits = str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))
  return f'10{digits}' if mantissa == '1' else f'{mantissa}×10{digits}'


def log_axis(axis, low: float, high: float, label=short) -> None:
  """Makes an x or y axis logarithmic, with ticks a reader can name.

  Ticks stand at 1, 2, 5 within less than two decades, at 1, 3 within less
  than four, else at powers of ten.

  Args:
    axis: `axes.xaxis` or `axes.yaxis`.
    low: Smallest value shown.
    high: Largest value shown.
    label: Turns a tick's value into text.
  """
  name = axis.axis_name
  axes = axis.axes
  getattr(axes, f'set_{name}scale')('log')
  getattr(axes, f'set_{name}lim')(low, high)
  decades = math.log10(high / low)
  steps = (1, 2, 5) if decades < 1.9 else (1, 3) if decades < 4 else (1,)
  first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
  ticks = [s * 10.0**e for e in range(first, last + 1) for s in steps]
  ticks = [t for t in ticks if low <= t <= high]
  if len(ticks) < 2:
    ticks = list(np.geomspace(low, high, 3))
  axis.set_major_locator(ticker.FixedLocator(ticks))
  axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: label(v)))
  axis.set_minor_locator(ticker.NullLocator())


def span(values: Iterable[float], margin: float = 0.08) -> tuple[float, float]:
  """Limits of a logarithmic axis around positive values, with a margin."""
  finite = [v for v in values if math.isfinite(v) and v > 0]
  if not finite:
    return 1.0, 10.0
  low, high = min(finite), max(finite)
  room = max((high / low) ** margin, 1.1)
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
  ends = [(*to_axes.transform((x, y)), text, c) for x, y, text, c in labels]
  ends.sort(key=lambda end: end[1])
  figure = axes.get_figure()
  height = axes.get_position().height * figure.get_figheight() * 72
  places = _apart([end[1] for end in ends], 11 / height)
  for (x, y, text, c), place in zip(ends, places, strict=True):
    axes.plot(
      [x, 1.01, 1.025],
      [y, place, place],
      color=c,
      lw=0.6,
      alpha=0.6,
      transform=axes.transAxes,
      clip_on=False,
    )
    axes.text(
      1.03,
      place,
      text,
      color=c,
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


@contextlib.contextmanager
def drawing(width: float = 10.0, height: float = 4.6):
  """A figure of the house's style, in inches; drawn when the context ends."""
  with house():
    figure = Figure(figsize=(width, height), layout='constrained')
    yield figure


def svg(figure: Figure, name: str, description: str) -> str:
  """The figure as SVG to stand inside an HTML page.

  Its ids begin with `name`, so that figures of one page do not share any; its
  numbers have two decimals; its width follows the page; the same figure gives
  the same text.
  """
  out = io.StringIO()
  with house():
    figure.savefig(out, format='svg', metadata={'Date': None, 'Creator': None})
  text = out.getvalue()
  text = text[text.index('<svg') :]
  text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
  text = re.sub(r'-?\d+\.\d{3,}', lambda m: f'{float(m[0]):.2f}', text)
  text = re.sub(r'(id="|url\(#|href="#)', rf'\g<1>{name}-', text)
  text = re.sub(
    r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1>', text, count=1
  )
  described = f'<svg role="img" aria-label="{_attribute(description)}" '
  return text.replace('<svg ', described, 1)


def _attribute(text: str) -> str:
  for plain, escaped in (('&', '&amp;'), ('<', '&lt;'), ('"', '&quot;')):
    text = text.replace(plain, escaped)
  return text
