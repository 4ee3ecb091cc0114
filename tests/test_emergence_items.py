"""Items that all models read are drawn for all of them at once."""

import numpy as np
import pandas as pd
import pytest

from research.evals import metrics, outputs
from research.scaling.emergence import (
  curves,
  finding,
  items,
  laws,
  scores,
  simulate,
)
from research.study import items as stored
from research.study import store


def marks(rng, n=150):
  """Part marks of three models that find the same items hard, [n, 3]."""
  hard = rng.uniform(size=(n, 1))
  return (0.7 * hard + 0.3 * rng.uniform(size=(n, 3))) ** [1, 2, 3]


SEEDS = {'scale': [1e4, 1e4, 1e6], 'seed': [0, 1, 0]}
"""Three runs of two sizes."""


def by_size(right):
  """The mean marks of the two sizes."""
  return np.stack([right[:, :2].mean(axis=1), right[:, 2]], axis=1)


def drawn(marks, rng, times=20_000):
  """Covariance of the mean over items that are drawn with replacement."""
  counts = rng.multinomial(
    len(marks), np.full(len(marks), 1 / len(marks)), times
  )
  return np.cov(counts @ marks / len(marks), rowvar=False)


def test_errors_and_their_likeness_are_those_of_drawing_items_anew():
  rng = np.random.default_rng(0)
  some = marks(rng)
  error, alike = items.errors(some, np.ones(3), share=False)
  covariance = drawn(some, rng)
  assert error**2 == pytest.approx(covariance.diagonal(), rel=0.05)
  whole = np.outer(error, error) * alike * (150 + 4) / 150
  above = np.triu_indices(3, 1)
  assert whole[above] == pytest.approx(covariance[above], rel=0.05)


def test_shares_have_the_error_of_agresti_and_coull():
  right = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1], [1, 0, 1]], float)
  error, alike = items.errors(right, np.ones(3), share=True)
  p = (np.array([3, 0, 4]) + 2) / 8
  assert error == pytest.approx(np.sqrt(p * (1 - p) / 8))
  # Sizes where no item differs from another have nothing in common.
  assert alike == pytest.approx(np.eye(3))


def test_sizes_that_always_agree_still_differ_by_some_error():
  right = np.tile((np.arange(100) < 60).astype(float)[:, None], 2)
  error, alike = items.errors(right, np.ones(2), share=True)
  spread = np.outer(error, error) * alike
  assert np.linalg.eigvalsh(spread).min() > 0
  apart = np.sqrt(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])
  assert 0.25 / 100 < apart < 2 / 100


def table(right, **columns):
  """A score table of one metric from marks `right` [n items, runs]."""
  n, runs = right.shape
  frame = pd.DataFrame(
    {
      'model': [f'm{i}' for i in range(runs)],
      'scale': np.geomspace(1e4, 1e6, runs),
      'task': 'task',
      'metric': 'token_accuracy',
      'value': right.mean(axis=0),
      'stderr': right.std(axis=0, ddof=1) / np.sqrt(n),
      'n_items': n,
      items.COLUMN: list(right.T),
      **columns,
    }
  )
  return scores.tidy(frame)


def curve(*args, **columns):
  ((_, (only,)),) = curves.curves(table(*args, **columns))
  return only


def test_a_curve_knows_what_its_sizes_share_if_all_read_the_same_items():
  some = marks(np.random.default_rng(0))
  found = curve(some, **SEEDS)
  error, alike = items.errors(by_size(some), np.ones(2), share=False)
  assert found.errors == 'items'
  assert found.item == pytest.approx(error)
  assert found.likeness == pytest.approx(alike)
  runs = np.diag(found.deviation**2 / np.array([2, 1]))
  whole = np.outer(error, error) * alike + runs
  assert found.covariance == pytest.approx(whole)
  assert found.root @ found.root.T == pytest.approx(whole)
  for other in (
    curve(some, **SEEDS, prompt_hash=['a', 'a', 'b']),
    curve(some, **SEEDS, by_item=[some[:, 0], some[:, 1], None]),
    curve(some, **SEEDS, by_item=[some[:, 0], some[:, 1], some[:9, 2]]),
  ):
    assert other.errors == 'stated' and other.likeness is None


def test_one_run_a_size_keeps_the_errors_of_each_size_by_itself():
  some = marks(np.random.default_rng(0))
  found = curve(some)
  assert found.errors == 'stated' and found.likeness is None
  assert found.item == pytest.approx(some.std(axis=0, ddof=1) / np.sqrt(150))


def test_laws_are_fitted_by_generalised_least_squares():
  rng = np.random.default_rng(0)
  x, y = np.arange(6.0), rng.normal(size=6)
  mixed = rng.normal(size=(6, 6))
  covariance = mixed @ mixed.T + np.eye(6)
  design = np.stack([np.ones(6), x], axis=1)
  inverse = np.linalg.inv(covariance)
  weights = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ y)
  residual = y - design @ weights
  fit = laws.line(x, np.linalg.cholesky(covariance)).fit(y[None])
  assert fit.weights[0] == pytest.approx(weights)
  assert fit.rss[0] == pytest.approx(residual @ inverse @ residual)
  assert fit.fitted[0] == pytest.approx(design @ weights)


def test_a_step_among_items_that_are_hard_for_all_is_seen_by_items_alone():
  hard = np.random.default_rng(0).permutation(400) / 400
  level = np.array([0.3, 0.3, 0.3, 0.3, 0.36, 0.36, 0.36])
  right = (hard[:, None] < np.repeat(level, 2)).astype(float)
  scale = np.repeat(np.geomspace(1e4, 1e6, 7), 2)
  seeds = {'scale': scale, 'seed': np.tile([0, 1], 7)}
  said = {
    errors: finding.find(
      curve(right, **seeds, **changes), np.random.default_rng(0)
    ).verdict
    for errors, changes in (('items', {}), ('stated', {'by_item': None}))
  }
  assert said == {'items': 'break', 'stated': 'smooth'}


def test_simulated_items_that_models_share_correlate():
  shared = simulate.Design(shared=0.8, contrast=0, seeds=2, stored=True)
  rng = np.random.default_rng(0)
  half = np.full(shared.sizes, 0.5)
  frame = simulate.table(
    simulate.log_scale(shared, rng), half, None, shared, rng
  )
  for _, found in curves.curves(scores.tidy(frame)):
    for one in found:
      assert one.likeness is not None
      above = one.likeness[np.triu_indices(shared.sizes, 1)]
      # Of the rest of the items, two runs halve the variance.
      assert above.mean() == pytest.approx(0.8 / (0.8 + 0.2 / 2), abs=0.05)


def output(right):
  """What a model that is right or wrong has said, as it is kept."""
  return {
    'said': 'a' if right else 'b',
    'answer': 'a',
    'others': [],
    'choices': [],
    'said_ids': [97 + (not right)],
    'answer_ids': [97],
    'log_p': [-0.1 if right else -3.0],
    'best': [bool(right)],
    'bytes': 1,
  }


@pytest.fixture
def study(tmp_path):
  """The results of two runs, whose outputs are kept beside them."""
  rows = []
  for run, n_right in (('small', 3), ('large', 8)):
    found = [output(i < n_right) for i in range(10)]
    asked = {'task': 'copy', 'prompting': 'plain', 'shots': 0}
    folder = store.answers(tmp_path / 'runs' / run, 40)
    name = outputs.name(**asked, prompt_hash='abc')
    outputs.write(folder / f'{name}-0-0.jsonl.xz', found)
    rows += [
      {'run': run, 'step': 40, 'prompt_hash': 'abc', **asked, **m.row()}
      for m in metrics.measures(found)
    ]
  return tmp_path, pd.DataFrame(rows)


def test_a_study_gives_back_the_marks_of_every_item(study):
  workdir, frame = study
  found = stored.of_study(frame, workdir)
  exact = found[found['metric'] == 'exact_match'][items.COLUMN]
  assert [list(m) for m in exact] == [
    [1] * 3 + [0] * 7,
    [1] * 8 + [0] * 2,
  ]
  for value, kept in zip(found['value'], found[items.COLUMN], strict=True):
    assert kept.mean() == pytest.approx(value)


def test_the_marks_of_a_ratio_have_its_error(study):
  workdir, frame = study
  found = stored.of_study(frame, workdir)
  bits = found[found['metric'] == 'bits_per_byte'].iloc[0]
  error = np.std(bits[items.COLUMN], ddof=1) / np.sqrt(10)
  assert error == pytest.approx(bits['stderr'])


def test_outputs_that_are_not_of_the_row_are_not_its_marks(study):
  workdir, frame = study
  other = frame.assign(value=frame['value'] + 0.1)
  assert stored.of_study(other, workdir)[items.COLUMN].isna().all()
  moved = frame.assign(step=41)
  assert stored.of_study(moved, workdir)[items.COLUMN].isna().all()
  (path,) = (workdir / 'runs' / 'small').glob('answers/*/*')
  path.write_bytes(b'cut short')
  found = stored.of_study(frame, workdir)
  known = found.groupby('run')[items.COLUMN].apply(lambda m: m.notna().all())
  assert known.to_dict() == {'small': False, 'large': True}
