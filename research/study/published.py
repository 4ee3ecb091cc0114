"""A published checkpoint as a cell: found, held to what it should be, read."""

from collections.abc import Iterator
import dataclasses
import hashlib
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from research import sharding
from research.config import BadInput
from research.data.pipeline import DataConfig
from research.data.tokenizers import TokenizerFile
from research.files import write_whole
from research.interop import checkpoint, imported, source
from research.interop.checkpoint import Checkpoint
from research.interop.imported import Imported
from research.models.config import ModelConfig
from research.study import identity, store
from research.study.evaluation import Evaluation

GIB = 2**30
_PROGRAMS = 192 * 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
  """A model that others trained, at one step: it is read, not trained.

  Attributes:
    source: A folder, a GGUF file, ORG/NAME@REVISION on the hub, or what
      `experiments.import_weights` wrote.
    model: What it has to be; a source that holds another model is refused.
    step: Training steps it has had.
    tokens_per_step: Tokens of a step.
    target_len: Tokens of a target in training, for an encoder-decoder; None: as
      many as the model has places.
    once: Whether its training is known to have read no text twice.
    data: What it is evaluated on; the tokenizer is its own.
    memory: Most GiB that it may take; None: all that there is.
  """

  source: str
  model: ModelConfig
  step: int
  tokens_per_step: int
  target_len: int | None = None
  once: bool = False
  data: DataConfig = DataConfig()
  memory: float | None = dataclasses.field(
    default=None, metadata={'fingerprint': False}
  )

  def __post_init__(self):
    for name in ('step', 'tokens_per_step'):
      if (value := getattr(self, name)) < 1:
        raise BadInput(f'{name}={value} must be at least 1')
    told = imported.step(self.source)
    if told not in (None, self.step):
      raise BadInput(
        f'source={self.source} is of step {told}, not of step={self.step}'
      )

  @property
  def tokens(self) -> int:
    """Tokens that its training has consumed."""
    return self.step * self.tokens_per_step

  @property
  def flops(self) -> int:
    """Model FLOPs that its training has spent, in rows as long as it reads."""
    length = self.model.seq_len
    flops = self.model.train_flops(length, self.target_len)
    return flops * self.tokens // length


class Skipped(Exception):
  """A checkpoint is not here, or does not fit; the rest go on."""


class Read(NamedTuple):
  """A published model that was read.

  Attributes:
    model: Its network.
    data: What it is evaluated on, by its own tokenizer.
    facts: Columns of its rows.
  """

  model: Any
  data: DataConfig
  facts: dict[str, Any]


def memory(cfg: Published, how: Evaluation) -> int:
  """Bytes that evaluating it takes, an estimate from sizes alone.

  Parameters in float32, and the largest of what reading, scoring and answering
  hold besides: the largest stacked parameter in 16 bits; logits and attention
  scores of a batch, twice; the blocks a second time (`Stack.layers`). Then what
  programs take: 192 MiB, of which a Pythia of 84 million parameters was seen to
  take 142 (`tests/test_memory.py`).
  """
  model, t = cfg.model, how.window or cfg.model.seq_len
  largest = max(map(math.prod, checkpoint.shapes(model).values()))
  scores = how.batch_size * t * (model.vocab_size + model.n_heads * t)
  apart = 4 * model.n_params_non_embedding if how.tasks else 0
  besides = max(2 * largest, 2 * 4 * scores, apart)
  return 4 * model.n_params + besides + _PROGRAMS


def held(cfg: Published, at_once: int = 1) -> int:
  """Bytes one may take of `at_once` that are read at the same time.

  As stated, or its share of the accelerator's or of the machine's memory.
  """
  if cfg.memory is not None:
    return round(cfg.memory * GIB)
  there = sharding.memory() if at_once == 1 else sharding.host_memory()
  return there // at_once


def read(
  cfg: Published, run: store.Path, how: Evaluation, at_once: int = 1
) -> Read:
  """The model, read from its source; what tells it from others stays in `run`.

  Raises:
    Skipped: It does not fit, or is neither here nor to be had.
    BadInput: It is damaged, not the model it should be, or has no tokenizer.
  """
  needed, there = memory(cfg, how), held(cfg, at_once)
  if needed > there:
    raise Skipped(
      f'needs {needed / GIB:.3g} GiB of memory, and {there / GIB:.3g} GiB are'
      ' there'
    )
  try:
    path = source.find(cfg.source)
  except BadInput as error:
    raise Skipped(str(error)) from None
  if (path / imported.MODEL).is_file():
    found = imported.read(path)
  else:
    found = source.read(str(path))
  _same(cfg, found.config)
  tokenizer = _tokenizer(cfg, found, run)
  digest, seen = hashlib.blake2b(digest_size=8), identity.Sample()
  arrays = imported.hashed(_seen(cfg, found.parameters(), seen), digest)
  names = checkpoint.shapes(found.config)
  model = checkpoint.assemble(found.config, zip(names, arrays, strict=True))
  identity.keep(run, digest.hexdigest(), seen)
  data = dataclasses.replace(cfg.data, tokenizer=tokenizer)
  return Read(model, data, facts(cfg, digest.hexdigest()))


def facts(cfg: Published, weights_hash: str) -> dict[str, Any]:
  """Columns of its rows: what it is, and what it has cost its makers."""
  rows, left = divmod(cfg.tokens_per_step, cfg.model.seq_len)
  return {
    'params': cfg.model.n_params,
    'params_non_embedding': cfg.model.n_params_non_embedding,
    'flops': cfg.flops,
    'tokens': cfg.tokens,
    'unique_tokens': cfg.tokens if cfg.once else None,
    'epochs': 1.0 if cfg.once else None,
    'step': cfg.step,
    'learning_rate': None,
    'batch_size': None if left else rows,
    'source': cfg.source,
    'weights_hash': weights_hash,
  }


def _same(cfg: Published, found: ModelConfig) -> None:
  for field in dataclasses.fields(ModelConfig):
    theirs, ours = (getattr(c, field.name) for c in (found, cfg.model))
    if theirs != ours:
      raise BadInput(
        f'source={cfg.source} is another model: its {field.name} is {theirs},'
        f' not {ours}'
      )


def _tokenizer(
  cfg: Published, found: Checkpoint | Imported, run: store.Path
) -> TokenizerFile:
  """Its tokenizer; copied into `run`, if the model was not imported."""
  if found.tokenizer is None:
    raise BadInput(
      f'source={cfg.source} has no {imported.TOKENIZER}: put one beside its'
      ' weights'
    )
  if isinstance(found, Imported):
    return found.tokenizer
  write_whole(run / imported.TOKENIZER, found.tokenizer)
  spec = imported.named(found, pathlib.Path(run / imported.TOKENIZER))
  imported.fits(spec, found)
  return spec


def _seen(
  cfg: Published,
  parameters: Iterator[tuple[str, np.ndarray]],
  sample: identity.Sample,
) -> Iterator[tuple[str, np.ndarray]]:
  for name, x in parameters:
    if not np.isfinite(x).all():
      raise BadInput(
        f'source={cfg.source}: {name} has numbers that are not finite; get it'
        ' again'
      )
    sample.take(name, x)
    yield name, x
