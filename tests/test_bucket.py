"""A study's folder may be in a bucket, here one that is kept in memory."""

from etils import epath
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
import pytest
import tiny_study

from research import files
from research.config import BadInput
from research.study import report, runner, store
from research.study.plan import cells


class Bucket(MemoryFileSystem):
  """What `gs://` is read through."""

  protocol = 'gcs'

  @classmethod
  def _strip_protocol(cls, path):
    return super()._strip_protocol(path.removeprefix('gs://'))


@pytest.fixture
def bucket():
  fsspec.register_implementation('gcs', Bucket, clobber=True)
  yield epath.Path('gs://bucket')
  Bucket.store.clear()
  Bucket.pseudo_dirs[:] = ['']


def test_a_cell_goes_from_waiting_to_done(bucket):
  run = bucket / 'runs' / 'a'
  assert store.status(run).state == 'waiting'
  store.begin(run)
  assert store.status(run).state == 'running'
  store.fail(run, 'no luck')
  assert store.status(run) == ('failed', 'no luck')
  store.begin(run)
  store.finish(run, [{'value': 1.5}])
  assert store.status(run).state == 'done'
  assert list(store.frame(str(run))['value']) == [1.5]


def test_files_are_overwritten_whole_and_leave_no_parts(bucket):
  for text in ('old', 'new — with more'):
    files.write_whole(bucket / 'file', text)
    assert (bucket / 'file').read_text() == text
    assert [path.name for path in bucket.iterdir()] == ['file']


def test_a_study_claims_it_gathers_its_rows_and_reports(bucket):
  study = tiny_study.study()
  runner.claim(study, bucket)
  with pytest.raises(BadInput, match='gs://bucket holds another study'):
    runner.check(tiny_study.failing(), bucket)
  planned = cells(study)
  row = {'task': 'yardstick', 'metric': 'bits_per_byte', 'domain': 'all'}
  for i, cell in enumerate(planned):
    of_cell = {
      'run': cell.name,
      'architecture': cell.architecture,
      'params': cell.params or 100,
      'tokens': cell.tokens,
      'flops': cell.flops or None,
      'value': 2 + i / 10,
    }
    store.finish(cell.folder(bucket), [{**row, **of_cell}])
  runner.collect(planned, bucket)
  assert list(store.frame(bucket)['run']) == [cell.name for cell in planned]
  path = report.make(study, bucket)
  assert str(path) == 'gs://bucket/report.html'
  assert study.question in path.read_text()
