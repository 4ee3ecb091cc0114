"""Published files are fetched once, and held to what they were then."""

import functools
import http.server
import json
import threading

import pooch
import pytest

from research.config import BadInput
from research.data import published

FILES = ('a/first.json', 'second=2.csv')


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setattr(pooch, 'os_cache', lambda name: tmp_path / name)
  return tmp_path / 'research' / 'published' / 'paper'


@pytest.fixture
def host(tmp_path):
  """A folder on a server of this machine, and its address."""
  folder = tmp_path / 'host'
  for name in FILES:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f'{name}\n')

  class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
      pass

  handler = functools.partial(Quiet, directory=str(folder))
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()
    thread.join()


def test_files_come_as_they_are_with_their_hashes(host, cache):
  folder, address = host
  found = published.fetch('paper', address, FILES)
  assert found == cache
  for name in FILES:
    assert (found / name).read_text() == (folder / name).read_text()
  known = json.loads((found / published.HASHES).read_text())
  assert known == {n: pooch.file_hash(str(folder / n)) for n in FILES}


def test_what_was_fetched_is_not_fetched_again(host, cache):
  folder, address = host
  published.fetch('paper', address, FILES)
  (folder / FILES[0]).unlink()
  assert published.fetch('paper', address, FILES) == cache


def test_a_file_that_changed_is_refused(host, cache):
  folder, address = host
  published.fetch('paper', address, FILES)
  (cache / FILES[0]).unlink()
  (folder / FILES[0]).write_text('something else\n')
  with pytest.raises(BadInput, match=f'{FILES[0]} has changed since'):
    published.fetch('paper', address, FILES)
  assert not (cache / FILES[0]).exists()


def test_a_file_that_is_not_there_is_one_line(host, cache):
  _, address = host
  with pytest.raises(BadInput, match='cannot be fetched .*; give --data_dir'):
    published.fetch('paper', address, ('nothing.json',))


def test_no_network_is_one_line(cache):
  message = 'paper: http://127.0.0.1:9/a/first.json cannot be fetched'
  with pytest.raises(BadInput, match=message) as caught:
    published.fetch('paper', 'http://127.0.0.1:9/', FILES)
  assert '\n' not in str(caught.value)
