"""A plan says what cells take, from trials on the device and what follows."""

import dataclasses

import numpy as np
import pytest
import tiny_study

from research.config import BadInput
from research.study import calibration, listing, trials
from research.study.calibration import Cost, Costs
from research.study.executors import InProcess
from research.study.plan import Grid, StudyConfig, cells
from research.train import loop
from research.train.checkpoints import Checkpoints


def sizes(*shapes, batches=(4,)) -> StudyConfig:
  """A cell for each width, depth and batch."""
  designs = []
  for width, depth in shapes:
    model = dataclasses.replace(
      tiny_study.TRAIN.model, d_model=width, n_layers=depth
    )
    for batch in batches:
      designs.append(
        Grid(
          train=dataclasses.replace(
            tiny_study.TRAIN, model=model, batch_size=batch
          )
        )
      )
  return StudyConfig(
    title='Sizes',
    question='How long?',
    designs=tuple(designs),
    executor=InProcess(),
    flops_per_second=1e8,
    seconds_per_shape=5,
  )


@pytest.fixture
def kept(tmp_path, monkeypatch):
  monkeypatch.setenv('SCALING_CACHE', str(tmp_path))
  return tmp_path / 'calibration'


def test_shapes_are_tried_and_what_they_took_is_kept(kept, monkeypatch):
  study = sizes((16, 1), (32, 2))
  costs = calibration.calibrate(study)
  small, large = (costs.by_cell[cell.name] for cell in cells(study))
  assert costs.tried == 2 and small.measured and large.measured
  assert 0 < small.seconds < 10 and 0 < large.seconds < 10
  assert 0 < small.save < 10
  assert small.memory is not None and large.memory is not None
  for cell, memory in zip(
    cells(study), (small.memory, large.memory), strict=True
  ):
    state = 3 * 4 * (cell.params or 0)  # parameters and two moments
    assert state < memory < 100 * state
  assert small.memory < large.memory
  monkeypatch.setattr(InProcess, 'run', None)  # Nothing is tried again.
  assert calibration.calibrate(study) == costs
  text = listing.plan(study, costs).splitlines()
  assert text[1].endswith('memory') and text[2].endswith(' MB')
  assert 'the speed of the 2 tried here, 1 at a time' in text[-1]
  assert len(list(kept.iterdir())) == 1


def test_a_steps_memory_is_its_arguments_and_what_lies_between():
  """Against the state's size: twice the batch is more of the latter alone."""
  found = []
  for batch in (4, 8):
    cfg = dataclasses.replace(
      tiny_study.TRAIN,
      batch_size=batch,
      data=dataclasses.replace(tiny_study.DATA, corpus=trials.TEXT),
    )
    found.append(loop.memory(cfg))
  assert 3 * 4 * tiny_study.TRAIN.model.n_params < found[0]
  logits = 4 * 4 * tiny_study.TRAIN.model.seq_len * 274
  assert found[1] - found[0] >= logits


def test_what_was_not_tried_follows_from_what_was():
  """Costs that are sums of what a step handles are found again exactly."""
  shapes = [(8, 1), (16, 1), (24, 2), (32, 2), (48, 3), (64, 4), (40, 2)]
  planned = cells(sizes(*shapes, batches=(2, 6)))
  truth = np.array([1e-3, 1e-11, 0, 2e-9, 0, 3e-9])
  costs = [float(calibration._features(cell) @ truth) for cell in planned]
  known = {
    i: Cost(cost, 0.5, None, True) for i, cost in enumerate(costs) if i % 3 != 2
  }
  for i, cell in enumerate(planned):
    if i not in known:
      found = calibration._follow(planned, known, cell)
      assert found.seconds == pytest.approx(costs[i], rel=1e-6)
      assert found.memory is None and not found.measured


def test_ends_are_tried_first_then_what_lies_between():
  planned = cells(sizes((40, 1), (8, 1), (24, 1), (16, 1), (32, 1)))
  assert [planned[i].params for i in calibration._spread(planned)[:2]] in (
    [planned[1].params, planned[0].params],
    [planned[0].params, planned[1].params],
  )
  third = planned[calibration._spread(planned)[2]]
  assert third.params == planned[2].params
  assert sorted(calibration._spread(planned)) == [0, 1, 2, 3, 4]


def known_costs(study, seconds, memory=1e6, processes=1):
  cost = Cost(seconds, 0.0, memory, True)
  return Costs({c.name: cost for c in cells(study)}, processes, 1)


def test_a_studys_time_is_its_shapes_shared_out():
  """By hand: 20 steps of 1 s and 5 s a shape, three shapes on two processes."""
  study = sizes((8, 1), (16, 1), (32, 1))
  assert known_costs(study, 1.0).total(study) == 75
  assert known_costs(study, 1.0, processes=2).total(study) == 37.5
  assert known_costs(study, 1.0, processes=8).total(study) == 25


def test_a_runs_time_is_its_steps_and_its_checkpoints():
  """By hand: 20 steps of .1 s; checkpoints of 2 s after 8, 16 and 20 steps."""
  study = sizes((8, 1))
  (cell,) = cells(study)
  saving = dataclasses.replace(cell.config, checkpoints=Checkpoints(every=8))
  cell = cell._replace(config=saving)
  costs = Costs({cell.name: Cost(0.1, 2.0, None, True)}, 1, 1)
  assert costs.training(cell) == pytest.approx(8)


def test_a_study_that_takes_too_much_is_one_line():
  study = sizes((8, 1), (16, 1))
  long = known_costs(study, 3600.0)
  with pytest.raises(BadInput, match=r'max_hours=2: .* about 40 hours here'):
    calibration.check_time(study, long, 2)
  with pytest.raises(BadInput, match=r'max_hours=nan: .* about 40 hours here'):
    calibration.check_time(study, long, float('nan'))
  calibration.check_time(study, known_costs(study, 1.0), 2)
  large = known_costs(study, 1.0, memory=2.0**60)
  with pytest.raises(BadInput, match='needs 1.07e.09 GiB .* smaller model'):
    calibration.check_memory(study, large)
  calibration.check_memory(study, known_costs(study, 1.0))


def test_a_state_that_does_not_fit_is_refused_before_anything_is_tried(
  monkeypatch,
):
  study = sizes((16, 1), (32, 1))
  large = cells(study)[1]
  state = 16 * (large.params or 0)
  monkeypatch.setattr(calibration.sharding, 'memory', lambda: state)
  calibration.check_memory(study)
  monkeypatch.setattr(calibration.sharding, 'memory', lambda: state - 1)
  with pytest.raises(BadInput, match=f'cell {large.name} needs'):
    calibration.check_memory(study)


def test_a_device_on_which_nothing_can_be_tried_is_one_line(kept, monkeypatch):
  monkeypatch.setattr(calibration.sharding, 'memory', lambda: 0)
  with pytest.raises(BadInput, match='no shape of the study makes 10 steps'):
    calibration.calibrate(sizes((16, 1)))
  assert not kept.exists()


def test_a_shape_that_fails_is_named(kept):
  study = sizes((16, 1))
  model = dataclasses.replace(tiny_study.TRAIN.model, vocab_size=100)
  train = dataclasses.replace(tiny_study.TRAIN, model=model)
  study = dataclasses.replace(study, designs=(Grid(train=train),))
  with pytest.raises(BadInput, match='cell .* cannot be tried: .*vocab_size'):
    calibration.calibrate(study)
