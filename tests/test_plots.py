"""Figures are labelled, coloured alike, and small SVG that a page can hold."""

import itertools
import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colors
from matplotlib.figure import Figure
import numpy as np
import pandas as pd
import pytest
import synthetic

from research.plots import panels, scaling, style, training
from research.scaling import frontier, isoflop
from research.study import sections

# Machado et al. 2009, table 1, severity 1: linear RGB as such eyes see it.
DICHROMATS = {
  'protanopia': [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  'deuteranopia': [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
  ],
  'all cones': np.eye(3),
}


@pytest.fixture(scope='module')
def frame():
  return synthetic.study()


@pytest.fixture(scope='module')
def figures(frame):
  """Every kind of figure, drawn."""
  cells = sections.measured(frame)
  ladder, baselines = frontier.ladder(cells), frontier.baselines(cells)
  envelope = frontier.envelope(ladder)
  panel = ladder, envelope, baselines
  curves = pd.DataFrame(
    {
      'architecture': 'decoder',
      'run': 'a',
      'params': 1000.0,
      'compute': np.geomspace(1e8, 1e12, 20),
      'loss': np.geomspace(6, 2, 20),
    }
  )
  line = {
    'architecture': 'decoder',
    'name': '20k',
    'values': [0.001, 0.002, 0.004],
    'losses': [3.0, 2.5, 2.7],
    'best': 0.002,
    'bracketed': True,
  }
  return {
    'compute': scaling.against_compute(*panel),
    'domains': scaling.against_compute_by({'a': panel, 'b': panel}),
    'isoflop': scaling.isoflop(isoflop.curves(frame)),
    'size': scaling.against_size(
      ladder, frontier.best_by(ladder, 'architecture', 'params')
    ),
    'training': training.training(curves),
    'sweep': training.sweep([line], 'learning_rate', 'loss, nats per token'),
  }


def test_every_axis_says_what_it_is(figures):
  for name, figure in figures.items():
    for axes in figure.axes:
      if axes.axison:
        assert axes.get_xlabel(), name
      shared = axes.get_subplotspec().colspan.start > 0
      assert axes.get_ylabel() or shared, name


def test_losses_are_labelled_with_their_unit(figures):
  for name, figure in figures.items():
    label = figure.axes[0].get_ylabel()
    assert 'bits per byte' in label or 'nats per token' in label, name


def test_an_architecture_has_one_colour_in_every_figure(figures):
  for name in ('compute', 'domains', 'size'):
    for axes in figures[name].axes:
      drawn = {colors.to_hex(line.get_color()) for line in axes.lines}
      named = {c.lower() for c in style.PALETTE.values()}
      assert drawn <= named | {style.FAINT}


def lab(color, cones):
  """CIE 1976 L*a*b* of a colour as the given eyes see it."""
  rgb = np.array(colors.to_rgb(color))
  linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  to_xyz = np.array(
    [
      [0.4124, 0.3576, 0.1805],
      [0.2126, 0.7152, 0.0722],
      [0.0193, 0.1192, 0.9505],
    ]
  )
  seen = np.clip(np.array(cones) @ linear, 0, 1)
  xyz = to_xyz @ seen / [0.9505, 1, 1.089]
  f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
  return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize('cones', DICHROMATS.values(), ids=DICHROMATS)
def test_colours_differ_for_eyes_that_lack_a_cone(cones):
  for a, b in itertools.combinations(style.PALETTE.values(), 2):
    # A just noticeable difference is 2.3.
    assert np.linalg.norm(lab(a, cones) - lab(b, cones)) > 15


@given(st.sampled_from(list(style.PALETTE.values())), st.integers(2, 8))
def test_shades_darken_step_by_step(base, count):
  lightness = [lab(c, np.eye(3))[0] for c in style.shades(base, count)]
  assert (np.diff(lightness) < -2).all()


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_text_is_legible_in_any_colour(rgb):
  red, green, blue = colors.to_rgb(style.legible(colors.to_hex(rgb)))
  linear = [
    c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
    for c in (red, green, blue)
  ]
  luminance = np.dot(linear, [0.2126, 0.7152, 0.0722])
  assert 1.05 / (luminance + 0.05) >= 4.4  # 4.5, less the rounding to hex.


@pytest.mark.parametrize(
  'number, text',
  [
    (0, '0'),
    (950, '950'),
    (999.6, '1k'),
    (12_345, '12.3k'),
    (1e6, '1M'),
    (1.5e9, '1.5B'),
    (3e12, '3T'),
    (float('nan'), '–'),
  ],
)
def test_counts_are_short(number, text):
  assert style.short(number) == text


@pytest.mark.parametrize(
  'number, text',
  [
    (1e12, '10¹²'),
    (3e11, '3×10¹¹'),
    (9.96e11, '10¹²'),
    (1.25e-3, '1.2×10⁻³'),
    (0, '0'),
  ],
)
def test_powers_are_written_as_people_write_them(number, text):
  assert style.power(number) == text


@given(st.floats(1e-6, 1e20), st.floats(1.2, 1e9))
def test_a_log_axis_has_named_ticks_inside_its_limits(low, factor):
  axes = Figure().subplots()
  panels.log_axis(axes.xaxis, low, low * factor)
  ticks = axes.get_xticks()
  assert 2 <= len(ticks) <= 12
  assert (ticks >= low * 0.999).all() and (ticks <= low * factor * 1.001).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_labels_at_line_ends_do_not_overlap(heights):
  axes = Figure(figsize=(8, 5)).subplots()
  panels.end_labels(axes, [(1, y, f'{i}', 'C0') for i, y in enumerate(heights)])
  placed = sorted(text.get_position()[1] for text in axes.texts)
  height = axes.bbox.height * 72 / axes.figure.dpi
  assert (np.diff(placed) * height > 10).all()
  order = sorted(axes.texts, key=lambda text: text.get_position()[1])
  assert [heights[int(text.get_text())] for text in order] == sorted(heights)


def marks(axes):
  return {
    line.get_marker(): line.get_xdata()[0]
    for line in axes.lines
    if line.get_marker() in 'D<>x'
  }


@pytest.mark.parametrize(
  'factors, curvature, mark',
  [
    ([0.3, 1, 3], 0.1, 'D'),
    ([2, 4, 8], 0.1, '<'),
    ([0.1, 0.2, 0.4], 0.1, '>'),
    ([0.3, 1, 3], -0.1, 'x'),
  ],
)
def test_a_minimum_is_marked_by_where_it_lies(factors, curvature, mark):
  params = 1e5 * np.array(factors)
  loss = 3 + curvature * np.log(params / 1e5) ** 2
  points = pd.DataFrame({'params': params, 'value': loss, 'stderr': np.nan})
  curve = {('decoder', 1e12): (points, isoflop.fit(params, loss))}
  found = marks(scaling.isoflop(curve).axes[0])
  assert list(found) == [mark]
  where = {'D': 1e5, '<': min(params), '>': max(params)}
  if mark in where:
    assert found[mark] == pytest.approx(where[mark])


def test_svg_is_well_formed_and_its_ids_are_its_own(figures):
  seen = set()
  for name, figure in figures.items():
    text = style.svg(figure, name, f'About "{name}" & <more>')
    root = ElementTree.fromstring(text)
    assert root.get('aria-label') == f'About "{name}" & <more>'
    ids = {node.get('id') for node in root.iter() if node.get('id')}
    assert not ids & seen
    seen |= ids
    for used in re.findall(r'(?:href="|url\()#([^")]+)', text):
      assert used in ids


def test_svg_keeps_its_tick_labels_and_the_page_its_width(figures):
  text = style.svg(figures['sweep'], 'sweep', '')
  assert '>0.001<' in text and '>0.002<' in text
  root = ElementTree.fromstring(text)
  assert root.get('viewBox') and not root.get('width')


def test_the_same_figure_gives_the_same_svg(figures):
  drawn = [style.svg(figures['isoflop'], 'a', '') for _ in range(2)]
  assert drawn[0] == drawn[1]


def test_svg_text_is_text_and_small(figures):
  text = style.svg(figures['compute'], 'compute', '')
  assert 'n-gram</text>' in text
  assert len(text) < 100_000
