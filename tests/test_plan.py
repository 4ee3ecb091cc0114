"""A study's designs make cells, each once, that spend what they are given."""

import dataclasses

import pytest

from configs import ladder as ladder_config
from configs import quickstart, smoke
from research.config import BadInput
from research.models.config import ModelConfig
from research.study import listing, plan
from research.study.plan import Axis, Grid, IsoFlop, StudyConfig, cells
from research.train.config import TrainConfig

TRAIN = TrainConfig(model=ModelConfig(vocab_size=288), batch_size=4)


def study(*designs):
  return StudyConfig(title='t', question='q', designs=designs)


def test_an_isoflop_grid_is_every_size_at_every_budget_and_seed():
  arm = smoke.arm('decoder')
  arm = dataclasses.replace(arm, seeds=(0, 1))
  found = {
    (c.labels['size'], c.labels['budget'], c.labels['seed'])
    for c in cells(study(arm))
  }
  sizes = {'8x1', '16x1', '24x2'}
  assert found == {(s, b, k) for s in sizes for b in (5e8, 1e9) for k in (0, 1)}


def test_only_the_budgets_that_are_named_are_repeated_over_seeds():
  arm = dataclasses.replace(
    smoke.arm('decoder'), dials=(1,), seeds=(3, 4), repeated=(5e8,)
  )
  found = [
    (c.labels['budget'], c.labels['seed'], c.config.seed)
    for c in cells(study(arm))
  ]
  assert found == [(5e8, 3, 3), (5e8, 4, 4), (1e9, 3, 3)]
  with pytest.raises(BadInput, match='repeated=7e.08 is none of the budgets'):
    dataclasses.replace(arm, repeated=(5e8, 7e8))


def test_of_a_predicted_design_the_largest_budget_waits():
  arm = quickstart.arm('decoder', (2, 3), (4e11, 1e11, 8e11, 2e11))
  design = dataclasses.replace(arm, predicted=True, seeds=(0, 1), repeated=None)
  config = study(arm, design)
  largest = {c.name for c in cells(config) if c.labels['budget'] == 8e11}
  assert {c.name for c in plan.waiting(config)} == largest
  assert len(largest) == 4 and not plan.waiting(study(arm))
  with pytest.raises(BadInput, match='predicted=True needs four budgets'):
    dataclasses.replace(design, budgets=(1e11, 2e11, 4e11))


@pytest.mark.parametrize(
  'architecture', ['decoder', 'encoder', 'encoder_decoder']
)
def test_cells_spend_their_budget_to_half_a_step(architecture):
  for cell in cells(study(quickstart.arm(architecture, (1, 3, 6), (1e11,)))):
    assert abs(cell.flops - 1e11) <= cell.config.flops_per_step / 2


def test_budgets_of_a_size_differ_only_in_what_is_traced():
  a, b = cells(study(quickstart.arm('decoder', (2,), (1e11, 2e11))))
  same = {'n_steps': 1, 'warmup_steps': 0}
  assert dataclasses.replace(a.config, **same) == dataclasses.replace(
    b.config, **same
  )
  assert plan.groups([a, b]) == [[(0, a), (1, b)]]


def test_a_grid_varies_what_its_axes_say_and_labels_it():
  axes = (
    Axis(field='learning_rate', values=(1e-3, 1e-2)),
    Axis(field='model.d_model', values=(32, 64)),
  )
  found = cells(study(Grid(train=TRAIN, axes=axes)))
  assert [
    (c.labels['learning_rate'], c.labels['model.d_model']) for c in found
  ] == [(1e-3, 32), (1e-3, 64), (1e-2, 32), (1e-2, 64)]
  assert [c.config.model.d_model for c in found] == [32, 64, 32, 64]


def test_a_grid_with_flops_gives_every_cell_the_same():
  axes = (Axis(field='batch_size', values=(2, 8)),)
  few, many = cells(study(Grid(train=TRAIN, axes=axes, flops=1e11)))
  assert few.config.n_steps == pytest.approx(4 * many.config.n_steps, abs=4)
  share = TRAIN.warmup_steps / TRAIN.n_steps
  for cell in (few, many):
    assert abs(cell.config.warmup_steps - share * cell.config.n_steps) <= 0.5


def test_a_cell_in_two_designs_is_run_once():
  grid = Grid(train=TRAIN)
  assert len(cells(study(grid, grid))) == 1


def test_names_tell_configs_apart():
  arm = quickstart.arm('decoder', (2,), (1e11, 2e11))
  names = [cell.name for cell in cells(study(arm))]
  assert len(set(names)) == 2
  assert all(name.startswith('decoder-16x1-') for name in names)


def test_an_empty_grid_is_refused():
  with pytest.raises(BadInput, match='budgets is empty'):
    quickstart.arm('decoder', (2,), ())


def test_the_quickstart_covers_what_it_promises():
  arms = [d for d in quickstart.study().designs if isinstance(d, IsoFlop)]
  full = [d for d in arms if len(d.dials) >= 5]
  found = {d.ladder.base.architecture: d for d in full}
  assert set(found) == {'decoder', 'encoder', 'encoder_decoder'}
  assert len(found['decoder'].budgets) >= 4
  assert all(len(d.budgets) >= 3 for d in full)
  assert found['decoder'].predicted
  assert all(len(d.seeds) > 1 and d.repeated for d in full)


def test_the_accelerators_ladder_reaches_from_10m_to_1b():
  arm = ladder_config.arm('decoder')
  sizes = [arm.ladder.size(dial).n_params for dial in arm.dials]
  assert 10e6 < sizes[0] < 15e6 and 1e9 < sizes[-1] < 1.5e9


def test_the_plan_names_every_cell_and_sums_its_flops():
  config = study(quickstart.arm('decoder', (1, 2), (1e11,)))
  text = listing.plan(config)
  planned = cells(config)
  assert all(cell.name in text for cell in planned)
  assert f'2 cells of 2 shapes, {sum(c.flops for c in planned):.2e}' in text
