"""The pipeline: corpus → tokens on disk, once → rows in order → batches."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import hashlib
import itertools
import json
import pathlib

from jaxtyping import Int, Shaped
import numpy as np

from research.config import BadInput, fingerprint
from research.data import cache, order, store, words
from research.data.corpora import Corpus, Embedded
from research.data.corruption import Objective, check_objectives, corrupt
from research.data.layout import Architecture, Batch, Layout
from research.data.mixture import Mixed
from research.data.prefetch import prefetch as prefetched
from research.data.tokenizers import Bytes, Tokenizer, TokenizerSpec

_VERSION = 1  # of what is cached; a change leaves old caches unread


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
  """What is read, and as which tokens.

  Attributes:
    corpus: Where documents come from.
    tokenizer: How they become ids; trained ones learn from the training split.
    validation_share: Share of documents held out, by their hash.
    mask_documents: Whether packed documents are masked from each other.
    cache_dir: Where tokens are kept; None is `cache.default_folder()`.
  """

  corpus: Corpus | Mixed = Embedded()
  tokenizer: TokenizerSpec = Bytes()
  validation_share: float = 0.02
  mask_documents: bool = True
  cache_dir: str | None = dataclasses.field(
    default=None, metadata={'fingerprint': False}
  )

  def __post_init__(self):
    if not 0 <= self.validation_share < 1:
      raise BadInput(
        f'validation_share={self.validation_share} must be from 0 to below 1'
      )

  @property
  def skill_share(self) -> float:
    """Share of the corpus's bytes that are practice of skills."""
    return self.corpus.share if isinstance(self.corpus, Mixed) else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
  """A tokenised corpus. Documents each begin with bos.

  Attributes:
    train: Memory map of the training tokens, uint16 or uint32 [n_train_tokens].
    validation: The same of each domain that has held-out documents.
    tokenizer: What the ids mean.
    hash: 16 hex digits; of all tokens, their split and their meaning.
    mask_documents: As in the config.
    counts: Documents, words and bytes of `train` and of each domain held out.
    sizes: Bytes and words of each token held out, [t, 2] of each domain, where
      the tokenizer cannot tell them from ids.
  """

  train: Shaped[np.ndarray, ' t']
  validation: Mapping[str, np.ndarray]
  tokenizer: Tokenizer
  hash: str
  mask_documents: bool
  counts: Mapping[str, Mapping[str, int]] = dataclasses.field(
    default_factory=dict
  )
  sizes: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

  @property
  def n_train_tokens(self) -> int:
    return len(self.train)

  def boundaries(
    self, tokens: Shaped[np.ndarray, ' t']
  ) -> Int[np.ndarray, ' d']:
    """Where the documents in `tokens` begin."""
    return np.flatnonzero(tokens == self.tokenizer.bos)

  def n_bytes(self, tokens: Shaped[np.ndarray, ' t']) -> int:
    """UTF-8 bytes of the text that `tokens` stand for."""
    return int(self.tokenizer.byte_lengths[tokens].sum())

  def n_words(self, tokens: Shaped[np.ndarray, ' t']) -> int:
    """Words of the text of `tokens`: runs without whitespace; bos parts them.

    A word that begins or ends outside counts as a word.
    """
    parts = np.split(tokens, self.boundaries(tokens))
    return sum(len(self.tokenizer.decode(part).split()) for part in parts)

  def measure(
    self, domain: str, index: Int[np.ndarray, 'r t']
  ) -> tuple[Int[np.ndarray, 'r t'], Int[np.ndarray, 'r t']]:
    """Bytes of text that held-out tokens stand for, and words begun in them.

    Args:
      domain: Whose tokens.
      index: Their places in it; those of a row follow each other.
    """
    if domain in self.sizes:
      found = np.asarray(self.sizes[domain])[index].astype(np.int64)
      return found[..., 0], found[..., 1]
    tokens = np.asarray(self.validation[domain])[index]
    begun = words.word_starts(tokens.ravel(), self.tokenizer)
    return self.tokenizer.byte_lengths[tokens], begun.reshape(tokens.shape)

  def n_rows(self, row_len: int) -> int:
    """Rows of `row_len` tokens, and one to predict, in the training tokens."""
    return order.n_rows(self.n_train_tokens, row_len)


def prepare(cfg: DataConfig) -> Dataset:
  """The dataset of `cfg`: from the cache, or tokenised now and cached.

  Raises:
    BadInput: The corpus or the tokenizer cannot be read, or the split leaves
      one side empty.
    OSError: The cache cannot be written; nothing half-written is left.
  """
  return _prepared(cfg, cfg.corpus, cfg.validation_share)


def held_out(cfg: DataConfig, corpus: Corpus) -> Dataset:
  """All of `corpus` as held-out text, in the tokens of `cfg`; nothing to train.

  Raises:
    BadInput: `corpus`, or the corpus that a tokenizer learns from, cannot be
      read.
    OSError: As `prepare`.
  """
  return _prepared(cfg, corpus, 1)


def _prepared(
  cfg: DataConfig, corpus: Corpus | Mixed, validation_share: float
) -> Dataset:
  made = tokenizer(cfg)
  key = _key('tokens', _content(corpus), validation_share, made.hash)
  folder = cache.folder(
    _root(cfg) / f'tokens-{key}',
    store.is_whole,
    lambda draft: store.write(
      draft, corpus.documents(), made, validation_share
    ),
  )
  parts, meta = store.read(folder)
  return Dataset(
    train=parts.pop('train', np.empty(0, meta['dtype'])),
    validation={name.partition('/')[2]: x for name, x in parts.items()},
    tokenizer=made,
    hash=meta['hash'],
    mask_documents=cfg.mask_documents,
    counts={name: part['counts'] for name, part in meta['parts'].items()},
    sizes={
      name.partition('/')[2]: x for name, x in store.sizes(folder).items()
    },
  )


def batches(
  dataset: Dataset,
  *,
  architecture: Architecture,
  objectives: Sequence[Objective],
  seq_len: int,
  target_len: int | None = None,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  n_steps: int | None = None,
  previous_hash: str | None = None,
  host_index: int = 0,
  host_count: int = 1,
  prefetch: int = 2,
  row_len: int | None = None,
) -> Iterator[tuple[Batch, str]]:
  """This host's part of the batch of each step, and the data hash after it.

  What a step reads is a function of `seed` and `batch_size` alone.

  Args:
    dataset: What to read.
    architecture: Of the model that reads the batches.
    objectives: Each row goes to one of them, drawn by their shares.
    seq_len: Width of `tokens`.
    target_len: Width of an encoder-decoder's decoder side; None is `seq_len`.
    batch_size: Rows of the global batch.
    seed: Of the order and of the corruption.
    start_step: The first step to give.
    n_steps: How many to give; None never ends.
    previous_hash: The data hash after the step before `start_step`; None
      computes it from the beginning (20 us a step).
    host_index: Which slice of each batch to give.
    host_count: Number of slices.
    prefetch: Batches made ahead by a thread; 0 makes none.
    row_len: Tokens of a row before corruption; None is `seq_len`. Only an
      encoder-decoder can read longer rows than `seq_len`
      (`corruption.needed_lengths`).

  Raises:
    BadInput: The objectives, lengths, hosts or the corpus's size do not fit.
  """
  row_len = seq_len if row_len is None else row_len
  if architecture != 'encoder_decoder':
    target_len = 0
  elif target_len is None:
    target_len = seq_len
  check_objectives(
    objectives,
    architecture,
    row_len=row_len,
    seq_len=seq_len,
    target_len=target_len,
    n_sentinels=dataset.tokenizer.specials.n_sentinels,
  )
  _check_batches(dataset, row_len, batch_size, seed, host_index, host_count)
  layout = Layout(
    architecture=architecture,
    specials=dataset.tokenizer.specials,
    seq_len=seq_len,
    target_len=target_len,
    mask_documents=dataset.mask_documents,
  )
  last = None if n_steps is None else start_step + n_steps
  rows = _rows(
    dataset, seed, batch_size, row_len, start_step, last, previous_hash
  )
  part = batch_size // host_count
  mine = slice(host_index * part, (host_index + 1) * part)

  def made() -> Iterator[tuple[Batch, str]]:
    for step, tokens, digest in rows:
      rng = order.corruption_rng(seed, step)
      batch = corrupt(objectives, tokens, rng, layout)
      yield {key: value[mine] for key, value in batch.items()}, digest

  return prefetched(made(), prefetch)


def _rows(
  dataset, seed, batch_size, row_len, start, stop, digest
) -> Iterator[tuple[int, np.ndarray, str]]:
  """Step, global batch of raw rows and data hash, from `start` on."""
  total = dataset.n_rows(row_len)
  first = start
  if digest is None:
    digest, first = order.START, 0
  for step in itertools.count(first):
    if step == stop:
      return
    index = order.row_indices(seed, step, batch_size, total)
    tokens = order.gather(dataset.train, index, row_len)
    digest = order.chain(digest, step, tokens)
    if step >= start:
      yield step, tokens, digest


def _check_batches(
  dataset: Dataset,
  row_len: int,
  batch_size: int,
  seed: int,
  host_index: int,
  host_count: int,
) -> None:
  needed = batch_size * row_len + 1
  if dataset.n_train_tokens < needed:
    raise BadInput(
      f'corpus: {dataset.n_train_tokens} training tokens are too few for one'
      f' batch of {batch_size} x {row_len}, which needs {needed}; give more'
      ' text or a smaller batch_size or seq_len'
    )
  if seed < 0:
    raise BadInput(f'seed={seed} must not be negative')
  if batch_size < 1 or batch_size % host_count:
    raise BadInput(
      f'batch_size={batch_size} must be a multiple of the {host_count} hosts'
    )
  if not 0 <= host_index < host_count:
    raise BadInput(f'host_index={host_index} must be below {host_count}')


def _root(cfg: DataConfig) -> pathlib.Path:
  return pathlib.Path(cfg.cache_dir or cache.default_folder()).expanduser()


def _content(corpus: Corpus | Mixed) -> str:
  return f'{type(corpus).__name__} {corpus.content()}'


def tokenizer(cfg: DataConfig) -> Tokenizer:
  """The tokenizer of `cfg`, trained if it needs to be and is not cached.

  Raises:
    BadInput: The corpus or the tokenizer cannot be read.
  """
  spec = cfg.tokenizer
  if not spec.trained:
    return spec.load(spec.train(()))
  key = _key(
    'tokenizer', _content(cfg.corpus), cfg.validation_share, fingerprint(spec)
  )

  def write(draft: pathlib.Path) -> None:
    texts = (
      document.text
      for document in cfg.corpus.documents()
      if document.place >= cfg.validation_share
    )
    model = spec.train(texts)
    (draft / 'model').write_bytes(model)
    (draft / 'hash').write_text(hashlib.blake2b(model).hexdigest(), 'utf-8')

  folder = cache.folder(_root(cfg) / f'tokenizer-{key}', _model_is_whole, write)
  return spec.load((folder / 'model').read_bytes())


def _model_is_whole(folder: pathlib.Path) -> bool:
  try:
    model = (folder / 'model').read_bytes()
    return (folder / 'hash').read_bytes() == (
      hashlib.blake2b(model).hexdigest().encode()
    )
  except OSError:
    return False


def _key(*parts) -> str:
  text = json.dumps([_VERSION, *parts])
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
