"""The report tells a study's abilities, and nothing where there are none."""

import numpy as np
import pandas as pd
import pytest
import synthetic

from research.plots import emergence as plots
from research.plots import style
from research.scaling.emergence import simulate
from research.study import abilities


def study():
  """A results table with a task that breaks, in two shots."""
  rng = np.random.default_rng(0)
  design = simulate.Design(seeds=2)
  x = simulate.log_scale(design, rng)
  step = 0.2 + 0.5 * (np.arange(7) > 3)
  tables = [
    simulate.table(x, p, p, design, rng, 'copy').assign(shots=shots)
    for shots, p in ((0, step), (4, np.linspace(0.3, 0.8, 7)))
  ]
  rows = pd.concat(tables)
  run = rows['model'] + '-' + rows['seed'].astype(str)
  rows = rows.assign(
    run=run, params=rows['scale'], step=100, domain='all', prompting='plain'
  )
  rows = rows.rename(columns={'n_items': 'n'}).drop(columns=['model', 'scale'])
  rows = rows.assign(architecture='decoder')
  losses = rows.drop_duplicates('run').assign(
    task='validation', metric='loss', shots=np.nan, prompting=None
  )
  losses = losses.assign(value=5 - 0.2 * np.log(losses['params']))
  return pd.concat([losses, rows], ignore_index=True)


def test_a_study_without_tasks_has_no_section_on_abilities():
  assert abilities.judged(synthetic.study()) is None
  assert list(abilities.abilities(None)) == abilities.sentences(None) == []


@pytest.fixture(scope='module')
def found():
  return abilities.judged(study())


def test_the_first_table_says_what_emerges_under_what_and_how_surely(found):
  _, table, *_ = abilities.abilities(found)
  emerges, rest = (row.cells for row in table.rows)
  assert emerges[:3] == (
    'genuine break',
    'copy · 0',
    'token_accuracy and exact_match',
  )
  sizes = found.by_size[0].broken.interval95
  assert emerges[3] == ' and '.join(map(style.short, sizes))
  assert emerges[4] == 'p ≤ 0.001; not certified: chance is not known'
  assert emerges[5] == 'genuine break'
  assert rest[:2] == ('smooth', 'copy · 4')
  (sentence,) = abilities.sentences(found)
  assert 'genuine break: 1: copy · 0 under' in sentence
  assert sentence.endswith('The rest: 1 smooth.')


def test_every_task_has_its_verdict_its_curves_and_its_loss(found):
  _, _, table, asking, *pictures = abilities.abilities(found)
  cells = [row.cells for row in table.rows]
  assert [c[:3] for c in cells] == [
    ('copy · 0', 'genuine break', 'genuine break'),
    ('copy · 4', 'smooth', 'smooth'),
  ]
  assert not any(row.flag for row in table.rows)
  assert '0 shots' in asking.svg and '4 shots' in asking.svg
  assert 'native perplexity' in asking.svg
  assert len(pictures) == 3
  assert 'copy · 0: genuine break</text>' in pictures[0].svg
  assert 'It jumps in loss, too' in pictures[0].caption
  assert 'native loss' in pictures[2].svg


def test_a_task_in_the_noise_is_grey_with_the_items_it_needs():
  rng = np.random.default_rng(0)
  design = simulate.Design(items=50)
  flat = np.linspace(0.5, 0.53, design.sizes)
  frame = simulate.table(
    simulate.log_scale(design, rng), flat, flat, design, rng
  )
  dim = simulate.said(frame, 0)
  assert dim.greyed and dim.signal.items > 50
  figure = plots.task(dim)
  title = figure.get_suptitle()
  assert f'{dim.signal.items:,} items would do' in title
  inks = {line.get_color() for line in figure.axes[0].lines}
  assert style.FAINT in inks and style.INK not in inks
