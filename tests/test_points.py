"""Points are read as they are given, or refused in one line."""

import numpy as np
import pandas as pd
import pytest
import synthetic

from research.config import BadInput
from research.scaling import points

GOOD = {'params': [1e8, 2e8], 'tokens': [1e9, 2e9], 'loss': [3.1, 2.9]}


def written(tmp_path, columns):
  path = tmp_path / 'points.csv'
  pd.DataFrame(columns).to_csv(path, index=False)
  return path


def test_flops_and_weights_have_defaults(tmp_path):
  (given,) = points.read_csv(written(tmp_path, GOOD)).values()
  np.testing.assert_array_equal(given.flops, [6e17, 2.4e18])
  np.testing.assert_array_equal(given.weight, [1, 1])
  assert np.isnan(given.budget).all()


def test_groups_are_read_apart(tmp_path):
  path = written(tmp_path, {**GOOD, 'family': ['a', 'b']})
  found = points.read_csv(path, 'family')
  assert list(found) == ['a', 'b']
  assert found['b'].params.tolist() == [2e8]


def test_a_row_of_no_group_is_refused_and_not_dropped(tmp_path):
  path = written(tmp_path, {**GOOD, 'family': ['a', None]})
  with pytest.raises(BadInput, match='row 2: family is missing'):
    points.read_csv(path, 'family')


@pytest.mark.parametrize(
  ('column', 'values', 'said'),
  [
    ('loss', [3.1, np.nan], 'row 2: loss=nan'),
    ('loss', [-3.1, 2.9], 'row 1: loss=-3.1'),
    ('loss', [np.inf, 2.9], 'row 1: loss=inf'),
    ('loss', [0.0, 2.9], 'row 1: loss=0.0'),
    ('params', ['many', 2e8], 'row 1: params=many'),
    ('weight', [1, -1], 'row 2: weight=-1'),
    ('stderr', [0.1, -0.1], 'row 2: stderr=-0.1'),
    ('flops', [1e17, 0], 'row 2: flops=0'),
    ('flops', [1e17, np.nan], 'row 2: flops=nan'),
  ],
)
def test_a_value_that_cannot_be_is_named_with_its_row(
  tmp_path, column, values, said
):
  path = written(tmp_path, {**GOOD, column: values})
  with pytest.raises(BadInput) as refused:
    points.read_csv(path)
  assert said in str(refused.value) and '\n' not in str(refused.value)


def test_an_unknown_error_is_no_error(tmp_path):
  path = written(tmp_path, {**GOOD, 'stderr': [0.1, np.nan]})
  (given,) = points.read_csv(path).values()
  np.testing.assert_array_equal(given.stderr, [0.1, np.nan])


def test_a_missing_column_is_named(tmp_path):
  path = written(tmp_path, {'param': [1e8], 'tokens': [1e9], 'loss': [3.0]})
  with pytest.raises(BadInput, match="no column 'params'"):
    points.read_csv(path)


@pytest.mark.parametrize('text', ['', 'params,tokens,loss\n', '\x00\xff'])
def test_a_file_without_points_is_refused(tmp_path, text):
  path = tmp_path / 'points.csv'
  path.write_text(text)
  with pytest.raises(BadInput):
    points.read_csv(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
  with pytest.raises(BadInput, match='is not there'):
    points.read_csv(tmp_path / 'none.csv')


def test_conventions_recount_size_and_compute():
  given = points.make([1e8], [1e9], [3.0], flops=1e18, params_non_embedding=8e7)
  assert given.counted('model') is given
  bare = given.counted('6nd_non_embedding')
  assert (bare.params[0], bare.flops[0]) == (8e7, 6 * 8e7 * 1e9)
  with pytest.raises(BadInput, match='params_non_embedding'):
    points.make([1e8], [1e9], [3.0]).counted('6nd_non_embedding')
  with pytest.raises(BadInput, match='is not known'):
    given.counted('9nd')


def test_a_study_gives_points_by_architecture():
  frame = synthetic.study(noise=0)
  found = points.from_study(frame)
  assert list(found) == list(synthetic.SURFACES)
  decoder = found['decoder']
  assert len(decoder) == 20 and len(np.unique(decoder.budget)) == 4
  expected = synthetic.loss('decoder', decoder.params, decoder.tokens)
  np.testing.assert_allclose(decoder.loss, expected)


def test_the_spread_of_repeated_cells_is_the_error_of_all():
  """Pooled over the repeated cells; a mean of three seeds has 1/√3 of it."""
  once = synthetic.study(noise=0, seeds=(0,))
  thrice = synthetic.study(noise=0.02, seeds=(0, 1, 2))
  cheap = thrice['budget'] == thrice['budget'].min()
  rest = once['budget'] != once['budget'].min()
  frame = pd.concat([thrice[cheap], once[rest]])
  decoder = points.from_study(frame)['decoder']
  own = thrice[cheap & (thrice.architecture == 'decoder')]
  own = own[(own.task == 'yardstick') & (own.domain == 'all')]
  variances = own.groupby('params')['value'].var(ddof=1)
  spread = np.sqrt(variances.mean())
  repeated = decoder.budget == decoder.budget.min()
  expected = np.where(repeated, spread / np.sqrt(3), spread)
  np.testing.assert_allclose(decoder.stderr, expected)


def test_a_study_without_repeats_has_no_errors():
  decoder = points.from_study(synthetic.study(noise=0))['decoder']
  assert np.isnan(decoder.stderr).all()
