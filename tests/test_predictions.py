"""Predictions stand before what they are of, and never change after."""

import dataclasses
import json
import shutil

from etils import epath
import numpy as np
import pytest
import synthetic
import tiny_study

from research.study import predictions, runner, store
from research.study.executors import Event, InProcess
from research.study.plan import StudyConfig, cells, waiting

RAN = []  # names of cells, and whether predictions stood before them
BUDGETS = (1e9, 2e9, 4e9, 8e9)


@dataclasses.dataclass(frozen=True)
class Known(InProcess):
  """Cells reach what a surface says, give or take; nothing is trained.

  Attributes:
    noise: Standard deviation of ln loss.
    rise: Added to the loss of the largest budget.
    stop: Cells before Ctrl-C.
  """

  noise: float = 0.0
  rise: float = 0.0
  stop: int | None = None

  def run(self, groups, work, listen):
    for group in groups:
      for index, cell in group:
        if self.stop is not None and len(RAN) == self.stop:
          raise KeyboardInterrupt
        listen(Event(index, 'running'))
        there = (work.workdir / predictions.PREDICTIONS).exists()
        RAN.append((cell.name, there))
        store.finish(cell.folder(work.workdir), self.rows(cell))
        listen(Event(index, 'done', 1.0))

  def rows(self, cell):
    rng = np.random.default_rng(list(cell.name.encode()))
    value = synthetic.loss('decoder', cell.params, cell.tokens)
    value += self.rise * (cell.labels['budget'] == max(BUDGETS))
    value *= np.exp(self.noise * rng.standard_normal())
    common = {
      'run': cell.name,
      'architecture': 'decoder',
      **cell.labels,
      'params': cell.params,
      'params_non_embedding': cell.params,
      'tokens': cell.tokens,
      'flops': cell.flops,
      'step': 1,
      'stderr': 0.1,
    }
    measure = {'task': 'validation', 'domain': 'all', 'metric': 'loss'}
    yield common | {'task': 'training', 'domain': 'all', 'metric': 'seconds'}
    yield common | measure | {'value': float(value)}


@dataclasses.dataclass(frozen=True)
class Lost(Known):
  """As `Known`, but for the smaller budgets, whose losses are not numbers."""

  def rows(self, cell):
    late = cell.labels['budget'] == max(BUDGETS)
    lost = {} if late else {'value': None}
    return [row | lost for row in super().rows(cell)]


@pytest.fixture(scope='module')
def followed(tmp_path_factory):
  """A study whose cells follow a law: its folder, and what ran in order."""
  with pytest.MonkeyPatch.context() as patch:
    here = folder(tmp_path_factory.mktemp('followed'), patch)
    runner.run(study(Known(noise=0.002)), here, lambda event: None)
  return here, list(RAN)


@pytest.fixture
def workdir(tmp_path, monkeypatch):
  return folder(tmp_path, monkeypatch)


def folder(path, patch):
  tiny_study.write_corpus(path / 'tiny.jsonl')
  patch.setenv('SCALING_CACHE', str(path / 'cache'))
  patch.chdir(path)
  RAN.clear()
  return epath.Path(path / 'study')


def study(executor, **changes) -> StudyConfig:
  """Five sizes at four budgets, the largest to be predicted."""
  (arm, *_) = tiny_study.ladder().designs
  corpus = dataclasses.replace(arm.train.data.corpus, path='tiny.jsonl')
  data = dataclasses.replace(arm.train.data, corpus=corpus)
  fields = {'dials': (1, 2, 3, 4, 6), 'budgets': BUDGETS, 'predicted': True}
  arm = dataclasses.replace(
    arm,
    train=dataclasses.replace(arm.train, data=data),
    **(fields | changes),
  )
  return dataclasses.replace(
    tiny_study.ladder(), designs=(arm,), executor=executor
  )


def outcome(workdir):
  """What was registered of the design, and the results."""
  (design,) = predictions.read(workdir)['designs']
  return design, store.frame(workdir)


def run(config, workdir):
  runner.run(config, workdir, lambda event: None)
  return outcome(workdir)


def test_the_largest_budget_runs_last_and_after_its_prediction(followed):
  _, ran = followed
  late = {cell.name for cell in waiting(study(Known()))}
  assert len(late) == 5 and len(ran) == 20
  assert [name in late for name, _ in ran] == [False] * 15 + [True] * 5
  assert [there for _, there in ran] == [False] * 15 + [True] * 5


def test_what_follows_the_law_is_predicted(followed):
  design, frame = outcome(followed[0])
  assert design['fit']['certificate']['certified']
  rows = {row['what']: row for row in predictions.scored(design, frame)}
  for cell in design['cells']:
    true = synthetic.loss('decoder', cell['params'], cell['tokens'])
    row = rows[f'loss of {cell["size"]}']
    assert row['predicted'] == pytest.approx(true, rel=0.01)
    assert row['actual'] == pytest.approx(true, rel=0.01)
    assert row['low'] < row['predicted'] < row['high']
    assert row['hit'] == (row['low'] <= row['actual'] <= row['high'])
  assert sum(bool(row['hit']) for row in rows.values()) >= 4


def test_what_breaks_the_law_is_a_miss(followed):
  design, frame = outcome(followed[0])
  late = frame['budget'] == max(BUDGETS)
  worse = frame.assign(value=frame['value'] + 0.5 * late)
  rows = predictions.scored(design, worse)
  assert len(rows) == 7
  assert not any(row['hit'] for row in rows if row['what'].startswith('loss'))


def test_what_has_not_run_is_not_scored(followed):
  design, frame = outcome(followed[0])
  (first, *rest) = (run for cell in design['cells'] for run in cell['runs'])
  rows = predictions.scored(design, frame[~frame['run'].isin(rest)])
  assert rows[0]['hit'] is not None
  assert [row['hit'] for row in rows[1:]] == [None] * 6
  assert {row['why'] for row in rows[1:5]} == {'it has no result'}
  assert 'too few sizes' in rows[5]['why']


def test_the_file_says_when_and_from_what(followed):
  workdir, _ = followed
  text = json.loads((workdir / predictions.PREDICTIONS).read_text())
  assert text['registered'] and text['provenance']['revision']
  (design,) = text['designs']
  config = study(Known())
  late = waiting(config)
  early = [c.name for c in cells(config) if c not in late]
  assert set(design['rows']) == set(early)
  assert design['fit']['law'] == 'chinchilla'
  assert design['budget'] == max(BUDGETS)
  assert [run for cell in design['cells'] for run in cell['runs']] == [
    cell.name for cell in late
  ]


def test_rows_that_changed_afterwards_are_named(followed, tmp_path):
  workdir = epath.Path(shutil.copytree(followed[0], tmp_path / 'study'))
  config = study(Known())
  one, other = (cells(config)[i] for i in (0, 5))
  assert not predictions.read(workdir)['designs'][0]['changed']
  store.finish(one.folder(workdir), Known(noise=0.1).rows(one))
  (other.folder(workdir) / store.RESULTS).unlink()
  runner.collect(cells(config), workdir)
  design, _ = outcome(workdir)
  assert set(design['changed']) == {one.name, other.name}


def test_after_ctrl_c_the_order_holds_and_the_prediction_stays(workdir):
  with pytest.raises(KeyboardInterrupt):
    runner.run(study(Known(stop=7)), workdir, lambda event: None)
  assert not (workdir / predictions.PREDICTIONS).exists()
  with pytest.raises(KeyboardInterrupt):
    runner.run(study(Known(stop=17)), workdir, lambda event: None)
  text = (workdir / predictions.PREDICTIONS).read_text()
  design, _ = run(study(Known()), workdir)
  assert (workdir / predictions.PREDICTIONS).read_text() == text
  assert len({name for name, _ in RAN}) == len(RAN) == 20
  assert [there for _, there in RAN] == [False] * 15 + [True] * 5
  assert not design['begun'] and not design['changed']


def test_cells_that_began_before_are_named(workdir):
  config = study(Lost())
  cell = waiting(config)[1]
  store.finish(cell.folder(workdir), Known().rows(cell))
  design, _ = run(config, workdir)
  assert design['begun'] == [cell.name]


def test_without_results_the_reason_is_kept_and_the_study_goes_on(workdir):
  design, frame = run(study(Lost()), workdir)
  assert design['reason'] == 'no smaller cell has results'
  assert predictions.scored(design, frame) == []
  assert frame['run'].nunique() == 20


def test_an_uncertified_law_is_marked_and_the_study_goes_on(workdir):
  design, frame = run(study(Known(noise=0.3), dials=(2, 3)), workdir)
  certificate = design['fit']['certificate']
  assert not certificate['certified'] and certificate['faults']
  assert 'uncertified' in design['fit']['text']
  assert frame['run'].nunique() == 8


def test_seeds_of_a_size_are_predicted_and_scored_as_one(workdir):
  config = study(Known(noise=0.01), dials=(1, 2, 4), seeds=(0, 1))
  design, frame = run(config, workdir)
  assert [len(cell['runs']) for cell in design['cells']] == [2] * 3
  rows = {row['what']: row for row in predictions.scored(design, frame)}
  for cell in design['cells']:
    mine = frame[frame['run'].isin(cell['runs']) & (frame['metric'] == 'loss')]
    row = rows[f'loss of {cell["size"]}']
    assert row['actual'] == pytest.approx(mine['value'].mean())
