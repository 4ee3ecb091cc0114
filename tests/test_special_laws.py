"""Special laws have the papers' values and exact gradients, and are found."""

import json

import numpy as np
import pandas as pd
import pytest

from research.config import BadInput
from research.scaling import fit, points
from research.scaling.laws import broken, overtrained, two_step
from research.scaling.laws.chinchilla import Chinchilla
from research.scaling.papers import muennighoff

RNG = np.random.default_rng(0)


def scattered(count=60):
  """Sizes, tokens and corpora over decades; some repeat and some do not."""
  n, d, u = (
    np.exp(RNG.uniform(np.log(low), np.log(high), count))
    for low, high in ((1e7, 1e10), (1e8, 1e12), (1e8, 1e11))
  )
  return points.make(n, d, np.full(count, 2.0), unique_tokens=u)


CASES = [
  (muennighoff.DataConstrained(), [muennighoff.coordinates()]),
  (overtrained.Overtrained(), [[4.0, 5.0, 0.5, -0.2], [6.0, 5.0, 0.1, -0.3]]),
  (
    overtrained.Overtrained(delta=None, space='linear'),
    [[4.0, 5.0, 0.5, -0.2]],
  ),
  (
    broken.Broken(),
    [[0.5, 12.0, 0.2, 0.3, 45.0, -0.5], [0.5, 8.0, 0.2, -0.1, 50.0, 0.5]],
  ),
]


@pytest.mark.parametrize(('law', 'theta'), CASES)
def test_gradients_are_those_of_central_differences(law, theta):
  theta, where, h = np.array(theta), scattered(), 1e-6
  value, gradient = law.evaluate(theta, where)
  assert value.shape == (len(theta), 60)
  for i, step in enumerate(h * np.eye(theta.shape[1])):
    above, below = (law.evaluate(theta + s, where)[0] for s in (step, -step))
    numeric = (above - below) / (2 * h)
    np.testing.assert_allclose(
      gradient[..., i], numeric, rtol=1e-6, atol=1e-7, err_msg=str(i)
    )


# Data-constrained.


def test_two_losses_are_those_of_the_authors_code():
  law, theta = muennighoff.DataConstrained(), muennighoff.coordinates()
  where = points.at([6.34e9, 8.67e9], [242e9, 178e9], unique_tokens=25e9)
  np.testing.assert_allclose(
    law.loss(theta[None], where)[0],
    [2.2256440889984477, 2.2269634075087867],
    rtol=1e-14,
  )


def test_without_repetition_or_excess_it_is_chinchillas_law():
  theta = muennighoff.coordinates()[None]
  where = points.at([1e8, 1e9], [1e11, 1e11], unique_tokens=[1e11, 1e13])
  np.testing.assert_allclose(
    muennighoff.DataConstrained().loss(theta, where),
    Chinchilla().loss(theta[:, :5], where),
    rtol=1e-14,
  )


def test_the_unique_size_is_compute_optimal_for_the_unique_tokens():
  """U_N maximises nothing else: 6 U_N U_D buys its least loss there."""
  theta = muennighoff.coordinates()[None]
  a, b, _, alpha, beta = theta[0, :5]
  g = ((alpha * np.exp(a)) / (beta * np.exp(b))) ** (1 / (alpha + beta))
  u_d = 25e9
  u_n = g * (g * u_d) ** (beta / alpha)
  sizes = u_n * np.geomspace(0.5, 2, 2001)
  loss = Chinchilla().loss(theta[:, :5], points.at(sizes, u_n * u_d / sizes))[0]
  assert sizes[loss.argmin()] == pytest.approx(u_n, rel=1e-3)
  law = muennighoff.DataConstrained()
  # Up to it parameters count in full, beyond it they saturate.
  plain, worth = (
    model.loss(t, points.at(u_n * np.array([0.99, 1.01, 9]), u_d, **more))[0]
    for model, t, more in (
      (Chinchilla(), theta[:, :5], {}),
      (law, theta, {'unique_tokens': u_d}),
    )
  )
  assert worth[0] == pytest.approx(plain[0], rel=1e-14)
  assert worth[1] > plain[1] and worth[2] > plain[2] + 1e-3


@pytest.mark.parametrize('noise', [0.0, 0.003])
def test_the_constants_come_back_from_a_surface(noise):
  where = muennighoff.surface()
  loss = where.loss * np.exp(noise * RNG.standard_normal(len(where)))
  given = points.make(
    where.params, where.tokens, loss, unique_tokens=where.unique_tokens
  )
  solution = muennighoff.DataConstrained().solve(given, 90, 0)
  assert solution.certificate.certified
  true = muennighoff.coordinates()
  allowed = 1e-9 if not noise else 0.1
  np.testing.assert_allclose(solution.theta, true, rtol=allowed)


def test_fresh_tokens_alone_do_not_tell_what_repeated_ones_are_worth():
  where = muennighoff.surface()
  fresh = where.take(where.tokens <= where.unique_tokens)
  solution = muennighoff.DataConstrained().solve(fresh, 90, 0)
  assert not solution.certificate.certified


# Over-trained.


def test_an_overtrained_line_is_straight_in_compute():
  """At fixed M, L − E is a power of C with exponent c/2 (their eq. 4)."""
  law = overtrained.Overtrained()
  theta = np.array([[5.0, 6.0, 0.6, -0.27]])
  for m in (5, 20, 640):
    n = np.geomspace(1e7, 1e10, 9)
    excess = law.loss(theta, points.at(n, m * n))[0] - np.exp(0.6)
    c = 6 * m * n**2
    a, b, eta = np.exp(5), np.exp(6), 0.27
    expected = (a * (6 * m) ** (eta / 2) + b * m ** (-eta / 2)) * c ** (
      -eta / 2
    )
    np.testing.assert_allclose(excess, expected, rtol=1e-12)


@pytest.mark.parametrize('how', [{}, {'delta': None, 'space': 'linear'}])
def test_an_overtrained_surface_is_recovered(how):
  law, true = overtrained.Overtrained(**how), np.array([5.0, 6.0, 0.6, -0.27])
  n, m = (
    axis.ravel()
    for axis in np.meshgrid(np.geomspace(1e7, 1e9, 4), [5, 20, 320])
  )
  plain = overtrained.Overtrained()
  loss = plain.loss(true[None], points.at(n, m * n))[0]
  solution = law.solve(points.make(n, m * n, loss), 100, 0)
  assert solution.certificate.certified
  np.testing.assert_allclose(solution.theta, true, rtol=1e-6)


def test_the_error_law_gives_back_its_own_constants():
  loss = np.linspace(2.4, 5, 7)
  error = 0.857 - 2.2 * np.exp(-0.71 * loss)
  np.testing.assert_allclose(
    overtrained.downstream(loss, error), (0.857, 2.2, 0.71), rtol=1e-5
  )


# Broken.


def broken_points(count, noise=0.0):
  c = np.geomspace(1e17, 1e23, count)
  theta = np.array([[np.log(0.5), np.log(40), 0.1, 0.25, np.log(1e20), -0.9]])
  where = points.at(c / 1e10, np.full(count, 1e10 / 6))
  loss = broken.Broken().loss(theta, where)[0]
  loss = loss * np.exp(noise * np.random.default_rng(3).standard_normal(count))
  return theta[0], points.make(where.params, where.tokens, loss)


def test_the_broken_law_is_the_papers_formula():
  theta, given = broken_points(5)
  a, b, d, f = np.exp(theta[[0, 1, 4, 5]])
  c0, c1 = theta[2:4]
  x = given.flops
  expected = a + b * x**-c0 * (1 + (x / d) ** (1 / f)) ** (-c1 * f)
  np.testing.assert_allclose(given.loss, expected, rtol=1e-12)


def test_a_broken_law_is_recovered_from_many_points_and_refused_on_few():
  theta, given = broken_points(25)
  solution = broken.Broken().solve(given, 300, 0)
  assert solution.certificate.certified
  np.testing.assert_allclose(solution.theta, theta, rtol=1e-6)
  few = broken.Broken().solve(broken_points(8)[1], 100, 0)
  assert any('needs 9' in fault for fault in few.certificate.faults)


def test_a_change_point_is_the_best_of_a_brute_search():
  x = np.geomspace(1e7, 1e10, 7)
  y = np.where(x < 3e8, 3 * (x / 3e8) ** -0.02, 3 * (x / 3e8) ** -0.2)
  found = broken.change_point(x, y)
  assert found.at == pytest.approx(3e8, rel=0.05)
  assert found.slopes == pytest.approx((-0.02, -0.2), abs=0.005)
  rng = np.random.default_rng(5)
  z = y * np.exp(0.05 * rng.standard_normal(7))
  u, v = np.log(x), np.log(z)
  least = min(
    np.sum((v - design @ np.linalg.lstsq(design, v, rcond=None)[0]) ** 2)
    for place in np.linspace(u[1], u[-2], 4001)
    for design in [np.stack([np.ones(7), u, np.maximum(u - place, 0)], axis=1)]
  )
  assert broken.change_point(x, z).squares == pytest.approx(least, rel=1e-2)


def test_p_values_of_no_break_are_even_and_of_a_break_are_small():
  x, rng, values = np.geomspace(1e7, 1e10, 8), np.random.default_rng(1), []
  for _ in range(60):
    y = 3 * (x / 1e8) ** -0.05 * np.exp(0.01 * rng.standard_normal(8))
    values.append(broken.evidence(x, y, draws=99)[1])
  # Sixty even values: three standard errors of their mean, and the share below
  # a twentieth that one in a hundred such sets exceeds.
  assert abs(np.mean(values) - 0.5) < 3 / np.sqrt(12 * 60)
  assert np.sum(np.array(values) <= 0.05) <= 7
  bent = np.where(x < 3e8, (x / 3e8) ** -0.02, (x / 3e8) ** -0.2)
  noisy = bent * np.exp(0.01 * rng.standard_normal(8))
  assert broken.evidence(x, noisy)[1] < 0.01


def test_aicc_speaks_for_a_break_where_there_are_points_enough():
  x, rng = np.geomspace(1e7, 1e10, 20), np.random.default_rng(2)
  noise = np.exp(0.01 * rng.standard_normal(20))
  bent = np.where(x < 3e8, (x / 3e8) ** -0.02, (x / 3e8) ** -0.2)
  assert broken.evidence(x, bent * noise, draws=9)[0] > 10
  assert broken.evidence(x, x**-0.05 * noise, draws=9)[0] < 5
  few = broken.evidence(x[:6], (bent * noise)[:6], draws=9)[0]
  assert few == -np.inf


def test_aicc_is_that_of_least_squares_by_hand():
  """n ln(RSS/n) + 2k + 2k(k+1)/(n−k−1), k with the variance."""
  expected = 10 * np.log(0.3 / 10) + 6 + 2 * 3 * 4 / 6
  assert broken.aicc(0.3, 10, 2) == pytest.approx(expected)
  assert broken.aicc(0.3, 4, 2) == np.inf


def test_values_that_have_no_logarithm_are_refused():
  with pytest.raises(ValueError, match='positive'):
    broken.change_point([1, 2, 3, 4], [1, 0, 1, 1])
  with pytest.raises(ValueError, match='four different'):
    broken.change_point([1, 2, 2, 3], [1, 1, 1, 1])


# Two-step.

STEP1 = np.array([np.log(20.0), np.log(60.0), np.log(0.4), 0.2, 0.22])
STEP2 = np.array([-0.65, 0.75, 9.0, 0.98])


def accuracy(loss):
  a, x0, k, b = STEP2
  return a / (1 + np.exp(-k * (loss - x0))) + b


def ladder(noise=1.0):
  """Curves of 16 runs, 50 checkpoints each."""
  rng, parts = np.random.default_rng(4), []
  for n in (1.9e8, 3.7e8, 7.6e8, 1.3e9):
    for m in (1, 2, 5, 10):
      tokens = 20 * n * m * np.linspace(0.02, 1, 50)
      loss = Chinchilla().loss(STEP1[None], points.at(n, tokens))[0]
      loss = loss * np.exp(0.003 * noise * rng.standard_normal(50))
      right = accuracy(loss) + 0.005 * noise * rng.standard_normal(50)
      rows = {'params': n, 'tokens': tokens, 'loss': loss, 'accuracy': right}
      parts.append(pd.DataFrame(rows).assign(run=f'{n:.0f}-{m}'))
  return pd.concat(parts, ignore_index=True)


def test_the_recipe_skips_a_tenth_and_averages_five():
  curves = ladder().sample(frac=1, random_state=0)
  finals, data = two_step.recipe(curves)
  run = finals['run'].iloc[0]
  mine = curves[curves['run'] == run].sort_values('tokens')
  last = mine.iloc[-5:]
  assert finals['loss'].iloc[0] == pytest.approx(last['loss'].mean())
  assert finals['tokens'].iloc[0] == mine['tokens'].iloc[-1]
  assert 'flops' not in finals
  spent = two_step.recipe(curves.assign(flops=9 * curves['tokens']))[0]
  np.testing.assert_array_equal(spent['flops'], 9 * finals['tokens'])
  loss = data.loss[data.run == 0]
  kept = mine['loss'].to_numpy()[5:]
  assert len(loss) == 45 and loss[0] == pytest.approx(kept[0])
  assert loss[2] == pytest.approx(kept[:3].mean())
  assert loss[9] == pytest.approx(kept[5:10].mean())
  assert loss[-1] == pytest.approx(last['loss'].mean())


def test_a_table_of_runs_is_read_by_the_recipe():
  curves = ladder()
  law, given = two_step.TwoStep().read(curves, 'curves')
  finals, data = two_step.recipe(curves)
  np.testing.assert_array_equal(given.loss, finals['loss'])
  np.testing.assert_array_equal(law.checkpoints.loss, data.loss)
  plain, every = two_step.TwoStep().read(curves.drop(columns='run'), 'curves')
  assert plain.checkpoints is None and len(every) == len(curves)
  assert len(Chinchilla().read(curves, 'curves')[1]) == len(curves)


def test_both_steps_are_recovered_and_predict_seven_billion():
  finals, data = two_step.recipe(ladder())
  law = two_step.TwoStep(checkpoints=data)
  given = points.from_frame(finals, 'finals')
  solution = law.solve(given, 100, 0)
  assert solution.certificate.certified
  where = points.at([7e9, 1.3e10], [4e12, 5e12])
  true = accuracy(Chinchilla().loss(STEP1[None], where)[0])
  ours = law.accuracy(solution.theta[None], where)[0]
  np.testing.assert_allclose(ours, true, atol=0.03)
  # The rival has no sigmoid, and a rise that is still to come escapes it.
  rival = two_step.direct(given, where)
  assert (np.abs(rival - true) > np.abs(ours - true)).all()


def test_without_checkpoints_the_points_serve_both_steps():
  finals, _ = two_step.recipe(ladder(noise=0))
  given = points.from_frame(finals, 'finals')
  theta = two_step.TwoStep().solve(given, 100, 0).theta
  fitted = two_step.TwoStep().accuracy(theta[None], given)[0]
  np.testing.assert_allclose(fitted, given.accuracy, atol=5e-3)


def test_resamples_of_both_steps_differ_and_spread_about_the_fit():
  finals, data = two_step.recipe(ladder())
  law = two_step.TwoStep(checkpoints=data)
  given = points.from_frame(finals, 'finals')
  theta = law.solve(given, 100, 0).theta
  rng = np.random.default_rng(0)
  loss = given.loss * np.exp(0.002 * rng.standard_normal((50, len(given))))
  samples = law.again(given, theta, loss)
  np.testing.assert_array_equal(samples, law.again(given, theta, loss))
  # The anchor (0, 1) holds b at one, its bound.
  assert (samples[:, -1] == 1).all() and theta[-1] == 1
  spread = samples[:, :-1].std(axis=0)
  middle = np.median(samples[:, :-1], axis=0)
  assert (spread > 0).all()
  assert (np.abs(middle - theta[:-1]) < 2 * spread).all()


def test_a_power_law_of_accuracy_is_met_by_the_rival():
  n = np.geomspace(1e8, 1e10, 6)
  where = points.at(n, 20 * n)
  right = np.exp(-30 * where.flops**-0.08)
  given = points.make(n, 20 * n, np.ones(6), accuracy=right)
  far = points.at([1e11], [2e12])
  expected = np.exp(-30 * far.flops**-0.08)
  np.testing.assert_allclose(two_step.direct(given, far), expected, rtol=1e-9)


def test_a_ladder_without_its_columns_is_told_which():
  with pytest.raises(BadInput, match="needs the column 'accuracy'"):
    two_step.recipe(ladder().drop(columns='accuracy'))
  curves = ladder()
  curves.loc[3, 'loss'] = np.nan
  with pytest.raises(BadInput, match='row 4: loss is missing'):
    two_step.recipe(curves)


def test_a_fit_says_what_accuracy_to_expect_and_how_surely():
  finals, data = two_step.recipe(ladder())
  given = points.from_frame(finals, 'finals')
  found = fit.fit(
    two_step.TwoStep(checkpoints=data),
    given,
    resamples=100,
    starts=100,
    held_out=False,
  )
  place = {'params': 7e9, 'tokens': 4e12}
  (entry,) = found.to_dict(at=[place])['predictions']
  true = accuracy(Chinchilla().loss(STEP1[None], points.at(**place))[0])
  low, high = entry['accuracy']['interval95']
  assert low < entry['accuracy']['value'] < high
  assert entry['accuracy']['value'] == pytest.approx(true[0], abs=0.03)
  plain = fit.fit(Chinchilla(), given, resamples=0, held_out=False)
  assert 'accuracy' not in plain.to_dict(at=[place])['predictions'][0]


@pytest.mark.parametrize(
  ('law', 'given'),
  [
    (muennighoff.DataConstrained(), muennighoff.surface()),
    (broken.Broken(), broken_points(25)[1]),
  ],
)
def test_a_special_law_is_recorded_as_any_other(law, given):
  found = fit.fit(law, given, resamples=20, starts=90, held_out=False)
  place = {'params': 1e9, 'tokens': 1e11, 'unique_tokens': 1e10}
  told = found.to_dict(compute=[1e21], at=[place])
  assert told['certified'] and told['law'] == law.name
  json.dumps(told, allow_nan=False)
  expected = law.loss(found.theta, points.at(**place))[0, 0]
  assert told['predictions'][0]['value'] == pytest.approx(expected)
  low, high = told['interval95'][next(iter(told['parameters']))]
  assert low <= high
