"""Corpora: where documents come from."""

from collections.abc import Iterator
import dataclasses
import difflib
import gzip
import hashlib
import importlib
import importlib.resources
import json
import lzma
import pathlib
from typing import Any

from research.config import BadInput

EMBEDDED_FILE = 'public_domain_english.jsonl.xz'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
  """One text, and what it is filed under.

  Attributes:
    domain: What validation is reported by.
    title: Name of the document within its corpus.
    text: All of it.
    group: Documents of one group fall on the same side of the split, whatever
      corpus they are in; None groups by equal text.
  """

  domain: str
  title: str
  text: str
  group: str | None = None

  @property
  def split_key(self) -> str:
    """What the split hashes (`splits.in_validation`)."""
    return self.text if self.group is None else self.group


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
class TFDS:
  """A TensorFlow Datasets text set, read with no TensorFlow.

  A set that is not on disk yet is downloaded and prepared as array_record,
  the format that TFDS can read back without TensorFlow.

  Attributes:
    name: As TFDS writes it: `ag_news_subset`, `wiki40b/en`, `lm1b:1.1.0`.
    split: A split or slice of one: `train`, `train[:10%]`.
    feature: The feature that is the text; None takes `text`, or else the only
      text feature there is. Features `domain`, `title` and `group` are used
      where they exist.
    data_dir: Where prepared sets are; None is TFDS's own default.
  """

  name: str
  split: str = 'train'
  feature: str | None = None
  data_dir: str | None = None

  def documents(self) -> Iterator[Document]:
    """The set's records in stored order.

    Raises:
      BadInput: No such set, split or feature; a set that is on disk in
        another format; a record that is not UTF-8.
    """
    builder = self._builder()
    feature = self._text_feature(builder.info.features or {})
    source = self._source(builder)
    for i in range(len(source)):
      record = source[i]
      where = f'record {i} of TFDS set {self.name!r}'
      text = {
        key: _decode(record[key], where)
        for key in (feature, 'domain', 'title', 'group')
        if isinstance(record.get(key), str | bytes)
      }
      yield Document(
        domain=text.get('domain', str(builder.name)),
        title=text.get('title', str(i)),
        text=text[feature],
        group=text.get('group') or None,
      )

  def content(self) -> str:
    """Hash of the set's name, version, config, split and feature."""
    builder = self._builder()
    parts = [builder.info.full_name, self.split, self.feature or '']
    return hashlib.blake2b(json.dumps(parts).encode()).hexdigest()

  def _builder(self) -> Any:
    import tensorflow_datasets as tfds

    # Registers the embedded corpus.
    importlib.import_module('research.data.builder')

    try:
      return tfds.builder(
        self.name, data_dir=self.data_dir, file_format='array_record'
      )
    except tfds.core.DatasetNotFoundError as error:
      known = [line.strip('\t -') for line in str(error).splitlines()]
      near = difflib.get_close_matches(self.name, known, 3) or ['none']
      raise BadInput(
        f'corpus.name: TFDS has no set {self.name!r}; nearest: '
        + ', '.join(near)
      ) from None
    except (ValueError, ImportError) as error:
      raise BadInput(_one_line(f'corpus.name={self.name!r}', error)) from error

  def _source(self, builder: Any) -> Any:
    try:
      builder.download_and_prepare()
    except ImportError as error:
      raise BadInput(
        _one_line(
          f'corpus.name: preparing {self.name!r} needs a package that is not'
          ' installed; prepare it elsewhere with'
          " file_format='array_record' and give corpus.data_dir",
          error,
        )
      ) from error
    try:
      return builder.as_data_source(split=self.split)
    except (ValueError, KeyError, NotImplementedError) as error:
      raise BadInput(
        _one_line(f'corpus.split={self.split!r} of {self.name!r}', error)
      ) from error

  def _text_feature(self, features: Any) -> str:
    import numpy as np

    texts = [
      name
      for name, feature in features.items()
      if getattr(feature, 'shape', None) == ()
      and getattr(feature, 'np_dtype', None) == np.object_
    ]
    name = self.feature or ('text' if 'text' in texts else None)
    if name is None and len(texts) == 1:
      name = texts[0]
    if name is None or name not in texts:
      raise BadInput(
        f'corpus.feature={self.feature}: {self.name!r} has text features'
        f' {", ".join(texts) or "none"}; choose one'
      )
    return name


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
        text=_decode(data, str(path)),
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


Corpus = Embedded | TFDS | TextFolder | JSONL


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
        text = _decode(line, str(path), offset)
        offset += len(line)
        if text.strip():
          yield _json_object(text, f'line {number} of {path}')
  except (lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
    raise BadInput(_one_line(f'corpus.path: {path}', error)) from error


def _json_object(text: str, where: str) -> dict[str, Any]:
  try:
    record = json.loads(text)
    text.encode('utf-8') if '\\ud' not in text.lower() else json.dumps(
      record, ensure_ascii=False
    ).encode('utf-8')
  except ValueError as error:
    raise BadInput(_one_line(f'corpus.path: {where}', error)) from error
  if not isinstance(record, dict):
    raise BadInput(f'corpus.path: {where} is not a JSON object; make it one')
  return record


def _decode(data: str | bytes, where: str, offset: int = 0) -> str:
  """UTF-8 bytes as text; `offset` is where `data` begins in its file."""
  if isinstance(data, str):
    return data
  try:
    return data.decode('utf-8')
  except UnicodeDecodeError as error:
    raise BadInput(
      f'corpus.path: {where} is not UTF-8 at byte {offset + error.start}'
      f' ({data[error.start : error.start + 1]!r}); convert it'
    ) from None


def _hash_of_files(files, root: pathlib.Path | None = None) -> str:
  digest = hashlib.blake2b(digest_size=16)
  for path in files:
    if root is not None:
      digest.update(path.relative_to(root).as_posix().encode() + b'\0')
    with open(path, 'rb') as file:
      digest.update(hashlib.file_digest(file, 'blake2b').digest())
  return digest.hexdigest()


def _one_line(what: str, error: Exception) -> str:
  said = ' '.join(str(error).split()) or type(error).__name__
  return f'{what}: {said[:300]}'
