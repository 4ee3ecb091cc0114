"""Tokenizers as a config names them: bytes, BPE, unigram, or a file."""

from collections.abc import Iterable, Iterator
import dataclasses
import io
from typing import ClassVar

import numpy as np

from research.config import BadInput
from research.data import pieces, tokenizer_file
from research.data.tokenizer import Tokenizer
from research.data.tokenizer_file import TokenizerFile


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
    return tokenizer_file.read(model, self.n_sentinels, n_text=_n_text(self))


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
