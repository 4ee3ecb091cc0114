"""The store: a corpus as files of tokens, training and held out apart."""

from collections.abc import Iterable, Iterator
import contextlib
import hashlib
import itertools
import json
import math
import pathlib
from typing import Any, BinaryIO

import numpy as np

from research.config import BadInput
from research.data.documents import Document
from research.data.lossy import Lossy
from research.data.tokenizers import Tokenizer

_CHUNK = 256  # documents tokenised at a time
_SIZES = np.dtype('<u4')


class _Part:
  """One file of tokens being written, and one of their sizes, if need be."""

  def __init__(self, file: BinaryIO, dtype: str, sizes: BinaryIO | None):
    self.file, self.dtype, self.sizes = file, dtype, sizes
    self.digest = hashlib.blake2b(digest_size=16)
    self.tokens = 0
    self.counts = {'documents': 0, 'words': 0, 'bytes': 0}

  def add(
    self,
    document: Document,
    ids: np.ndarray,
    bos: int,
    sizes: np.ndarray | None,
  ) -> None:
    data = np.concatenate([[bos], ids]).astype(self.dtype).tobytes()
    self.file.write(data)
    self.digest.update(data)
    if self.sizes is not None:
      assert sizes is not None
      # bos stands for nothing.
      self.sizes.write(np.pad(sizes, ((1, 0), (0, 0))).astype(_SIZES).tobytes())
    self.tokens += len(ids) + 1
    self.counts['documents'] += 1
    self.counts['words'] += len(document.text.split())
    self.counts['bytes'] += len(document.text.encode('utf-8'))

  def described(self) -> dict[str, Any]:
    return {
      'file': pathlib.Path(self.file.name).name,
      'sizes': self.sizes and pathlib.Path(self.sizes.name).name,
      'tokens': self.tokens,
      'hash': self.digest.hexdigest(),
      'counts': self.counts,
    }


def write(
  folder: pathlib.Path,
  documents: Iterable[Document],
  tokenizer: Tokenizer,
  validation_share: float,
) -> None:
  """Tokenises `documents` into `folder`: a file a part, and `meta.json`.

  The parts are `train` and `validation/<domain>`. Each document is bos and its
  ids, in the corpus's order. What is held out has the bytes and words of each
  token beside it, if the tokenizer changes text.

  Raises:
    BadInput: The tokenizer changes text that it was said to keep, or the split
      leaves a side empty.
    OSError: The folder cannot be written.
  """
  dtype = '<u2' if tokenizer.vocab_size <= 2**16 else '<u4'
  parts: dict[str, _Part] = {}
  least = 1.0
  with contextlib.ExitStack() as files:
    for document, ids, sizes in _tokenised(documents, tokenizer):
      place = document.place
      least = min(least, place)
      held_out = place < validation_share
      name = f'validation/{document.domain}' if held_out else 'train'
      if name not in parts:
        path = folder / f'{len(parts)}.bin'
        beside = None
        if held_out and not tokenizer.lossless:
          beside = files.enter_context(path.with_suffix('.sizes').open('wb'))
        file = files.enter_context(path.open('wb'))
        parts[name] = _Part(file, dtype, beside)
      parts[name].add(document, ids, tokenizer.bos, sizes)
  described = {name: part.described() for name, part in sorted(parts.items())}
  _check_split(described, validation_share, least)
  hashes = {name: part['hash'] for name, part in described.items()}
  identity = json.dumps([tokenizer.hash, hashes]).encode()
  meta = {
    'hash': hashlib.blake2b(identity, digest_size=8).hexdigest(),
    'dtype': dtype,
    'parts': described,
  }
  (folder / 'meta.json').write_text(json.dumps(meta, indent=1), 'utf-8')


def is_whole(folder: pathlib.Path) -> bool:
  """Whether the files have the sizes that `meta.json` says."""
  try:
    meta = _meta(folder)
    wide = np.dtype(meta['dtype']).itemsize, 2 * _SIZES.itemsize
    return all(
      (folder / part[name]).stat().st_size == part['tokens'] * size
      for part in meta['parts'].values()
      for name, size in zip(('file', 'sizes'), wide, strict=True)
      if part.get(name)
    )
  except (OSError, ValueError, KeyError):
    return False


def read(
  folder: pathlib.Path,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Each part's tokens as a read-only memory map, and `meta.json`."""
  meta = _meta(folder)
  parts: dict[str, np.ndarray] = {
    name: np.memmap(folder / part['file'], dtype=meta['dtype'], mode='r')
    for name, part in meta['parts'].items()
  }
  return parts, meta


def sizes(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """Bytes and words of each token, [t, 2], of the parts that have them."""
  return {
    name: np.memmap(folder / part['sizes'], _SIZES, 'r').reshape(-1, 2)
    for name, part in _meta(folder)['parts'].items()
    if part.get('sizes')
  }


def _meta(folder: pathlib.Path) -> dict[str, Any]:
  return json.loads((folder / 'meta.json').read_text('utf-8'))


def _check_split(described: dict, share: float, least: float) -> None:
  n = sum(part['counts']['documents'] for part in described.values())
  if not n:
    raise BadInput('corpus: it has no documents')
  if 'train' not in described and share < 1:
    raise BadInput(
      f'validation_share={share} leaves none of the {n} documents to train on;'
      ' lower it, or cut the text into more documents'
    )
  if len(described) == 1 and 0 < share < 1:
    raise BadInput(
      f'validation_share={share} holds out none of the {n} documents;'
      f' {math.ceil(least * 1e4 + 1e-9) / 1e4} would hold out one, 0 validates'
      ' on nothing'
    )


def _tokenised(
  documents: Iterable[Document], tokenizer: Tokenizer
) -> Iterator[tuple[Document, np.ndarray, np.ndarray | None]]:
  """Each document with its ids, and with their sizes if ids do not tell them.

  Raises:
    BadInput: The ids stand for other text than the document's.
  """
  if isinstance(tokenizer, Lossy):
    for document in documents:
      ids, *counts = tokenizer.measured(document.text)
      yield document, ids, np.stack(counts, axis=1)
    return
  documents = iter(documents)
  while chunk := list(itertools.islice(documents, _CHUNK)):
    encoded = tokenizer.encode_batch([document.text for document in chunk])
    for document, ids in zip(chunk, encoded, strict=True):
      size = len(document.text.encode('utf-8'))
      if tokenizer.byte_lengths[ids].sum() != size:
        raise BadInput(
          f'tokenizer: it changes the text of document {document.title!r};'
          ' give one that loses nothing'
        )
      yield document, ids, None
