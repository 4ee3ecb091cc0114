"""Tokenizers: text to ids and back, with nothing lost."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import hashlib
import io
import json
import pathlib
import types
from typing import Any, ClassVar

from jaxtyping import Int
import numpy as np

from research.config import BadInput
from research.data import pieces
from research.data.specials import Own, Specials

_PROBE = (
  'a  b\n\n\tNaïve—“x”,  1234 \u2581\u2581 \U0001f469\u200d\U0001f680\r\n\0 '
)


class Tokenizer:
  """A vocabulary: text ids that each stand for some bytes, then specials.

  `decode(encode(text)) == text` for every text, because each text id stands
  for fixed bytes and their concatenation is the text's UTF-8.

  Attributes:
    specials: The layout of the ids.
    byte_lengths: int32 [vocab_size], the bytes an id stands for, 0 for
      specials: over the ids of a text they sum to its UTF-8 length.
    hash: 16 hex digits, equal for tokenizers that give equal ids.
    model: What it was loaded from.
  """

  def __init__(
    self,
    encode: Callable[[Sequence[str]], list[np.ndarray]],
    pieces: Sequence[bytes],
    n_sentinels: int,
    identity: bytes,
    own: Own | None = None,
  ):
    self.specials = Specials(
      n_text=len(pieces), n_sentinels=n_sentinels, own=own
    )
    self._encode, self.model = encode, identity
    self._pieces = [*pieces, *[b''] * (self.vocab_size - len(pieces))]
    self.byte_lengths = np.array([len(p) for p in self._pieces], np.int32)
    told = '' if own is None else repr(own)
    self.hash = hashlib.blake2b(
      identity + f'{n_sentinels}{told}'.encode(), digest_size=8
    ).hexdigest()

  @property
  def vocab_size(self) -> int:
    """All ids, specials included."""
    return self.specials.vocab_size

  @property
  def n_text(self) -> int:
    return self.specials.n_text

  @property
  def bos(self) -> int:
    return self.specials.bos

  @property
  def mask(self) -> int:
    return self.specials.mask

  def sentinel(self, i: int) -> int:
    return self.specials.sentinel(i)

  def encode(self, text: str) -> Int[np.ndarray, ' t']:
    """The ids of `text`, int32; none is a special, whatever the text says."""
    return self._encode([text])[0]

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids of each text; on all cores where the tokenizer can."""
    return self._encode(texts)

  def decode(self, ids: Iterable[Any]) -> str:
    """The text of `ids`; specials give none, torn UTF-8 gives U+FFFD."""
    return self.decode_bytes(ids).decode('utf-8', errors='replace')

  def decode_bytes(self, ids: Iterable[Any]) -> bytes:
    """The bytes that `ids` stand for."""
    listed = ids.tolist() if isinstance(ids, np.ndarray) else ids
    return b''.join([self._pieces[i] for i in listed])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bytes:
  """Every byte of UTF-8 is an id: 256 text ids, nothing to train."""

  trained: ClassVar[bool] = False
  n_sentinels: int = 16

  def train(self, texts: Iterable[str]) -> bytes:
    del texts
    return b'bytes'

  def load(self, model: bytes) -> Tokenizer:
    """The tokenizer."""

    def encode(texts):
      coded = [np.frombuffer(text.encode('utf-8'), np.uint8) for text in texts]
      return [ids.astype(np.int32) for ids in coded]

    pieces = [bytes([i]) for i in range(256)]
    return Tokenizer(encode, pieces, self.n_sentinels, model)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BPE:
  """Byte-level byte-pair encoding (Sennrich 2016; words as GPT-2 cuts them).

  Attributes:
    vocab_size: All ids, specials included.
    n_sentinels: How many of them are sentinels.
    sample_bytes: Training reads the corpus's beginning up to this size.
  """

  trained: ClassVar[bool] = True
  vocab_size: int = 1024
  n_sentinels: int = 16
  sample_bytes: int = 100_000_000

  def __post_init__(self):
    _check_sizes(self, least_text=256)

  def train(self, texts: Iterable[str]) -> bytes:
    """The merges learned from `texts`, as a `tokenizer.json`."""
    import tokenizers

    words = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = words  # pyright: ignore[reportAttributeAccessIssue]
    model.decoder = tokenizers.decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = tokenizers.trainers.BpeTrainer(
      vocab_size=_n_text(self),
      initial_alphabet=sorted(words.alphabet()),
      special_tokens=[],
      show_progress=False,
    )
    model.train_from_iterator(_beginning(texts, self.sample_bytes), trainer)
    return model.to_str().encode('utf-8')

  def load(self, model: bytes) -> Tokenizer:
    """The tokenizer whose merges `train` returned."""
    return _from_json(model, self.n_sentinels, n_text=_n_text(self))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unigram:
  """A unigram language model over pieces (Kudo 2018), with byte fallback.

  Text is not normalised. The piece marker U+2581 stands for a space inside
  the model, so where the text itself has U+2581 it is cut there and the sign
  is spelled in bytes.

  Attributes:
    vocab_size: All ids, specials included.
    n_sentinels: How many of them are sentinels.
    sample_bytes: Training reads lines spread evenly over this much of the
      corpus's beginning.
    sample_lines: At most this many of them.
  """

  trained: ClassVar[bool] = True
  vocab_size: int = 1024
  n_sentinels: int = 16
  sample_bytes: int = 100_000_000
  sample_lines: int = 25_000

  def __post_init__(self):
    _check_sizes(self, least_text=257)

  def train(self, texts: Iterable[str]) -> bytes:
    """The pieces learned from `texts`, as a sentencepiece model.

    Raises:
      BadInput: The vocabulary does not hold the bytes and characters there
        are, or there is too little text for one.
    """
    import sentencepiece

    lines = [
      line
      for text in _beginning(texts, self.sample_bytes)
      for line in text.splitlines()
      if line
    ]
    step = -(-len(lines) // self.sample_lines) or 1
    model = io.BytesIO()
    try:
      sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(lines[::step]),
        model_writer=model,
        model_type='unigram',
        vocab_size=_n_text(self) + 1,  # and the unknown piece, never used
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name='identity',
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        max_sentence_length=1_000_000,
        num_threads=4,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        minloglevel=3,
      )
    except RuntimeError as error:
      said = ' '.join(str(error).split())
      raise BadInput(
        f'tokenizer.vocab_size={self.vocab_size}: sentencepiece cannot train'
        f' on {len(lines)} lines: {said[:200]}'
      ) from error
    return model.getvalue()

  def load(self, model: bytes) -> Tokenizer:
    """The tokenizer whose model `train` returned."""
    import sentencepiece

    loaded = sentencepiece.SentencePieceProcessor()
    loaded.LoadFromSerializedProto(model)
    table = [pieces.marked(loaded.IdToPiece(i)) for i in range(1, len(loaded))]
    table += [b''] * (_n_text(self) - len(table))
    marker = [loaded.PieceToId(f'<0x{byte:02X}>') for byte in b'\xe2\x96\x81']

    def encode_one(text: str) -> np.ndarray:
      ids = []
      for i, part in enumerate(text.split('\u2581')):
        ids += (marker if i else []) + loaded.EncodeAsIds(part)
      return np.array(ids, np.int32) - 1

    def encode(texts):
      return [encode_one(text) for text in texts]

    return Tokenizer(encode, table, self.n_sentinels, model)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerFile:
  """An existing `tokenizer.json`.

  Attributes:
    path: The file. Its tokenizer must lose nothing, or bits per byte would
      be of another text: byte-level ones (GPT-2, LLaMA 3) do so.
    n_sentinels: Number of sentinels.
    bos: Its token that begins a document, for a model that was trained with
      it; None: our specials come after its ids, for a model to be trained.
    mask: Its mask, beside `bos`.
    sentinel: Its first sentinel, beside `bos`; the others count down (T5).
    eos: Its token that ends a text, beside `bos`, where bos does not.
  """

  trained: ClassVar[bool] = False
  path: str
  n_sentinels: int = 16
  bos: str | None = None
  mask: str | None = None
  sentinel: str | None = None
  eos: str | None = None

  def __post_init__(self):
    for name in ('mask', 'sentinel', 'eos'):
      if self.bos is None and getattr(self, name) is not None:
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
    """The tokenizer of the file.

    Raises:
      BadInput: Not a tokenizer.json, one that changes text, or one without a
        special that is named.
    """
    names = 'bos', 'mask', 'sentinel', 'eos'
    named = {name: getattr(self, name) for name in names}
    try:
      tokenizer = _from_json(model, self.n_sentinels, own=named)
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
        raise BadInput(
          f'tokenizer.path: {self.path} changes text (its normalizer or'
          ' pre-tokenizer drops or adds some); give a byte-level one'
        )
    return tokenizer


TokenizerSpec = Bytes | BPE | Unigram | TokenizerFile


def _check_sizes(spec: BPE | Unigram, least_text: int) -> None:
  least = least_text + 2 + spec.n_sentinels
  if spec.vocab_size < least:
    raise BadInput(
      f'tokenizer.vocab_size={spec.vocab_size} must be at least {least}:'
      f' {least_text} ids for bytes, bos, mask and {spec.n_sentinels} sentinels'
    )


def _n_text(spec: BPE | Unigram) -> int:
  return spec.vocab_size - 2 - spec.n_sentinels


def _beginning(texts: Iterable[str], size: int) -> Iterator[str]:
  for text in texts:
    yield text
    size -= len(text.encode('utf-8'))
    if size <= 0:
      return


def _from_json(
  model: bytes,
  n_sentinels: int,
  n_text: int | None = None,
  own: Mapping[str, str | None] = types.MappingProxyType({}),
) -> Tokenizer:
  """The tokenizer that a `tokenizer.json` describes.

  Its template, truncation and padding are not used, nor, where it works on
  bytes, its normalizer, which would change text.
  """
  import tokenizers

  described = json.loads(model)
  byte_level = '"ByteLevel"' in json.dumps(
    [described.get('pre_tokenizer'), described.get('decoder')]
  )
  described |= dict.fromkeys(('truncation', 'padding', 'post_processor'))
  if byte_level:
    described['normalizer'] = None
  added = {token['content'] for token in described.get('added_tokens') or ()}
  loaded = tokenizers.Tokenizer.from_str(json.dumps(described))
  vocabulary = loaded.get_vocab(with_added_tokens=True)
  table = [b''] * (n_text or max(vocabulary.values()) + 1)
  specials = _own(vocabulary, own)
  loaded.encode_special_tokens = specials is not None  # where text names them
  for piece, i in vocabulary.items():
    if piece in own.values():
      continue
    if piece in added:
      table[i] = piece.encode('utf-8')
    else:
      table[i] = (pieces.byte_level if byte_level else pieces.marked)(piece)

  def encode(texts):
    found = loaded.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(one.ids, np.int32) for one in found]

  return Tokenizer(encode, table, n_sentinels, model, specials)


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
  )
