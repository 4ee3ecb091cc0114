"""GGUF files of LLaMA and Qwen2 models, dequantised a tensor at a time."""

from collections.abc import Iterator, Mapping
import pathlib
import re
from typing import Any

import numpy as np

from research.config import BadInput
from research.interop import checkpoint, gguf_tokenizer, table
from research.interop.checkpoint import Checkpoint
from research.interop.families.llama import LLAMA
from research.interop.family import Family
from research.interop.table import Tensor, linear, norm, same
from research.models.config import ModelConfig, Rotary

_BLOCK = 'stack.blocks.{}.'
_READ = ('F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q6_K')
_FACTORS = 'rope_freqs.weight'
# What our families call the fields of a GGUF file.
_FIELDS = {
  'context_length': 'max_position_embeddings',
  'embedding_length': 'hidden_size',
  'block_count': 'num_hidden_layers',
  'feed_forward_length': 'intermediate_size',
  'attention.head_count': 'num_attention_heads',
  'attention.head_count_kv': 'num_key_value_heads',
  'attention.key_length': 'head_dim',
  'attention.layer_norm_rms_epsilon': 'rms_norm_eps',
  'rope.freq_base': 'rope_theta',
}
_TOKENS = {
  'tokenizer.ggml.bos_token_id': 'bos_token_id',
  'tokenizer.ggml.eos_token_id': 'eos_token_id',
}


def _tensors(cfg: ModelConfig) -> Iterator[Tensor]:
  return _table(cfg, None)


def _interleaved(cfg: ModelConfig) -> Iterator[Tensor]:
  """llama.cpp has the pairs that LLaMA's rotation turns side by side."""
  assert isinstance(cfg.position, Rotary)
  return _table(cfg, cfg.position.n_rotated(cfg.attention.d_head))


def _table(cfg: ModelConfig, n_rotated: int | None) -> Iterator[Tensor]:
  spec, layer = cfg.attention, 'blk.{}.'

  def rows(n_heads: int):
    if n_rotated is None:
      return None
    return [table.interleaved(n_heads, spec.d_head, n_rotated)]

  def project(name: str, ours: str, n_heads: int):
    return linear(
      f'{layer}attn_{name}', f'{_BLOCK}attention.{ours}', rows=rows(n_heads)
    )

  yield same('token_embd.weight', 'embedding.table')
  yield from norm(f'{layer}attn_norm', f'{_BLOCK}attention_norm')
  yield from project('q', 'query', spec.n_heads)
  yield from project('k', 'key', spec.n_kv_heads)
  for name, ours in (
    ('attn_v', 'attention.value'),
    ('attn_output', 'attention.out'),
    ('ffn_gate', 'mlp.gate'),
    ('ffn_up', 'mlp.up'),
    ('ffn_down', 'mlp.down'),
  ):
    yield from linear(layer + name, _BLOCK + ours)
  yield from norm(f'{layer}ffn_norm', f'{_BLOCK}mlp_norm')
  yield from norm('output_norm', 'stack.norm')
  yield from linear('output', 'head.weight')


def _family(kind: str, tensors) -> Family:
  return Family(
    model_types=(kind,),
    read=LLAMA.read,
    write=LLAMA.write,
    tensors=tensors,
    ignored=(re.escape(_FACTORS),),
  )


_FAMILIES = {
  'llama': _family('llama', _interleaved),
  'qwen2': _family('qwen2', _tensors),
}


class _Dequantised(Mapping[str, np.ndarray]):
  """The tensors of a file as numbers; each look-up reads the disk."""

  def __init__(self, path: pathlib.Path, held: Mapping[str, Any]):
    self.path, self.held = path, held

  def __getitem__(self, name: str) -> np.ndarray:
    import gguf

    tensor = self.held[name]
    if tensor.tensor_type.name == 'F16':
      return np.array(tensor.data)
    numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return numbers.reshape(self.shape(name))

  def __iter__(self) -> Iterator[str]:
    return iter(self.held)

  def __len__(self) -> int:
    return len(self.held)

  def shape(self, name: str) -> tuple[int, ...]:
    """The shape of a tensor, outermost dimension first."""
    return tuple(int(n) for n in reversed(self.held[name].shape))

  def dtype(self, name: str) -> np.dtype:
    """Of the numbers that a look-up gives."""
    half = self.held[name].tensor_type.name == 'F16'
    return np.dtype(np.float16 if half else np.float32)


def read(path: pathlib.Path) -> Checkpoint:
  """The checkpoint in a GGUF file, checked.

  Where its own tokenizer is of a kind that is not read, it is the
  `tokenizer.json` beside the file, if there is one.

  Raises:
    BadInput: The package `gguf` is missing, the file is not whole, its
      architecture is not one of ours, its rotation is rescaled by frequency,
      or a tensor is missing, surplus, of another shape or packed in a way that
      is not read.
  """
  try:
    import gguf
  except ImportError:
    raise BadInput(
      f'source={path}: reading GGUF needs the package gguf: pip install gguf'
    ) from None
  try:
    reader = gguf.GGUFReader(path)
  except (ValueError, IndexError, KeyError, OSError) as error:
    said = ' '.join(str(error).split())
    raise BadInput(f'{path} is no GGUF file, or is damaged: {said}') from None
  fields = {name: field.contents() for name, field in reader.fields.items()}
  kind = fields.get('general.architecture')
  if kind not in _FAMILIES:
    raise BadInput(
      f'{path}: architecture {kind!r} is not read from GGUF; there are:'
      f' {", ".join(_FAMILIES)}'
    )
  held = {tensor.name: tensor for tensor in reader.tensors}
  for name, tensor in held.items():
    if tensor.tensor_type.name not in _READ:
      raise BadInput(
        f'{path}: tensor {name} is packed as {tensor.tensor_type.name}; only'
        f' {", ".join(_READ)} are read'
      )
  _refuse_rescaled(path, held)
  settings = _settings(kind, fields, held)
  found = checkpoint.checked(
    path, settings, _FAMILIES[kind], _Dequantised(path, held)
  )
  return found._replace(
    tokenizer=gguf_tokenizer.read(fields) or _beside(path),
    template=fields.get('tokenizer.chat_template'),
  )


def _beside(path: pathlib.Path) -> bytes | None:
  tokenizer = path.with_name('tokenizer.json')
  return tokenizer.read_bytes() if tokenizer.is_file() else None


def _refuse_rescaled(path: pathlib.Path, held: Mapping[str, Any]) -> None:
  """Refuses a divisor of each frequency, which Llama 3.1 and 3.2 have."""
  factors = held.get(_FACTORS)
  if factors is not None and (factors.data != 1).any():
    raise BadInput(
      f'{path}: {_FACTORS} divides rotary frequencies by up to'
      f' {factors.data.max():g}, as Llama 3.1 and 3.2 do; only factors of 1 are'
      ' read: give a model without them'
    )


def _settings(
  kind: str, fields: Mapping[str, Any], held: Mapping[str, Any]
) -> dict[str, Any]:
  """The fields as a `config.json` has them."""
  told = {
    ours: fields[f'{kind}.{name}']
    for name, ours in _FIELDS.items()
    if f'{kind}.{name}' in fields
  }
  told |= {
    ours: fields[name] for name, ours in _TOKENS.items() if name in fields
  }
  # Without a type llama.cpp means linear; the older name has none.
  scaling = fields.get(f'{kind}.rope.scaling.type', 'linear')
  older = fields.get(f'{kind}.rope.scale_linear')
  factor = fields.get(f'{kind}.rope.scaling.factor') or older
  if scaling != 'none':
    told['rope_scaling'] = {'type': scaling, 'factor': factor}
  return told | {
    'model_type': kind,
    'vocab_size': int(held['token_embd.weight'].shape[1]),
    'tie_word_embeddings': 'output.weight' not in held,
  }
