"""The report says what the data say, in one file that needs nothing else."""

from html.parser import HTMLParser
import json
import re
import resource
import signal

import numpy as np
import pandas as pd
import pytest
import synthetic

from research.data.pipeline import DataConfig
from research.study import findings, report, sections, store
from research.study.cells import NGram
from research.study.plan import StudyConfig, cells

VOID = {'meta', 'br', 'hr', 'img', 'input', 'link'}


class Page(HTMLParser):
  """Tags, attributes and text of a page; raises if tags do not nest."""

  def __init__(self, text):
    super().__init__()
    self.open, self.tags, self.attributes, self.words = [], [], [], []
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if 'style' not in self.open:
      self.words.append(data)

  @property
  def text(self):
    return ' '.join(' '.join(self.words).split())


def read(frame, curves=(), **about):
  return Page(report.render(frame, dict(curves), about))


@pytest.fixture(scope='module')
def frame():
  return synthetic.study(noise=0)


@pytest.fixture(scope='module')
def text(frame):
  return report.render(frame, synthetic.curves(frame), synthetic.about(frame))


@pytest.fixture(scope='module')
def page(text):
  return Page(text)


def test_the_page_needs_nothing_from_elsewhere(text, page):
  assert 'script' not in page.tags
  assert not {'src', 'onload', 'onclick'} & {k for k, _ in page.attributes}
  links = [v for k, v in page.attributes if k in ('href', 'xlink:href')]
  assert links and all(link.startswith('#') for link in links)
  assert '@import' not in text
  assert all(u.startswith('#') for u in re.findall(r'url\(([^)]*)', text))


def test_the_page_is_small(text):
  assert len(text.encode()) < 1_500_000


def test_links_within_the_page_lead_somewhere(page):
  ids = [v for k, v in page.attributes if k == 'id']
  targets = [v[1:] for k, v in page.attributes if k == 'href']
  assert set(targets) <= set(ids)
  assert len(ids) == len(set(ids))


def test_the_same_study_gives_the_same_bytes(frame, text):
  again = report.render(frame, synthetic.curves(frame), synthetic.about(frame))
  assert again == text


def test_sections_stand_in_their_order(page):
  titles = (
    'Against compute',
    'Native validation',
    'IsoFLOP curves',
    'Against size',
    'By domain',
    'Training curves',
    'Cells',
    'What was run, and from where',
  )
  body = page.text.split(titles[-1], 1)[1]
  places = [body.index(title) for title in titles]
  assert places == sorted(places)


def test_what_does_not_compare_is_said_not_to(page):
  assert 'not comparable across architectures' in page.text


def test_findings_are_the_numbers_of_the_table(frame, page):
  for name, said in (('decoder', 'decoder'), ('encoder', 'encoder')):
    rows = frame[
      (frame['architecture'] == name)
      & (frame['task'] == 'yardstick')
      & (frame['domain'] == 'all')
    ]
    best = rows.groupby('budget')['value'].min()
    assert (
      f'The {said}’s best yardstick bits per byte falls from '
      f'{best.iloc[0]:.3f} to {best.iloc[-1]:.3f}'
    ) in page.text
  assert (
    '4 of 4 budgets of the decoder, 3 of 3 budgets of the encoder-decoder'
  ) in page.text


def test_findings_turn_with_the_data(frame):
  last = frame['budget'] == 1e13
  worse = frame.assign(value=frame['value'].where(~last, 9.0))
  cells = sections.measured(worse)
  decoder = cells[cells['architecture'] == 'decoder']
  (said,) = findings.gains(decoder, 'bits')
  assert 'does not fall' in said and 'not from 3×10¹² to 10¹³' in said


def test_a_difference_within_the_errors_is_said_to_be():
  cells = pd.DataFrame(
    {
      'architecture': ['decoder', 'encoder'],
      'budget': 1e12,
      'value': [2.0, 2.05],
      'stderr': 0.03,
      'params': 1e5,
    }
  )
  (said,) = findings.order(cells, 'bits')
  assert '0.050 ± 0.042 above it (within two standard errors)' in said
  (said,) = findings.order(cells.assign(stderr=0.01), 'bits')
  assert 'within' not in said


def test_a_baseline_is_named_where_it_is_first_beaten(frame, page):
  # The n-gram stands at 2.55; the decoder's best passes it at 10¹².
  assert 'the decoder gets below it at 10¹² FLOPs' in page.text
  assert 'the encoder stays above it' in page.text


def test_every_cell_stands_in_the_table(frame, page):
  for run in frame['run'].unique():
    assert run in page.text


def test_failed_and_missing_cells_stand_with_their_reasons(frame):
  about = synthetic.about(frame)
  failed, waiting = (cell['run'] for cell in about['plan'][:2])
  about['plan'][0] |= {'state': 'failed', 'reason': 'loss is NaN at step 7'}
  about['plan'][1] |= {'state': 'waiting'}
  page = read(frame[~frame['run'].isin([failed, waiting])], **about)
  assert 'loss is NaN at step 7' in page.text
  assert '1 failed and 1 waiting' in page.text
  assert page.text.count(waiting) >= 2


def test_a_minimum_outside_its_grid_is_flagged(frame):
  decoder = frame['architecture'] == 'decoder'
  sizes = sorted(frame.loc[decoder, 'params'].unique())
  page = read(frame[decoder & (frame['params'] >= sizes[2])])
  assert '3×10¹¹: below the grid' in page.text
  assert ('class', 'flag') in page.attributes


@pytest.mark.parametrize('budgets, count', [((1e12,), 5), ((1e12,), 1)])
def test_one_budget_and_one_size_make_a_report(budgets, count):
  page = read(synthetic.study(budgets=budgets, count=count))
  assert 'at 10¹² FLOPs is' in page.text
  assert ('IsoFLOP' in page.text) == (count >= 3)


def test_unknown_errors_and_no_rows_make_a_report(frame):
  page = read(frame[frame['architecture'] == 'decoder'].assign(stderr=None))
  assert '±' not in page.text.split('± is one')[0]
  assert 'Cells' in read(pd.DataFrame(), title='Nothing yet').text


def test_text_from_outside_is_escaped(frame):
  hostile = '<script>alert("x")</script>'
  rows = frame[frame['architecture'] == 'ngram'].assign(
    run=hostile, device=hostile, domain=hostile
  )
  page = read(
    rows,
    title=hostile,
    question=hostile,
    notes=[hostile],
    plan=[{'run': hostile, 'state': 'failed', 'reason': hostile}],
  )
  assert 'script' not in page.tags


def test_a_sweep_tells_which_best_is_bracketed():
  page = read(synthetic.sweep())
  assert 'for 1 of 2 models' in page.text
  assert 'no: nothing worse below' in page.text


def test_a_sweep_over_sizes_is_followed_across_them():
  frame = synthetic.study(budgets=(1e12,), noise=0)
  frame = frame[frame['architecture'] == 'decoder']
  frame = frame.assign(**{'model.d_model': frame['params'] ** 0.5})
  page = read(frame, swept=['model.d_model'])
  assert 'The best model.d model has a worse one on both sides' in page.text


def test_several_revisions_in_one_table_are_flagged(frame):
  rows = frame[frame['architecture'] == 'ngram']
  mixed = pd.concat([rows, rows.assign(run='b', revision='other')])
  text = report.render(mixed, {}, {})
  flagged = re.search(r'<tr class="flag"><td[^>]*>revision', text)
  assert flagged
  assert not re.search(
    r'class="flag"><td[^>]*>revision', report.render(rows, {}, {})
  )


def test_rules_of_the_numbers_stand_in_the_page(frame):
  rule = 'softmax over text tokens only'
  assert rule in read(frame.assign(rule=rule)).text


@pytest.fixture
def full_disk():
  """No file may grow beyond 4 kB."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
  yield
  resource.setrlimit(resource.RLIMIT_FSIZE, before)
  signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_report(tmp_path, frame, request):
  path = tmp_path / 'report.html'
  rows = frame[frame['architecture'] == 'ngram']
  path.write_text('old')
  request.getfixturevalue('full_disk')
  with pytest.raises(OSError):
    report.write(rows, {}, {}, path)
  assert path.read_text() == 'old'
  assert [p.name for p in tmp_path.iterdir()] == ['report.html']


def test_a_report_is_written_where_asked(tmp_path, frame):
  rows = frame[frame['architecture'] == 'ngram']
  path = report.write(rows, {}, {'title': 'T'}, tmp_path / 'new' / 'r.html')
  assert path.read_text(encoding='utf-8') == report.render(
    rows, {}, {'title': 'T'}
  )


def test_a_table_read_back_from_json_gives_the_same_report(frame):
  rows = frame[frame['architecture'].isin(['decoder', 'ngram'])]
  records = json.loads(rows.to_json(orient='records', double_precision=15))
  assert all(
    np.isclose(a['value'], b, rtol=1e-12)
    for a, b in zip(records, rows['value'], strict=True)
  )
  read_back = report.render(pd.DataFrame(records), {}, {})
  assert Page(read_back).text == Page(report.render(rows, {}, {})).text


def test_a_study_makes_its_report_from_its_folder(tmp_path, frame):
  study = StudyConfig(
    title='A study of one model',
    question='Is it there?',
    designs=(
      NGram(data=DataConfig(), order=2),
      NGram(data=DataConfig(), order=3),
    ),
  )
  done, failed = cells(study)
  rows = frame[frame['architecture'] == 'ngram'].assign(run=done.name)
  store.finish(done.folder(tmp_path), rows.to_dict('records'))
  store.fail(failed.folder(tmp_path), 'MemoryError: too many counts')
  store.write_rows(tmp_path / store.RESULTS, rows.to_dict('records'))
  path = report.make(study, tmp_path)
  assert path.parent == tmp_path
  page = Page(path.read_text(encoding='utf-8'))
  for said in (
    'A study of one model',
    'Is it there?',
    done.name,
    'MemoryError: too many counts',
    'Of 2 planned cells, 1 failed',
    'designs.1.order 3',
  ):
    assert said in page.text
