"""Our weights as a checkpoint that transformers reads.

A family tells our parts if its `config.json`, read back, gives the same parts;
no other check is needed, and none is so strict.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from research.config import BadInput
from research.data.specials import Specials
from research.data.tokenizers import Tokenizer
from research.files import draft, write_whole
from research.interop import checkpoint, tensors
from research.interop.family import Family, Settings
from research.interop.table import Tensor
from research.models.config import ModelConfig

# What changes no number in float32, or only how long an input may be.
_FREE = ('target_len', 'dropout', 'dtype', 'remat', 'unroll')


def write(
  folder: pathlib.Path,
  model: Any,
  tokenizer: Tokenizer | None = None,
  template: str | None = None,
) -> Family:
  """Writes config.json, model.safetensors and the tokenizer's files, or none.

  Args:
    folder: Must not hold anything yet.
    model: A transformer of ours.
    tokenizer: Whose bos is told, if there is one; its files are written where
      it is one of the library's.
    template: Of conversations, in Jinja, if there is one.

  Returns:
    The family whose parts the model has.

  Raises:
    BadInput: No family has the model's parts, or the folder is not empty.
    OSError: The folder cannot be written.
  """
  cfg = model.cfg
  kind, settings = expressing(cfg)
  if tokenizer is not None:
    settings |= _named(cfg, tokenizer.specials)
  arrays = {
    name: np.asarray(x, np.float32) for name, x in checkpoint.named(model)
  }
  table = kind.table(cfg, arrays)
  expected = checkpoint.expected(cfg, table)
  dtype = np.dtype(np.float32)
  with draft(folder) as made:
    tensors.write(
      made / tensors.SINGLE,
      {name: (shape, dtype) for name, (shape, *_) in expected.items()},
      _joined(expected, arrays),
    )
    told = None if tokenizer is None else tokenizer_json(tokenizer)
    if told is not None:
      write_whole(made / 'tokenizer.json', told)
      beside = json.dumps(tokenizer_config(told, settings), indent=1)
      write_whole(made / 'tokenizer_config.json', beside + '\n')
    if template is not None:
      write_whole(made / checkpoint.TEMPLATE, template)
    own = None if tokenizer is None else tokenizer.specials.own
    if own is not None and own.other_eos:
      ends = {'eos_token_id': [settings['eos_token_id'], *own.other_eos]}
      write_whole(made / checkpoint.GENERATION, json.dumps(ends) + '\n')
    text = json.dumps(settings | {'dtype': 'float32'}, indent=1)
    write_whole(made / checkpoint.CONFIG, text + '\n')
  return kind


def _named(cfg: ModelConfig, specials: Specials) -> dict[str, int]:
  """The ids that begin and end a text, as `config.json` calls them."""
  bos, own = specials.bos, specials.own
  eos = bos if own is None or own.eos is None else own.eos
  told = {'bos_token_id': bos, 'eos_token_id': eos}
  if cfg.architecture == 'encoder_decoder':
    told |= {'decoder_start_token_id': bos, 'pad_token_id': bos}
  return told


def expressing(cfg: ModelConfig) -> tuple[Family, dict[str, Any]]:
  """A family that has the parts of `cfg`, and its `config.json`.

  Raises:
    BadInput: There is none; says which comes nearest and what it lacks.
  """
  nearest: tuple[int, str] | None = None
  names = ('lm_head.weight',) if not cfg.tied_head else ()
  if cfg.head_transform:
    names += _HEADS
  for kind in checkpoint.FAMILIES:
    told: dict[str, Any] = {}
    try:
      told = kind.write(cfg)
      again = kind.read(Settings(told), names)
    except BadInput as error:
      differences = [str(error)]
    else:
      differences = list(_differences(cfg, again))
    if not differences:
      return kind, told
    if nearest is None or len(differences) < nearest[0]:
      said = f'{kind.model_types[0]} differs in {"; ".join(differences[:4])}'
      nearest = len(differences), said
  assert nearest is not None
  raise BadInput(f'no family of transformers has these parts: {nearest[1]}')


_HEADS = (
  'cls.predictions.transform.dense.weight',
  'lm_head.dense.weight',
  'vocab_transform.weight',
)


def _differences(mine: ModelConfig, theirs: ModelConfig) -> Iterator[str]:
  a, b = _resolved(mine), _resolved(theirs)
  for field in dataclasses.fields(ModelConfig):
    x, y = getattr(a, field.name), getattr(b, field.name)
    if field.name not in _FREE and x != y:
      yield f'{field.name} ({x}, there {y})'


def _resolved(cfg: ModelConfig) -> ModelConfig:
  """`cfg` with every derived field given."""
  attention, mlp = cfg.attention, cfg.mlp
  paired = cfg.architecture == 'encoder_decoder'
  return dataclasses.replace(
    cfg,
    n_decoder_layers=cfg.stacks[-1].n_layers if paired else None,
    n_kv_heads=attention.n_kv_heads,
    d_head=attention.d_head,
    d_ff=mlp.d_ff,
    bias=False,
    qkv_bias=attention.qkv_bias,
    out_bias=attention.out_bias,
    mlp_bias=mlp.bias,
    final_norm=cfg.stacks[0].final_norm,
    attention_scale=attention.scale,
    embedding_scale=cfg.embedding_factor,
  )


def _joined(
  expected: Mapping[str, tuple[tuple[int, ...], Tensor, int | None]],
  arrays: Mapping[str, np.ndarray],
) -> Iterator[np.ndarray]:
  """Each tensor of theirs, made of our parameters when it is asked for."""
  for _, entry, layer in expected.values():
    held = {}
    for name in entry.ours:
      x = arrays[name.replace('.blocks.{}.', '.blocks.')]
      held[name] = x if layer is None else x[layer]
    yield entry.join(held)


def tokenizer_json(tokenizer: Tokenizer) -> str | None:
  """The library's file, with our specials; None of other tokenizers."""
  try:
    told = json.loads(tokenizer.model)
  except ValueError:
    return None
  specials = tokenizer.specials
  if specials.own is None:
    # The library counts on from its last id, whatever id a token is given.
    last = max(_library(json.dumps(told)).get_vocab().values())
    names = [f'<|unused_{i}|>' for i in range(last + 1, specials.n_text)]
    names += ['<|bos|>', '<|mask|>']
    names += [f'<|sentinel_{i}|>' for i in range(specials.n_sentinels)]
    told['added_tokens'] = (told.get('added_tokens') or []) + [
      {
        'id': i,
        'content': name,
        'special': True,
        'single_word': False,
        'lstrip': False,
        'rstrip': False,
        'normalized': False,
      }
      for i, name in enumerate(names, last + 1)
    ]
  return json.dumps(told, ensure_ascii=False)


_CUSTOMARY = {
  'pad_token': ('[PAD]', '<pad>'),
  'unk_token': ('[UNK]', '<unk>'),
  'cls_token': ('[CLS]',),
  'sep_token': ('[SEP]',),
  'mask_token': ('[MASK]', '<mask>', '<|mask|>'),
}


def tokenizer_config(told: str, ids: Mapping[str, Any]) -> dict[str, Any]:
  """A class that takes `tokenizer.json` as it is, and its specials' names.

  The class of a family would put parts of its own in the place of the file's.

  Args:
    told: The `tokenizer.json`.
    ids: The `config.json`, whose ids are named alike.
  """
  loaded = _library(told)
  specials = {
    token.content
    for token in loaded.get_added_tokens_decoder().values()
    if token.special
  }
  named = {}
  for field, customary in _CUSTOMARY.items():
    named.update((field, name) for name in customary if name in specials)
  for field in ('bos_token', 'eos_token', 'pad_token'):
    if f'{field}_id' in ids:
      named[field] = loaded.id_to_token(ids[f'{field}_id'])
  return {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'clean_up_tokenization_spaces': False,
    **named,
  }


def _library(told: str) -> Any:
  import tokenizers

  return tokenizers.Tokenizer.from_str(told)
