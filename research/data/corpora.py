"""Corpora: where documents come from."""

from collections.abc import Iterator
import dataclasses
import gzip
import hashlib
import importlib.resources
import json
import lzma
import pathlib
from typing import Any

from research.config import BadInput
from research.data.documents import Document, decoded, one_line
from research.data.markov import Markov
from research.data.tfds_sets import TFDS

EMBEDDED_FILE = 'public_domain_english.jsonl.xz'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embedded:
  """The 20.9 MB of public-domain English that ship with the package.

  Speeches, novels and scripture (`corpus/PROVENANCE.md`); chapters of
  scripture are grouped by book and chapter. It is read from its compressed
  file, which takes 0.3 s; the TFDS builder of the same documents
  (`builder.PublicDomainEnglish`, `TFDS(name='public_domain_english')`) first
  writes an array_record copy, which takes 1.5 s and 8.5 MB of disk, and gives
  the same documents in the same order (a test says so).
  """

  def documents(self) -> Iterator[Document]:
    with embedded_file() as path:
      for record in _json_lines(path):
        yield embedded_document(record)

  def content(self) -> str:
    """Hash of the documents, for caches."""
    with embedded_file() as path:
      return _hash_of_files([path])


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextFolder:
  """A folder of UTF-8 text files, one document a file.

  The domain of `news/1.txt` is `news`; of a file at the top, `text`.

  Attributes:
    path: The folder.
    pattern: Which files, as `pathlib.Path.glob` reads it.
  """

  path: str
  pattern: str = '**/*.txt'

  def documents(self) -> Iterator[Document]:
    """The files in order of their paths.

    Raises:
      BadInput: No such folder or no such file in it; a file that is empty or
        not UTF-8 (with the byte's offset).
    """
    root = pathlib.Path(self.path)
    for path in self._files():
      data = path.read_bytes()
      if not data:
        raise BadInput(f'corpus.path: {path} is empty; remove it or fill it')
      name = path.relative_to(root)
      yield Document(
        domain=name.parts[0] if len(name.parts) > 1 else 'text',
        title=name.as_posix(),
        text=decoded(data, str(path)),
      )

  def content(self) -> str:
    """Hash of the files' relative paths and bytes."""
    return _hash_of_files(self._files(), pathlib.Path(self.path))

  def _files(self) -> list[pathlib.Path]:
    root = pathlib.Path(self.path)
    if not root.is_dir():
      raise BadInput(f'corpus.path: {root} is not a folder; give one that is')
    files = sorted(p for p in root.glob(self.pattern) if p.is_file())
    if not files:
      raise BadInput(
        f'corpus.path: {root} holds no file {self.pattern}; set corpus.pattern'
      )
    return files


@dataclasses.dataclass(frozen=True, kw_only=True)
class JSONL:
  """A file of JSON objects, one document a line; `.gz` and `.xz` are unpacked.

  Attributes:
    path: The file.
    text: The key of the text, which every line has. The keys `domain`,
      `title` and `group` are used where they exist.
  """

  path: str
  text: str = 'text'

  def documents(self) -> Iterator[Document]:
    """The lines in order; blank ones are passed over.

    Raises:
      BadInput: No such file, or an empty one; a line that is not UTF-8 (with
        the byte's offset), not a JSON object, or without its text.
    """
    number = 0
    for number, record in enumerate(_json_lines(self.path), 1):
      if not isinstance(record.get(self.text), str):
        raise BadInput(
          f'corpus.text={self.text!r}: object {number} of {self.path} has no'
          f' such text; it has {", ".join(record) or "nothing"}'
        )
      group = record.get('group')
      yield Document(
        domain=str(record.get('domain', 'text')),
        title=str(record.get('title', number)),
        text=record[self.text],
        group=None if group is None else str(group),
      )
    if not number:
      raise BadInput(f'corpus.path: {self.path} is empty; give one with text')

  def content(self) -> str:
    """Hash of the file and of the key."""
    _check_file(self.path)
    return _hash_of_files([pathlib.Path(self.path)]) + self.text


Corpus = Embedded | TFDS | TextFolder | JSONL | Markov


def embedded_file():
  """A context manager that gives the path of the embedded corpus's file."""
  folder = importlib.resources.files('research.data') / 'corpus'
  return importlib.resources.as_file(folder / EMBEDDED_FILE)


def embedded_document(record: dict[str, str]) -> Document:
  """A line of the embedded corpus; scripture is grouped by its title."""
  title = record['title']
  return Document(
    domain=record['domain'],
    title=title,
    text=record['text'],
    group=title if record['domain'] == 'scripture' else None,
  )


def _check_file(path) -> None:
  if not pathlib.Path(path).is_file():
    raise BadInput(f'corpus.path: there is no file {path}; give one that is')


def _json_lines(path) -> Iterator[dict[str, Any]]:
  """The objects in a file of JSON lines."""
  _check_file(path)
  openers = {'.xz': lzma.open, '.gz': gzip.open}
  offset = 0
  try:
    with openers.get(pathlib.Path(path).suffix, open)(path, 'rb') as lines:
      for number, line in enumerate(lines, 1):
        text = decoded(line, str(path), offset)
        offset += len(line)
        if text.strip():
          yield _json_object(text, f'line {number} of {path}')
  except (lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
    raise BadInput(one_line(f'corpus.path: {path}', error)) from error


def _json_object(text: str, where: str) -> dict[str, Any]:
  try:
    record = json.loads(text)
    # A lone surrogate passes JSON but is not text.
    json.dumps(record, ensure_ascii=False).encode('utf-8')
  except ValueError as error:
    raise BadInput(one_line(f'corpus.path: {where}', error)) from error
  if not isinstance(record, dict):
    raise BadInput(f'corpus.path: {where} is not a JSON object; make it one')
  return record


def _hash_of_files(files, root: pathlib.Path | None = None) -> str:
  digest = hashlib.blake2b(digest_size=16)
  for path in files:
    if root is not None:
      digest.update(path.relative_to(root).as_posix().encode() + b'\0')
    with open(path, 'rb') as file:
      digest.update(hashlib.file_digest(file, 'blake2b').digest())
  return digest.hexdigest()
