"""IsoFLOP minima are those of closed forms, and say when they are none."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import synthetic

from research.scaling import isoflop

CURVES = {
  'centre': st.floats(1e4, 1e10),
  'curvature': st.floats(0.01, 10),
  'floor': st.floats(0.5, 5),
}


def loss_on(params, centre, curvature, floor):
  return floor + curvature * np.log(params / centre) ** 2


@given(**CURVES)
def test_a_parabola_gives_back_its_own_minimum(centre, curvature, floor):
  params = centre * np.array([0.2, 0.5, 1.3, 3.0, 7.0])
  fit = isoflop.fit(params, loss_on(params, centre, curvature, floor))
  assert fit.convex and fit.inside and fit.verdict == 'inside'
  assert fit.params == pytest.approx(centre, rel=1e-6)
  assert fit.loss == pytest.approx(floor, rel=1e-9)
  assert fit.residual < 1e-9
  assert fit(centre * 2) == pytest.approx(
    loss_on(centre * 2, centre, curvature, floor)
  )


@given(**CURVES)
def test_a_minimum_beyond_the_grid_is_told_with_its_side(
  centre, curvature, floor
):
  for factors, verdict in (
    ([1.5, 2, 4, 8], 'below the grid'),
    ([0.1, 0.2, 0.4, 0.8], 'above the grid'),
  ):
    params = centre * np.array(factors)
    fit = isoflop.fit(params, loss_on(params, centre, curvature, floor))
    assert fit.verdict == verdict and not fit.inside
    assert fit.params == pytest.approx(centre, rel=1e-6)


def test_a_concave_curve_has_no_minimum():
  params = np.array([1e3, 1e4, 1e5, 1e6])
  fit = isoflop.fit(params, loss_on(params, 3e4, -0.1, 4))
  assert (fit.params, fit.loss, fit.inside) == (None, None, False)
  assert fit.verdict == 'not convex'


def test_a_straight_line_is_no_minimum_inside():
  params = np.array([1e3, 1e4, 1e5, 1e6])
  fit = isoflop.fit(params, 5 - 0.1 * np.log(params))
  assert not fit.inside and fit.verdict != 'inside'


def test_three_points_are_met_exactly_and_leave_no_residual():
  fit = isoflop.fit([1e3, 1e4, 1e5], [3.0, 2.0, 2.5])
  np.testing.assert_allclose(fit([1e3, 1e4, 1e5]), [3.0, 2.0, 2.5])
  assert fit.residual is None


def test_two_sizes_are_too_few():
  with pytest.raises(ValueError, match='three different sizes, not 2'):
    isoflop.fit([1e3, 1e4, 1e4], [3.0, 2.0, 2.1])


def test_a_run_without_a_loss_is_left_out():
  params = np.array([1e3, 1e4, 1e5, 1e6])
  loss = loss_on(params, 3e4, 0.1, 2)
  loss[1] = np.nan
  fit = isoflop.fit(params, loss)
  assert fit.points == 3 and fit.params == pytest.approx(3e4)


def test_weights_are_inverse_squares_of_the_errors():
  rng = np.random.default_rng(0)
  params = np.geomspace(1e3, 1e6, 7)
  loss = loss_on(params, 3e4, 0.1, 2) + 0.1 * rng.standard_normal(7)
  errors = rng.uniform(0.05, 0.2, 7)
  z = np.log(params)
  expected = np.polyfit(z, loss, 2, w=1 / errors)
  fit = isoflop.fit(params, loss, errors)
  assert fit.params == pytest.approx(
    np.exp(-expected[1] / (2 * expected[0])), rel=1e-6
  )
  errors[0] = np.nan
  assert isoflop.fit(params, loss, errors) == isoflop.fit(params, loss)


def test_minima_of_a_chinchilla_surface_are_its_closed_form():
  """N* = G (C/6)^(β/(α+β)): within 5 % for sizes 2.5× apart, no noise."""
  found = isoflop.minima(synthetic.study(noise=0))
  assert len(found) == 10 and found['inside'].all()
  true = [
    synthetic.optimum(a, b)
    for a, b in zip(found['architecture'], found['budget'], strict=True)
  ]
  np.testing.assert_allclose(found['params'], true, rtol=0.05)


def test_the_parabola_nears_the_closed_form_as_the_grid_narrows():
  centre = synthetic.optimum('decoder', 1e12)
  errors = []
  for ratio in (4.0, 2.0, 1.4):
    params = centre * 1.3 * ratio ** np.linspace(-2, 2, 5)
    loss = synthetic.loss('decoder', params, 1e12 / (6 * params))
    errors.append(abs(np.log(isoflop.fit(params, loss).params / centre)))
  assert errors[0] > errors[1] > errors[2]
  assert errors[2] < 0.01


def test_minima_grow_with_compute_by_the_surface_exponent():
  found = isoflop.minima(synthetic.study(noise=0))
  found = found[found['architecture'] == 'decoder']
  slope = np.polyfit(np.log(found['budget']), np.log(found['params']), 1)[0]
  assert slope == pytest.approx(0.28 / (0.34 + 0.28), abs=0.01)


def test_baselines_have_no_isoflop_curve():
  found = isoflop.minima(synthetic.study(noise=0))
  assert set(found['architecture']) == set(synthetic.SURFACES)


def test_a_budget_with_too_few_sizes_is_a_row_that_says_so():
  frame = synthetic.study(budgets=(1e12,), count=2)
  found = isoflop.minima(frame)
  assert (found['verdict'] == 'too few sizes').all()
  assert found['params'].isna().all() and not found['inside'].any()


def test_a_missing_cell_and_unknown_errors_leave_the_rest_as_it_was():
  frame = synthetic.study(noise=0)
  decoder = frame['architecture'] == 'decoder'
  gone = decoder & (frame['budget'] == 1e12)
  gone &= frame['params'] == frame.loc[decoder, 'params'].max()
  found = isoflop.minima(frame[~gone].assign(stderr=None))
  whole = isoflop.minima(frame)
  assert found['points'].tolist() == [5, 4, 5, 5] + [5] * 6
  rest = found['points'] == 5
  np.testing.assert_array_equal(found[rest]['params'], whole[rest]['params'])


def test_of_swept_cells_the_best_stands_for_its_size():
  frame = synthetic.study(noise=0)
  worse = frame.assign(
    run=frame['run'] + '-hot',
    learning_rate=1.0,
    value=frame['value'] + 1,
  )
  both = synthetic.pd.concat([worse, frame])
  np.testing.assert_allclose(
    isoflop.minima(both)['params'], isoflop.minima(frame)['params']
  )


def test_minima_can_be_counted_without_embeddings():
  frame = synthetic.study(noise=0)
  bare = isoflop.minima(frame, size='params_non_embedding')
  np.testing.assert_allclose(
    bare['params'], 0.8 * isoflop.minima(frame)['params'], rtol=1e-3
  )
