"""A file is written whole or not at all."""

import subprocess
import sys

from research import files


def test_a_full_disk_leaves_the_old_file_whole(tmp_path):
  path = tmp_path / 'rows'
  path.write_text('old')
  child = f"""
import pathlib, resource, signal
from research import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
files.write_whole(pathlib.Path({str(path)!r}), 'new' * 1000)
"""  # a file-size limit stands for a full disk
  ended = subprocess.run(
    [sys.executable, '-c', child], capture_output=True, text=True
  )
  assert 'File too large' in ended.stderr
  assert path.read_text() == 'old'
  assert [p.name for p in tmp_path.iterdir()] == ['rows']


def test_text_and_bytes_come_back(tmp_path):
  for content in ('naïve — new', b'\0\xff'):
    path = tmp_path / 'new' / 'file'
    files.write_whole(path, content)
    written = path.read_bytes()
    assert written in (content, str(content).encode())
    assert [p.name for p in path.parent.iterdir()] == ['file']
