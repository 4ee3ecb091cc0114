"""An imported model's folder: weights under our names, and where they are from.

FOLDER/model.json         its config, its tokenizer and its source
FOLDER/model.safetensors  parameters, layers stacked, in the source's precision
FOLDER/tokenizer.json     as the source has it, if it has one
FOLDER/chat_template.jinja  likewise
"""

from collections.abc import Iterator
import dataclasses
import hashlib
import itertools
import json
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np

from research import config
from research.config import BadInput
from research.data.tokenizers import Tokenizer, TokenizerFile
from research.files import draft, write_whole
from research.interop import checkpoint, tensors
from research.interop.checkpoint import Checkpoint
from research.models import transformer
from research.models.config import ModelConfig

MODEL = 'model.json'
TOKENIZER = 'tokenizer.json'


class Imported(NamedTuple):
  """An imported model.

  Attributes:
    config: Its parts.
    tokenizer: Its tokenizer, if it has one.
    hash: 16 hex digits, equal for equal parameters.
    step: Training steps, where the source says so.
    folder: Where it lies.
    template: Of conversations, in Jinja, if it has one.
  """

  config: ModelConfig
  tokenizer: TokenizerFile | None
  hash: str
  step: int | None
  folder: pathlib.Path
  template: str | None = None

  def model(self) -> transformer.Model:
    """The model, its parameters in float32."""
    return checkpoint.assemble(self.config, self.parameters())

  def parameters(self) -> Iterator[tuple[str, np.ndarray]]:
    """Its parameters by our names, one at a time."""
    return iter(tensors.find(self.folder).items())


def write(
  folder: pathlib.Path, found: Checkpoint, source: str
) -> tuple[Imported, str]:
  """Writes a checkpoint as a folder of ours, whole or not at all.

  Args:
    folder: Must not hold anything yet.
    found: What is imported.
    source: What it is called.

  Returns:
    What was written, and what is to be said of its tokenizer.

  Raises:
    BadInput: The folder is not empty.
    OSError: It cannot be written.
  """
  with draft(folder) as made:
    digest = hashlib.blake2b(digest_size=8)
    shapes = {
      name: (shape, found.dtype(name))
      for name, shape in checkpoint.shapes(found.config).items()
    }
    arrays = hashed(found.parameters(), digest)
    tensors.write(made / tensors.SINGLE, shapes, arrays)
    tokenizer, said = _tokenizer(found, made)
    if found.template is not None:
      write_whole(made / checkpoint.TEMPLATE, found.template)
    told = {
      'config': config.to_dict(found.config),
      'tokenizer': None if tokenizer is None else config.to_dict(tokenizer),
      'source': source,
      'hash': digest.hexdigest(),
      'step': step(source),
    }
    write_whole(made / MODEL, json.dumps(told, indent=1) + '\n')
  return read(folder), said


def read(folder: pathlib.Path) -> Imported:
  """The imported model in `folder`; its weights are not read yet.

  Raises:
    BadInput: There is none.
  """
  path = folder / MODEL
  if not path.is_file():
    raise BadInput(f'{folder} holds no imported model: it has no {MODEL}')
  told = json.loads(path.read_text(encoding='utf-8'))
  tokenizer = told['tokenizer']
  if tokenizer is not None:
    tokenizer = dataclasses.replace(
      config.from_dict(TokenizerFile, tokenizer), path=str(folder / TOKENIZER)
    )
  template = folder / checkpoint.TEMPLATE
  return Imported(
    config.from_dict(ModelConfig, told['config']),
    tokenizer,
    told['hash'],
    told['step'],
    folder,
    template.read_text('utf-8') if template.is_file() else None,
  )


def hashed(
  parameters: Iterator[tuple[str, np.ndarray]], digest: Any
) -> Iterator[np.ndarray]:
  """The parameters without their names, as `digest` has heard them."""
  for name, x in parameters:
    x = np.ascontiguousarray(x)
    digest.update(f'{name} {x.dtype} {x.shape}'.encode())
    digest.update(x.reshape(-1).view(np.uint8).data)
    yield x


def step(source: str) -> int | None:
  """Training steps, by the last `step1000` in a source's name."""
  found = re.findall(r'step[-_]?(\d+)', source)
  return int(found[-1]) if found else None


def _tokenizer(
  found: Checkpoint, folder: pathlib.Path
) -> tuple[TokenizerFile | None, str]:
  """The tokenizer, copied; and what is to be said of it."""
  if found.tokenizer is None:
    return None, f'no {TOKENIZER}: text cannot be read'
  write_whole(folder / TOKENIZER, found.tokenizer)
  spec = named(found, folder / TOKENIZER)
  try:
    loaded = fits(spec, found)
  except BadInput as error:
    return None, f'{error}; text cannot be read'
  said = 'loses nothing' if loaded.lossless else 'changes text'
  return dataclasses.replace(spec, path=TOKENIZER), f'its tokenizer {said}'


def fits(spec: TokenizerFile, found: Checkpoint) -> Tokenizer:
  """The tokenizer, if it is the model's.

  Raises:
    BadInput: It is not.
  """
  assert found.tokenizer is not None
  loaded = spec.load(found.tokenizer)
  if loaded.vocab_size > found.config.vocab_size:
    raise BadInput(
      f'{TOKENIZER} has {loaded.vocab_size} ids, the model'
      f' {found.config.vocab_size}: it is not its tokenizer'
    )
  return loaded


def named(found: Checkpoint, path: pathlib.Path) -> TokenizerFile:
  """The tokenizer's file, with the tokens that serve as our specials.

  Raises:
    BadInput: It is damaged, or nothing says which token begins a text.
  """
  vocabulary = _vocabulary(found)
  pieces = {i: piece for piece, i in vocabulary.items()}

  def first(*names: str) -> str | None:
    return next((name for name in names if name in vocabulary), None)

  def all_told(*fields: str) -> list[str]:
    ids = [found.settings.get(field) for field in fields]
    lists = (i if isinstance(i, list) else [i] for i in ids)
    return [pieces[i] for some in lists for i in some if i in pieces]

  def told(*fields: str) -> str | None:
    return next(iter(all_told(*fields)), None)

  bos = {
    'encoder': first('[CLS]', '<s>'),
    'decoder': told('bos_token_id', 'eos_token_id') or first('<|endoftext|>'),
    'encoder_decoder': told('decoder_start_token_id', 'pad_token_id'),
  }[found.config.architecture]
  if bos is None:
    raise BadInput(
      f'{checkpoint.CONFIG}: bos_token_id is not in {TOKENIZER}: name the token'
      ' that begins a text'
    )
  ends = list(dict.fromkeys(all_told('eos_token_id', checkpoint.ENDS)))
  sentinels = (f'<extra_id_{i}>' for i in itertools.count())
  n_sentinels = sum(1 for _ in itertools.takewhile(vocabulary.get, sentinels))
  return TokenizerFile(
    path=str(path),
    n_sentinels=n_sentinels,
    bos=bos,
    mask=first('[MASK]', '<mask>'),
    sentinel=first('<extra_id_0>'),
    eos=next(iter(ends), None),
    other_eos=tuple(ends[1:]),
  )


def _vocabulary(found: Checkpoint) -> dict[str, int]:
  """The id of each piece."""
  import tokenizers

  assert found.tokenizer is not None
  try:
    loaded = tokenizers.Tokenizer.from_str(found.tokenizer.decode('utf-8'))
  except Exception as error:  # the library raises nothing narrower
    said = ' '.join(str(error).split())
    raise BadInput(
      f'source={found.folder}: its {TOKENIZER} is damaged ({said[:200]}): fetch'
      ' it again, or do without it'
    ) from None
  return loaded.get_vocab(with_added_tokens=True)
