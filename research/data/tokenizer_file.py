"""A `tokenizer.json`, in the format of the library of that name."""

from collections.abc import Iterable, Mapping
import dataclasses
import functools
import json
import pathlib
import types
from typing import Any, ClassVar

import numpy as np

from research.config import BadInput
from research.data import pieces
from research.data.lossy import Lossy
from research.data.specials import Own
from research.data.tokenizer import Tokenizer

_PROBE = (
  'a  b\n\n\tNaïve—“x”,  1234 \u2581\u2581 \U0001f469\u200d\U0001f680\r\n\0 '
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerFile:
  """An existing `tokenizer.json`.

  Attributes:
    path: The file. For a model to be trained its tokenizer must lose nothing,
      or bits per byte would be of another text: byte-level ones (GPT-2, LLaMA
      3) do so.
    n_sentinels: Number of sentinels.
    bos: Its token that begins a document, for a model that was trained with
      it; None: our specials come after its ids, for a model to be trained.
    mask: Its mask, beside `bos`.
    sentinel: Its first sentinel, beside `bos`; the others count down (T5).
    eos: Its token that ends a text, beside `bos`, where bos does not.
    other_eos: Further tokens that end one, such as those that end a turn.
  """

  trained: ClassVar[bool] = False
  path: str
  n_sentinels: int = 16
  bos: str | None = None
  mask: str | None = None
  sentinel: str | None = None
  eos: str | None = None
  other_eos: tuple[str, ...] = ()

  def __post_init__(self):
    for name in ('mask', 'sentinel', 'eos', 'other_eos'):
      if self.bos is None and getattr(self, name):
        raise BadInput(
          f'tokenizer.{name}={getattr(self, name)!r}: name bos, too'
        )

  def train(self, texts: Iterable[str]) -> bytes:
    """The file's bytes."""
    del texts
    path = pathlib.Path(self.path)
    if not path.is_file():
      raise BadInput(f'tokenizer.path: there is no file {path}')
    return path.read_bytes()

  def load(self, model: bytes) -> Tokenizer:
    """The tokenizer of the file: `Lossy` where it changes text.

    Raises:
      BadInput: Not a tokenizer.json, one that changes text and has no bos of
        its own, or one without a special that is named.
    """
    names = 'bos', 'mask', 'sentinel', 'eos'
    named = {name: getattr(self, name) for name in names}
    named |= {f'other_eos.{i}': one for i, one in enumerate(self.other_eos)}
    try:
      tokenizer = read(model, self.n_sentinels, own=named)
    except BadInput:
      raise
    except Exception as error:  # the library raises nothing narrower
      said = ' '.join(str(error).split())
      raise BadInput(
        f'tokenizer.path: {self.path} is not a tokenizer.json: {said[:200]}'
      ) from error
    # A space in front shows what is dropped there, none what is added.
    for probe in (_PROBE, f' {_PROBE}'):
      if tokenizer.decode(tokenizer.encode(probe)) != probe:
        if self.bos is not None:
          return _lossy(model, self.n_sentinels, named)
        raise BadInput(
          f'tokenizer.path: {self.path} changes text (its normalizer or'
          ' pre-tokenizer drops or adds some); give a byte-level one'
        )
    return tokenizer


def read(
  model: bytes,
  n_sentinels: int,
  n_text: int | None = None,
  own: Mapping[str, str | None] = types.MappingProxyType({}),
) -> Tokenizer:
  """The tokenizer that a `tokenizer.json` describes, if it changes no text.

  Its template, truncation and padding are not used, nor, where it works on
  bytes, its normalizer, which would change text.
  """
  described = _bare(model)
  if _byte_level(described):
    described['normalizer'] = None
  loaded, vocabulary, specials = _loaded(described, own)
  added = described.get('added_tokens') or ()
  names = {token['content']: token['special'] for token in added}
  table = [b''] * (n_text or max(vocabulary.values()) + 1)
  for piece, i in vocabulary.items():
    if specials and (piece in own.values() or names.get(piece)):
      continue  # No text has it: there its name is spelled.
    table[i] = piece.encode() if piece in names else _bytes(described, piece)

  def encode(texts):
    found = loaded.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(one.ids, np.int32) for one in found]

  return Tokenizer(encode, table, n_sentinels, model, specials)


@functools.lru_cache(maxsize=4)
def library(tokenizer: Tokenizer) -> Any:
  """The library's own tokenizer, with its template, as the file has it.

  The names of specials are specials to it, whatever the text.
  """
  import tokenizers

  loaded = tokenizers.Tokenizer.from_str(tokenizer.model.decode('utf-8'))
  loaded.no_truncation()
  loaded.no_padding()
  return loaded


def _lossy(
  model: bytes, n_sentinels: int, own: Mapping[str, str | None]
) -> Lossy:
  """The same of one that changes text, as its file says."""
  described = _bare(model)
  loaded, vocabulary, specials = _loaded(described, own)
  added = described.get('added_tokens') or ()
  names = {token['content']: token['special'] for token in added}
  table = [b''] * (max(vocabulary.values()) + 1)
  for piece, i in vocabulary.items():
    if piece not in names:
      table[i] = _bytes(described, piece)
    elif not names[piece]:
      table[i] = piece.encode()
  kind = described['model']
  unknown = vocabulary.get(kind.get('unk_token'), kind.get('unk_id'))
  return Lossy(loaded, table, n_sentinels, model, specials, unknown)


def _bare(model: bytes) -> dict[str, Any]:
  unused = 'truncation', 'padding', 'post_processor'
  return json.loads(model) | dict.fromkeys(unused)


def _loaded(
  described: Mapping[str, Any], own: Mapping[str, str | None]
) -> tuple[Any, dict[str, int], Own | None]:
  """The library's tokenizer, its vocabulary, and its own specials."""
  import tokenizers

  loaded = tokenizers.Tokenizer.from_str(json.dumps(described))
  vocabulary = loaded.get_vocab(with_added_tokens=True)
  specials = _own(vocabulary, own)
  loaded.encode_special_tokens = specials is not None  # where text names them
  return loaded, vocabulary, specials


def _byte_level(described: Mapping[str, Any]) -> bool:
  parts = [described.get('pre_tokenizer'), described.get('decoder')]
  return '"ByteLevel"' in json.dumps(parts)


def _bytes(described: Mapping[str, Any], piece: str) -> bytes:
  """What a piece stands for within a text."""
  if _byte_level(described):
    return pieces.byte_level(piece)
  inside = described['model'].get('continuing_subword_prefix')
  if described['model'].get('type') == 'WordPiece':
    return pieces.word_piece(piece, inside)
  return pieces.marked(piece)


def _own(
  vocabulary: Mapping[str, int], named: Mapping[str, str | None]
) -> Own | None:
  """The ids of a vocabulary's own specials, if any are named."""
  ids = {}
  for name, piece in named.items():
    if piece is not None and piece not in vocabulary:
      raise BadInput(f'tokenizer.{name}={piece!r} is not in the vocabulary')
    ids[name] = None if piece is None else vocabulary[piece]
  if ids.get('bos') is None:
    return None
  return Own(
    bos=ids['bos'],
    mask=ids['mask'],
    first_sentinel=ids['sentinel'],
    eos=ids['eos'],
    other_eos=tuple(i for name, i in ids.items() if 'other_eos' in name),
  )
