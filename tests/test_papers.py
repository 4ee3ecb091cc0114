"""What papers published comes out again, and what did not is seen to fail."""

import dataclasses
import json

import numpy as np
import pandas as pd
import published_runs
import pytest
from scipy import stats

from research.config import BadInput
from research.plots import papers
from research.scaling.papers import (
  besiroglu,
  gadre,
  hoffmann,
  kaplan,
  muennighoff,
  passuntil,
  porian,
  pythia,
  reproduction,
  schaeffer,
)
from research.scaling.papers.reproduction import Target


def check(found):
  missed = [str(t) for t in found.targets if not t.met]
  assert not missed and found.targets
  assert found.met and 'FAIL' not in str(found)


@pytest.mark.parametrize('paper', [porian, gadre, pythia])
def test_published_runs_give_the_published_numbers(paper):
  check(paper.reproduce(published_runs.folder()))


@pytest.mark.parametrize(
  'paper', [hoffmann, kaplan, muennighoff, schaeffer, passuntil]
)
def test_papers_without_runs_give_their_numbers_without_a_folder(paper):
  check(paper.reproduce(None))


def test_a_missed_number_is_shown_as_missed():
  target = Target('exponent', 0.45, 0.5146, 0.001)
  assert not target.met
  assert not dataclasses.replace(target, ours=float('nan')).met
  found = dataclasses.replace(schaeffer.reproduce(), targets=(target,))
  assert not found.met and str(found).splitlines()[2].endswith('FAIL')


def test_five_optima_agree_to_four_decimals():
  """Of figure 1; the fit is written out here, not called."""
  table = pd.read_csv(published_runs.folder() / porian.OPTIMA).dropna()
  slopes = []
  for setup in porian.EXPONENTS:
    mine = table[(table[porian._SETUP] == list(setup)).all(axis=1)]
    x, y = np.log(mine['flops']), np.log(mine['n_star'])
    w = 1 / mine['n_star_std'] ** 2
    x0, y0 = np.average(x, weights=w), np.average(y, weights=w)
    slopes.append((w * (x - x0) * (y - y0)).sum() / (w * (x - x0) ** 2).sum())
  expected = [0.8353, 0.7065, 0.6020, 0.5715, 0.4969]
  np.testing.assert_allclose(slopes, expected, atol=5e-5)


def test_a_local_quadratic_misses_what_interpolation_meets():
  """Off by up to .055, says the note to the published runs."""
  table = pd.read_csv(published_runs.folder() / porian.POINTS)
  setup = ('base', 'long', 'kaplan', 'kaplan')
  mine = table[(table[porian._SETUP] == list(setup)).all(axis=1)]
  optima = []
  for budget, group in mine.groupby('flops'):
    group = group.sort_values('loss').head(5)
    z = np.log(group['params'])
    a, b, _ = np.polyfit(z - z.mean(), group['loss'], 2)
    optima.append((np.log(budget), z.mean() - b / (2 * a)))
  x, y = np.array(optima).T
  ours = porian.minima(mine)
  interpolated = np.polyfit(np.log(ours['flops']), np.log(ours['n_star']), 1)[0]
  quadratic = np.polyfit(x, y, 1)[0]
  assert abs(interpolated - 0.8353) < abs(quadratic - 0.8353) < 0.2


def test_a_pickle_is_never_loaded():
  with pytest.raises(BadInput, match='pickle, which is never loaded'):
    porian.reproduce(None)


def test_the_authors_own_files_say_the_same_as_the_table(tmp_path):
  """The mean of the 17 tasks is that of the table, from their scores."""
  table = pd.read_csv(published_runs.folder() / gadre.TABLE).set_index('name')
  for run in (*gadre.FITTED, gadre.BRIDGE, *gadre.PREDICTED):
    row = table.loc[run]
    model = {
      'hyperparameters': {
        'params': int(row['params']),
        'tokens': int(row['tokens']),
      },
      'results': [
        {'loss': row['loss_openlm'], 'val_data': ['a/openlm/shard.tar']},
        {'loss': row['loss_c4_val'], 'val_data': ['a/c4_val/shard.tar']},
      ],
    }
    scores = {
      name.removeprefix('err_'): 1 - row[name]
      for name in table
      if name.startswith('err_') and 'avg' not in name
    }
    for path, data in (
      (f'exp_data/models/{run}.json', model),
      (
        f'exp_data/evals/evaluation_{run}_heavy.json',
        {'eval_metrics': {'icl': scores}},
      ),
    ):
      file = tmp_path / path
      assert path in gadre.FILES
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_text(json.dumps(data))
  check(gadre.reproduce(tmp_path))


def points_of_figure_4(folder, noise=0.0, constants=besiroglu.CONSTANTS):
  """A table as the authors publish theirs, made from constants."""
  rng, c = np.random.default_rng(0), constants
  n = np.exp(rng.uniform(np.log(6e7), np.log(1.6e10), 245))
  d = n * np.exp(rng.uniform(np.log(1), np.log(200), 245))
  loss = c['E'] + c['A'] / n ** c['alpha'] + c['B'] / d ** c['beta']
  loss *= np.exp(noise * rng.standard_normal(245))
  off = np.argsort(loss)[-5:]
  loss[off] *= 1.3
  table = {'x': 0, 'Model Size': n, 'Training FLOP': 6 * n * d, 'loss': loss}
  pd.DataFrame(table).to_csv(folder / besiroglu.TABLE, index=False)
  return n, d, off


def test_a_surface_of_besiroglus_constants_gives_them_back(tmp_path):
  n, d, off = points_of_figure_4(tmp_path)
  seen = besiroglu.runs(tmp_path)
  assert len(seen) == 240
  np.testing.assert_allclose(
    np.sort(seen.tokens), np.sort(np.delete(d, off)), rtol=1e-12
  )
  solution = besiroglu.Chinchilla().solve(seen, 500, 0)
  true = besiroglu.coordinates(besiroglu.CONSTANTS)
  np.testing.assert_allclose(solution.theta, true, rtol=1e-4)
  assert besiroglu.objective(true, seen)[0] < 1e-20


def test_points_of_other_constants_miss_besiroglus_numbers(tmp_path):
  points_of_figure_4(tmp_path, 0.005, besiroglu.HOFFMANN)
  found = besiroglu.reproduce(tmp_path)
  missed = {target.name for target in found.targets if not target.met}
  assert {'E', 'beta', 'a of N* ∝ C^a'} < missed


def test_the_huber_sum_has_its_own_gradient(tmp_path):
  points_of_figure_4(tmp_path, noise=0.005)
  seen = besiroglu.runs(tmp_path)
  theta = besiroglu.coordinates(besiroglu.HOFFMANN)
  _, slopes = besiroglu.objective(theta, seen)
  for i, step in enumerate(1e-7 * np.eye(5)):
    above, below = (
      besiroglu.objective(theta + s, seen)[0] for s in (step, -step)
    )
    assert slopes[i] == pytest.approx((above - below) / 2e-7, rel=1e-3)


def test_rounded_exponents_do_not_give_hoffmanns_own_allocation():
  alpha, beta = (besiroglu.HOFFMANN[name] for name in ('alpha', 'beta'))
  assert round(beta / (alpha + beta), 2) == 0.46
  assert round(0.28 / (0.34 + 0.28), 2) == 0.45


def test_pythia_is_read_from_its_own_files(tmp_path):
  table = pd.read_csv(published_runs.folder() / pythia.TABLE)
  mine = table[(table['model'] == pythia.MODEL) & (table['shots'] == 0)]
  lambada = mine[mine['task'] == 'lambada_openai']
  for step, path in zip(pythia.COMMITS, pythia.FILES, strict=True):
    rows = lambada[lambada['step'] == step].set_index('metric')['value']
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    results = {'results': {'lambada_openai': rows.to_dict()}}
    file.write_text(json.dumps(results))
  found = pythia.reproduce(tmp_path)
  check(found)
  assert len(found.targets) == 3


def test_breakthroughness_is_big_benchs_formula():
  """One step of height 1 among n points: its median step decides."""
  values = [0.0, 0.0, 0.0, 0.1, 1.0]
  steps = 2 * np.array([0, 0, 0.1, 0.9])
  expected = 1 / np.sqrt(np.median(steps**2))
  assert pythia.breakthroughness(values) == pytest.approx(expected)
  assert pythia.breakthroughness(values[::-1]) == pytest.approx(-expected)


def test_a_steeper_table_fails_the_published_exponents(tmp_path):
  folder = published_runs.folder()
  points = pd.read_csv(folder / porian.POINTS)
  optima = pd.read_csv(folder / porian.OPTIMA)
  optima['n_star'] *= (optima['flops'] / 1e18) ** 0.01
  points.to_csv(tmp_path / porian.POINTS, index=False)
  optima.to_csv(tmp_path / porian.OPTIMA, index=False)
  found = porian.reproduce(tmp_path)
  assert [t.met for t in found.targets] == [False] * 5 + [True] * 5


def test_a_folder_without_the_table_is_told_in_one_line(tmp_path):
  with pytest.raises(BadInput, match=f'holds no readable {gadre.TABLE}'):
    gadre.reproduce(tmp_path)
  (tmp_path / gadre.TABLE).write_text('name,params\n')
  with pytest.raises(BadInput, match="has no column 'tokens'"):
    gadre.reproduce(tmp_path)
  (tmp_path / gadre.TABLE).write_text('')
  with pytest.raises(BadInput, match='is no table'):
    gadre.reproduce(tmp_path)


def test_exact_match_is_the_power_of_the_token_probability():
  rng = np.random.default_rng(1)
  p = np.array([0.3, 0.8, 0.97])
  for length in (1, 3, 8):
    right = schaeffer.outputs(rng, p, length)
    match = schaeffer.exact_match(right)
    error = 4.5 * np.sqrt(p**length / schaeffer.ITEMS)
    assert (np.abs(match - p**length) < error).all()
    edits = schaeffer.edit_distance(right)
    error = 4.5 * np.sqrt(length * p * (1 - p) / schaeffer.ITEMS)
    assert (np.abs(edits - length * (1 - p)) < error).all()


@pytest.mark.parametrize(('p', 'r'), [(0.5, 1), (0.1, 2), (0.01, 5)])
def test_the_mean_of_r_over_k_is_known(p, r):
  """For r = 1 it is p ln(1/p) / (1 − p): not p, so r/K is biased."""
  ours = passuntil.expected(p, r)
  if r == 1:
    assert ours == pytest.approx(p * np.log(1 / p) / (1 - p), rel=1e-9)
  draws = stats.nbinom.rvs(r, p, size=400_000, random_state=0)
  sampled = r / (r + draws)
  error = 5 * sampled.std() / np.sqrt(len(sampled))
  assert ours > p and abs(sampled.mean() - ours) < error
  if r > 1:
    honest = passuntil.unbiased(sampled, r)
    assert abs(honest.mean() - p) < 5 * honest.std() / np.sqrt(len(honest))


def test_an_accelerated_ability_falls_below_the_line_of_its_small_sizes():
  law = passuntil.task_law(passuntil.SIZES)
  slope, _ = passuntil.line(passuntil.SIZES, law)
  assert slope == pytest.approx(-passuntil.ALPHA, rel=1e-9)
  assert passuntil.bend(passuntil.SIZES, law) == pytest.approx(0, abs=1e-9)
  faster = passuntil.accelerated(passuntil.SIZES)
  early, level = passuntil.line(passuntil.SIZES[:3], faster[:3])
  ahead = early * np.log(passuntil.SIZES[-1]) + level
  assert passuntil.transform(faster)[-1] < ahead
  assert passuntil.bend(passuntil.SIZES, faster) < -0.03


def test_a_figure_shows_every_panel_and_series():
  found = passuntil.reproduce()
  figure = papers.reproduction(found)
  assert [axes.get_title('left') for axes in figure.axes] == ['ln(−ln PU)']
  assert len(figure.axes[0].lines) == len(found.panels[0].series)
  texts = [text.get_text() for text in figure.axes[0].get_legend().texts]
  assert texts == ['task law', 'accelerated']


def test_another_table_than_the_one_that_was_checked_is_named(tmp_path):
  folder = published_runs.folder()
  assert reproduction.unlike(folder) == []
  for name in reproduction.CHECKED:
    (tmp_path / name).write_bytes((folder / name).read_bytes())
  assert reproduction.unlike(tmp_path) == []
  (tmp_path / gadre.TABLE).write_text('name\n')
  assert reproduction.unlike(tmp_path) == [gadre.TABLE]
