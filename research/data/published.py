"""Published: other people's files, from an address that names a commit.

A commit fixes what the files are, but only their host can say so: the hash of
each file is recorded when it is first fetched, and held to from then on.
"""

from collections.abc import Sequence
import json
import logging
import pathlib

import pooch

from research.config import BadInput

HASHES = 'sha256.json'


def fetch(name: str, address: str, files: Sequence[str]) -> pathlib.Path:
  """The folder that holds `files`, fetched from `address` where they lack.

  Args:
    name: What the user calls them; names the folder in the user's cache.
    address: Base address; ends with a slash.
    files: Paths below it; they or the address name a commit.

  Raises:
    BadInput: There is no network, the host has no such file, or a file is not
      what it was when it was first fetched.
  """
  pooch.get_logger().setLevel(logging.ERROR)
  folder = pathlib.Path(pooch.os_cache('research')) / 'published' / name
  record = folder / HASHES
  known = json.loads(record.read_text()) if record.exists() else {}
  store = pooch.create(
    path=folder,
    base_url=address,
    registry={file: known.get(file) for file in files},
  )
  for file in files:
    try:
      path = store.fetch(file)
    except OSError as error:
      raise BadInput(
        f'{name}: {address}{file} cannot be fetched ({type(error).__name__});'
        ' give --data_dir'
      ) from None
    except ValueError:
      raise BadInput(
        f'{name}: {address}{file} has changed since it was first fetched;'
        f' see {record}'
      ) from None
    known[file] = pooch.file_hash(path)
    record.write_text(json.dumps(known, indent=1))
  return folder
