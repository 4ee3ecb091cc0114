"""Style: one look for every figure, and figures as small, exact SVG.

Figures are made with `matplotlib.figure.Figure`, never pyplot: no backend is
chosen and nothing stays open.
"""

import contextlib
import io
import math
import re
from typing import Any

import matplotlib
from matplotlib import colors
from matplotlib.figure import Figure
import numpy as np

PALETTE = {
  'decoder': '#0072B2',
  'encoder': '#D55E00',
  'encoder_decoder': '#009E73',
  'lstm': '#CC79A7',
  'ngram': '#555555',
}
"""One colour an architecture, everywhere (after Okabe and Ito 2008)."""

SPARE = ('#E69F00', '#882255', '#56B4E9', '#999933', '#332288')
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

_SETTINGS: Any = {
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
  """`count` shades of one colour, from light to dark; one is the colour."""
  rgb = np.asarray(colors.to_rgb(base))
  stops = np.stack([1 - 0.45 * (1 - rgb), rgb, 0.42 * rgb])
  at = np.linspace(0, 2, count) if count > 1 else np.ones(1)
  channels = [np.interp(at, [0, 1, 2], stops[:, i]) for i in range(3)]
  return [colors.to_hex((r, g, b)) for r, g, b in zip(*channels, strict=True)]


def legible(tint: str) -> str:
  """The colour, darkened until text in it has a contrast of 4.5 on white."""
  rgb = np.asarray(colors.to_rgb(tint))
  while 1.05 / (_luminance(rgb) + 0.05) < 4.5:
    rgb = 0.95 * rgb
  return colors.to_hex((rgb[0], rgb[1], rgb[2]))


def _luminance(rgb: np.ndarray) -> float:
  """Relative luminance of an sRGB colour (WCAG 2.1)."""
  linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  return float(linear @ [0.2126, 0.7152, 0.0722])


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


@contextlib.contextmanager
def drawing(width: float = 10.0, height: float = 4.6):
  """A figure of the house's style, in inches; laid out as the context ends."""
  with house():
    figure = Figure(figsize=(width, height), layout='constrained')
    yield figure
    figure.draw_without_rendering()
    figure.set_layout_engine('none')


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
  text = re.sub(r'<[^>]*>', lambda tag: _short_tag(tag[0], name), text)
  text = re.sub(r' (width|height)="[^"]*pt"', '', text, count=2)
  described = f'<svg role="img" aria-label="{_attribute(description)}" '
  return text.replace('<svg ', described, 1)


def _short_tag(tag: str, name: str) -> str:
  tag = re.sub(r'-?\d+\.\d{3,}', lambda m: f'{float(m[0]):.2f}', tag)
  return re.sub(r'(id="|url\(#|href="#)', rf'\g<1>{name}-', tag)


def _attribute(text: str) -> str:
  for plain, escaped in (('&', '&amp;'), ('<', '&lt;'), ('"', '&quot;')):
    text = text.replace(plain, escaped)
  return text
