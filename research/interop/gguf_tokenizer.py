"""The vocabulary in a GGUF file as a `tokenizer.json`."""

from collections.abc import Iterator, Mapping
import json
from typing import Any

# llama.cpp's types of tokens.
_NORMAL, _UNKNOWN, _CONTROL, _USER, _BYTE = 1, 2, 3, 4, 6

# How byte-level vocabularies cut text before merging, by the name in the file.
_DIGITS = {'type': 'Digits', 'individual_digits': True}
_BYTES = {
  'type': 'ByteLevel',
  'add_prefix_space': False,
  'trim_offsets': True,
  'use_regex': True,
}
_CUTS = {'smollm': [_DIGITS, _BYTES], 'gpt-2': [_BYTES]}


def read(fields: Mapping[str, Any]) -> bytes | None:
  """The file's bytes; None of a kind that is not read.

  Read are byte-level merges (`gpt2`) that cut text in a known way, and the
  merges of sentencepiece (`llama`).
  """
  told = {
    name.removeprefix('tokenizer.ggml.'): value
    for name, value in fields.items()
    if name.startswith('tokenizer.ggml.')
  }
  cuts = _CUTS.get(told.get('pre', ''))
  if told.get('model') == 'gpt2' and cuts is not None:
    parts = _byte_level(told, cuts)
  elif told.get('model') == 'llama':
    parts = _sentencepiece(told)
  else:
    return None
  made = {'version': '1.0', 'added_tokens': list(_added(told)), **parts}
  return json.dumps(made, ensure_ascii=False).encode('utf-8')


def _added(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
  """Tokens that are not merged but found whole."""
  pairs = zip(told['tokens'], told['token_type'], strict=True)
  for i, (token, kind) in enumerate(pairs):
    if kind in (_UNKNOWN, _CONTROL, _USER):
      flags = 'single_word', 'lstrip', 'rstrip', 'normalized'
      said = {'id': i, 'content': token, 'special': kind != _USER}
      yield said | dict.fromkeys(flags, False)


def _byte_level(told: Mapping[str, Any], cuts: list[Any]) -> dict[str, Any]:
  return {
    'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': cuts},
    'decoder': _BYTES,
    'model': {
      'type': 'BPE',
      'vocab': {token: i for i, token in enumerate(told['tokens'])},
      'merges': [m.split(' ') for m in told['merges']],
    },
  }


def _sentencepiece(told: Mapping[str, Any]) -> dict[str, Any]:
  """Spaces marked, pieces merged by score, what is unknown in bytes.

  Where a piece can be made of several pairs at once, sentencepiece takes the
  leftmost, which ranks of pairs cannot say: the longest left part goes first.
  """
  tokens = told['tokens']
  front = told.get('add_space_prefix', True)
  marks = [{'type': 'Replace', 'pattern': {'String': ' '}, 'content': '\u2581'}]
  spaces = [
    {'type': 'Replace', 'pattern': {'String': '\u2581'}, 'content': ' '}
  ]
  parts = [{'type': 'ByteFallback'}, {'type': 'Fuse'}]
  if front:
    marks = [{'type': 'Prepend', 'prepend': '\u2581'}, *marks]
    parts += [{'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]
  return {
    'normalizer': {'type': 'Sequence', 'normalizers': marks},
    'post_processor': _template(told),
    'decoder': {'type': 'Sequence', 'decoders': [*spaces, *parts]},
    'model': {
      'type': 'BPE',
      'unk_token': tokens[told.get('unknown_token_id', 0)],
      'fuse_unk': True,
      'byte_fallback': _BYTE in told['token_type'],
      'vocab': {token: i for i, token in enumerate(tokens)},
      'merges': _merges(told),
    },
  }


def _merges(told: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Every pair of pieces that makes a piece, the best scores first."""
  columns = told['tokens'], told['scores'], told['token_type']
  score = {
    piece: value
    for piece, value, kind in zip(*columns, strict=True)
    if kind == _NORMAL
  }
  pairs = [
    (piece[:cut], piece[cut:])
    for piece in score
    for cut in range(len(piece) - 1, 0, -1)
    if piece[:cut] in score and piece[cut:] in score
  ]
  return sorted(pairs, key=lambda pair: -score[''.join(pair)])


def _template(told: Mapping[str, Any]) -> dict[str, Any] | None:
  """What is put around a text: bos unless it is said not to be, eos if."""
  ends = {
    name: told.get(f'{name}_token_id')
    for name, usual in (('bos', True), ('eos', False))
    if told.get(f'add_{name}_token', usual)
  }
  ids = {name: i for name, i in ends.items() if i is not None}
  if not ids:
    return None
  names = {name: told['tokens'][i] for name, i in ids.items()}
  parts: list[Any] = [{'Sequence': {'id': 'A', 'type_id': 0}}]
  around = {
    name: [{'SpecialToken': {'id': names[name], 'type_id': 0}}]
    for name in names
  }
  whole = [*around.get('bos', []), *parts, *around.get('eos', [])]
  return {
    'type': 'TemplateProcessing',
    'single': whole,
    'pair': [*whole, {'Sequence': {'id': 'B', 'type_id': 1}}],
    'special_tokens': {
      names[name]: {'id': names[name], 'ids': [i], 'tokens': [names[name]]}
      for name, i in ids.items()
    },
  }
