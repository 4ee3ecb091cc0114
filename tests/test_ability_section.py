"""The report tells a study's abilities, and nothing where there are none."""

import numpy as np
import pandas as pd
import synthetic

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
  assert list(abilities.abilities(synthetic.study())) == []


def test_every_task_has_its_verdict_its_curves_and_its_loss():
  _, table, *pictures = abilities.abilities(study())
  cells = [row.cells for row in table.rows]
  assert [c[:2] for c in cells] == [
    ('copy · 0', 'genuine break'),
    ('copy · 4', 'smooth'),
  ]
  assert '–' in cells[0][2] and cells[0][2] != '–' and cells[1][2] == '–'
  assert not any(row.flag for row in table.rows)
  assert len(pictures) == 3
  assert 'copy · 0: genuine break</text>' in pictures[0].svg
  assert 'exact match' in pictures[1].svg
  assert 'native loss' in pictures[2].svg
