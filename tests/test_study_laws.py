"""The report's laws, scores and comparisons are those of known surfaces."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import synthetic
from test_report import Page

from research.scaling import compute
from research.scaling.laws.chinchilla import Chinchilla
from research.study import findings, laws, report, scores, sections

DESIGN = {
  'architecture': 'decoder',
  'budget': 1e13,
  'begun': [],
  'changed': [],
  'rows': {'a': '0', 'b': '1'},
  'reason': '',
  'fit': {
    'text': 'L = 1 + 2',
    'certificate': {'certified': True, 'faults': []},
  },
  'cells': [],
  'best': None,
}


@pytest.fixture(scope='module')
def frame():
  return synthetic.study(noise=0)


@pytest.fixture(scope='module')
def fitted(frame):
  return laws.fitted(frame, Chinchilla(), resamples=50)


def table(blocks, caption):
  (found,) = (
    b for b in blocks if b.kind == 'table' and b.caption.startswith(caption)
  )
  return found


def text(blocks):
  return ' '.join(
    b.text if b.kind == 'text' else ' '.join(c for r in b.rows for c in r.cells)
    for b in blocks
  )


def test_each_architectures_law_is_its_surfaces(fitted):
  assert set(fitted) == set(synthetic.SURFACES)
  for name, fit in fitted.items():
    _, _, alpha, _, beta = synthetic.SURFACES[name]
    assert fit.certificate.certified
    assert fit.parameters['alpha'] == pytest.approx(alpha, rel=1e-2)
    assert fit.parameters['beta'] == pytest.approx(beta, rel=1e-2)
  told = table(laws.laws(fitted), 'Laws')
  assert [name for name, _ in told.columns] == [
    '',
    'decoder',
    'encoder-decoder',
    'encoder',
  ]
  assert told.rows[0].cells == ('certified', 'yes', 'yes', 'yes')
  assert not any(row.flag for row in told.rows)


def test_cells_that_are_not_to_be_fitted_do_not_bend_a_law(frame, fitted):
  small = frame['budget'] == frame['budget'].min()
  bent = frame.assign(
    value=frame['value'] * (1 + 0.3 * small), fitted=(~small).astype(object)
  )
  found = laws.fitted(bent, Chinchilla(), resamples=0)['decoder']
  assert found.certificate.certified
  truth = fitted['decoder'].parameters
  assert found.parameters == pytest.approx(truth, rel=1e-2)


def test_what_compute_buys_is_the_closed_form(fitted):
  rows = table(laws.laws(fitted), 'What compute buys').rows
  found = {(row.cells[0], row.cells[1]): row.cells for row in rows}
  for budget, shown in ((1e12, '10¹²'), (1e13, '10¹³'), (4e13, '4×10¹³ *')):
    best = synthetic.optimum('decoder', budget)
    ratio = budget / 6 / best**2
    told = found['decoder', shown][4].split()[0]
    assert float(told) == pytest.approx(ratio, rel=0.03)


def test_the_exponent_is_told_under_every_convention(fitted):
  sizes = table(laws.laws(fitted), 'The exponent a')
  assert [name for name, _ in sizes.columns[1:]] == list(compute.CONVENTIONS)
  moved = re.fullmatch(r'([\d.]+) \(\+0\.000\)', sizes.rows[0].cells[1])
  assert moved
  assert float(moved[1]) == pytest.approx(0.28 / 0.62, abs=0.01)


def test_an_uncertified_law_is_flagged_with_its_fault(frame):
  decoder = frame[(frame['architecture'] == 'decoder')]
  rng = np.random.default_rng(0)
  noise = np.exp(0.5 * rng.standard_normal(len(decoder)))
  found = laws.fitted(
    decoder.assign(value=decoder['value'] * noise), Chinchilla(), resamples=20
  )
  verdict, *_ = table(laws.laws(found), 'Laws').rows
  assert verdict.flag and verdict.cells[1].startswith('no: ')
  (row,) = table(laws.laws(found), 'What compute buys').rows
  assert row.flag and row.cells[:3] == ('decoder', 'not certified', '–')


def test_one_budget_has_no_law(frame):
  one = frame[frame['budget'] == 1e12]
  assert laws.fitted(one, Chinchilla()) == {}
  assert list(laws.laws({})) == []


def scored(actual, **changes):
  """A design whose prediction of 16x1 is 2 [1.9, 2.1], and its outcome."""
  loss = {'value': 2.0, 'interval95': [1.9, 2.1], 'factor': 2.0}
  cell = {'size': '16x1', 'params': 1, 'tokens': 1, 'runs': ['x'], 'loss': loss}
  design = {**DESIGN, 'cells': [cell], **changes}
  rows = synthetic.study(budgets=(1e13,), count=1, noise=0)
  rows = rows[rows['architecture'] == 'decoder']
  rows = rows.assign(run='x', value=actual)
  return {'registered': '2026-01-01T00:00:00+00:00', 'designs': [design]}, rows


def test_a_prediction_is_told_as_hit_or_miss():
  for actual, said, flag in ((2.05, 'hit', False), (2.2, 'miss', True)):
    registered, rows = scored(actual)
    blocks = list(scores.predictions(registered, rows))
    (row,) = blocks[-1].rows
    assert row.cells == (
      'loss of 16x1',
      '2.000',
      '1.900 to 2.100',
      f'{actual:.3f}',
      f'{2 / actual - 1:+.1%}',
      said,
    )
    assert row.flag == flag
    assert 'from 2 runs of smaller budgets: L = 1 + 2' in text(blocks)
    (told,) = scores.sentences(registered, rows, [])
    assert f'{int(not flag)} came out inside' in told


def test_what_is_amiss_with_a_prediction_is_told():
  fault = {'certified': False, 'faults': ['alpha is at its bound 0']}
  fit = {**DESIGN['fit'], 'certificate': fault}
  registered, rows = scored(2.0, begun=['x'], changed=['a'], fit=fit)
  told = text(scores.predictions(registered, rows))
  assert 'not certified: alpha is at its bound 0' in told
  assert '1 of the decoder’s cells at 10¹³ FLOPs had begun before' in told
  assert '1 of the rows that it came from have changed since: a' in told
  (said,) = scores.sentences(registered, rows, [])
  assert 'the law is not certified' in said
  registered, rows = scored(2.0, fit=None, reason='too few')
  assert 'Nothing is predicted' in text(scores.predictions(registered, rows))
  assert list(scores.predictions(None, rows)) == []


def test_compute_is_compared_where_ranges_overlap_and_said_where_not(frame):
  found = {one.other: one for one in scores.compared(frame, None)}
  assert set(found) == {'encoder', 'encoder_decoder'}
  one = found['encoder_decoder']
  assert one.base == 'decoder' and one.times > 1 and one.bound == ''
  # The decoder at a compute that is less by the factor reaches the same.
  assert 'times the decoder’s compute (95 %' in ' '.join(
    scores.sentences(None, frame, [one])
  )
  far = frame['architecture'] == 'encoder'
  far &= frame['task'] == 'yardstick'
  worse = frame.assign(value=frame['value'] + 5.0 * far)
  found = {one.other: one for one in scores.compared(worse, None)}
  bound = found['encoder']
  assert bound.bound == 'more'
  blocks = list(scores.architectures([bound]))
  assert 'ranges do not overlap' in text(blocks)
  assert 'more than' in scores.sentences(None, frame, [bound])[0]
  assert scores.compared(frame[frame['architecture'] == 'encoder'], None) == []


def test_a_difference_on_the_same_spans_has_the_error_of_a_difference(frame):
  measured = frame[(frame['task'] == 'yardstick') & (frame['domain'] == 'all')]
  spans = pd.DataFrame(
    [
      {'run': row['run'], 'span': i, 'domain': 'a', 'bytes': 10}
      | {'bits': 10 * row['value'] + hard}
      for row in measured.to_dict('records')
      for i, hard in enumerate((-9.0, 0.0, 9.0))
    ]
  )
  found = scores.errors(frame, spans)
  assert found['decoder', 'encoder', 1e12] == pytest.approx(0, abs=1e-9)
  cells = sections.measured(frame)
  cells = cells[cells['architecture'].isin(list(synthetic.SURFACES))]
  (said,) = findings.order(cells, 'bits', found)
  assert '± 0.000 above it' in said
  (said,) = findings.order(cells, 'bits', scores.errors(frame, None))
  assert '± 0.042 above it' in said


def test_the_page_has_laws_frontier_and_scores(frame):
  registered, _ = scored(2.0)
  law = dataclasses.replace(Chinchilla())
  page = Page(report.render(frame, {}, {'law': law, 'predictions': registered}))
  for said in (
    'Laws, and what compute buys',
    'tokens per parameter',
    'Registered predictions',
    'Architectures compared',
  ):
    assert said in page.text
