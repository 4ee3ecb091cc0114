"""What is read of a published checkpoint, and what is refused in one line."""

import json
import os
import pathlib
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_families import unpack

from research.config import BadInput
from research.interop import checkpoint, imported, table, tensors
from research.interop.families import t5
from research.interop.family import Settings
from research.models import parts


def edit(folder: pathlib.Path, **changes) -> pathlib.Path:
  """The checkpoint with fields of its config.json changed; None: removed."""
  path = folder / 'config.json'
  data = json.loads(path.read_text()) | changes
  kept = {k: v for k, v in data.items() if v is not None}
  path.write_text(json.dumps(kept))
  return folder


def rename(folder: pathlib.Path, change) -> pathlib.Path:
  """The checkpoint with its tensors changed by a function of the whole dict."""
  path = folder / tensors.SINGLE
  save_file(change(load_file(path)), path)
  return folder


def parameters(folder) -> dict[str, np.ndarray]:
  return dict(checkpoint.read(folder).parameters())


def same(a, b) -> bool:
  return a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)


@pytest.fixture
def gpt2(tmp_path):
  return unpack('gpt2', tmp_path)


def test_our_reader_reads_what_the_library_reads(tmp_path):
  folder = unpack('gpt2', tmp_path)
  found, theirs = tensors.find(folder), load_file(folder / tensors.SINGLE)
  assert found.keys() == theirs.keys()
  for name, x in theirs.items():
    assert found[name].dtype == x.dtype and (found[name] == x).all()


def test_the_library_reads_what_our_writer_writes(tmp_path):
  rng = np.random.default_rng(0)
  held = {
    'a': rng.normal(size=(3, 5)).astype(np.float32),
    'b': rng.normal(size=7).astype(np.float16),
    'empty': np.zeros((0, 4), np.float32),
  }
  shapes = {name: (x.shape, x.dtype) for name, x in held.items()}
  tensors.write(tmp_path / 'x.safetensors', shapes, held.values())
  theirs = load_file(tmp_path / 'x.safetensors')
  assert same(theirs, held)
  assert [p.name for p in tmp_path.iterdir()] == ['x.safetensors']


def test_shards_are_one_checkpoint(tmp_path):
  sharded = unpack('llama', tmp_path / 'a')
  single = shutil.copytree(sharded, tmp_path / 'b')
  whole = {}
  for path in sorted(single.glob('model-*')):
    whole |= load_file(path)
    path.unlink()
  (single / tensors.INDEX).unlink()
  save_file(whole, single / tensors.SINGLE)
  assert len(list(sharded.glob('model-*'))) > 1
  assert same(parameters(sharded), parameters(single))


def test_layers_of_unlike_precision_lose_nothing(tmp_path):
  folder = unpack('gpt2', tmp_path)
  layers = [f'transformer.h.{i}.mlp.c_fc.weight' for i in range(2)]
  kept = {}

  def mixed(held):
    first, second = (held[name].astype(np.float32) for name in layers)
    first = first.astype(jnp.bfloat16)
    second = (second * 1.001).astype(np.float16)
    kept.update(zip(layers, (first, second), strict=True))
    return held | kept

  found = checkpoint.read(rename(folder, mixed))
  name = 'stack.blocks.mlp.up'
  x = dict(found.parameters())[name]
  assert found.dtype(name) == x.dtype == np.float32
  for i, theirs in enumerate(kept.values()):
    np.testing.assert_array_equal(x[i], theirs.astype(np.float32))


def test_a_missing_shard_is_named(tmp_path):
  folder = unpack('llama', tmp_path)
  shard = sorted(folder.glob('model-*'))[1]
  shard.unlink()
  with pytest.raises(BadInput, match=f'{shard.name} is missing'):
    checkpoint.read(folder)


def test_old_and_new_configs_of_neox_say_the_same(tmp_path):
  folder = unpack('neox_sequential', tmp_path)
  new = checkpoint.read(folder).config
  edit(folder, rope_parameters=None, rotary_pct=0.5, rotary_emb_base=100)
  assert checkpoint.read(folder).config == new
  edit(folder, rotary_pct=None, partial_rotary_factor=0.5)
  assert checkpoint.read(folder).config == new


def test_old_and_new_configs_of_llama_say_the_same(tmp_path):
  folder = unpack('llama_biased', tmp_path)
  new = checkpoint.read(folder).config
  old = {'type': 'linear', 'factor': 2.0}
  edit(folder, rope_parameters=None, rope_theta=500, rope_scaling=old)
  assert checkpoint.read(folder).config == new


def test_old_names_of_bloom_and_falcon_say_the_same(tmp_path):
  bloom = unpack('bloom', tmp_path / 'bloom')
  new = checkpoint.read(bloom).config
  edit(bloom, hidden_size=None, n_embed=24, n_head=None, num_attention_heads=6)
  assert checkpoint.read(bloom).config == new
  falcon = unpack('falcon_40b', tmp_path / 'falcon')
  new = checkpoint.read(falcon).config
  edit(
    falcon, num_kv_heads=None, n_head_kv=2, num_hidden_layers=None, n_layer=2
  )
  edit(falcon, model_type='RefinedWeb', ffn_hidden_size=None)
  assert checkpoint.read(falcon).config == new
  edit(falcon, new_decoder_architecture=None, multi_query=None)
  edit(falcon, num_attention_heads=None, n_head=6)
  assert checkpoint.read(falcon).config == new


def test_a_body_without_its_prefix_and_old_buffers_are_read(gpt2):
  expected = parameters(gpt2)

  def bare(held):
    mask = {f'h.{i}.attn.bias': np.ones((1, 1, 4, 4), bool) for i in range(2)}
    return {k.removeprefix('transformer.'): v for k, v in held.items()} | mask

  assert same(parameters(rename(gpt2, bare)), expected)


def test_old_names_of_norms_are_read(tmp_path):
  folder = unpack('bert', tmp_path)
  expected = parameters(folder)

  def old(held):
    new = {}
    for name, x in held.items():
      if 'LayerNorm' in name:
        name = name.replace('weight', 'gamma').replace('bias', 'beta')
      new[name] = x
    head = {'cls.seq_relationship.weight': np.zeros((2, 24), np.float16)}
    return new | head | {'bert.pooler.dense.bias': np.zeros(24, np.float16)}

  assert same(parameters(rename(folder, old)), expected)


def test_a_head_tied_and_saved_twice_is_read_once(gpt2):
  expected = parameters(gpt2)

  def twice(held):
    return held | {'lm_head.weight': held['transformer.wte.weight'].copy()}

  assert same(parameters(rename(gpt2, twice)), expected)


def test_a_bias_under_its_older_name_is_that_of_an_untied_head(tmp_path):
  folder = unpack('bert_untied', tmp_path)
  expected = parameters(folder)
  new, old = 'cls.predictions.decoder.bias', 'cls.predictions.bias'

  def renamed(held):
    return {k: v for k, v in held.items() if k != new} | {old: held[new]}

  assert same(parameters(rename(folder, renamed)), expected)


def test_a_bert_without_its_head_has_none(tmp_path):
  folder = unpack('bert', tmp_path)

  def body(held):
    named = {k.removeprefix('bert.'): v for k, v in held.items()}
    return {k: v for k, v in named.items() if not k.startswith('cls.')}

  cfg = checkpoint.read(rename(folder, body)).config
  assert not cfg.head_transform and not cfg.head_bias


@pytest.mark.parametrize(
  'told, logit_scale',
  [
    ({}, 24**-0.5),
    ({'tie_word_embeddings': False}, 1.0),
    ({'tie_word_embeddings': True, 'scale_decoder_outputs': False}, 1.0),
    ({'tie_word_embeddings': True, 'scale_decoder_outputs': True}, 24**-0.5),
  ],
)
def test_t5_scales_its_logits_as_the_file_says(told, logit_scale):
  cfg = t5.T5.read(Settings({'d_model': 24, 'd_kv': 6, **told}), ())
  assert cfg.logit_scale == logit_scale and cfg.tied_head
  assert not t5.T5.read(Settings(told), ('lm_head.weight',)).tied_head


@pytest.mark.parametrize(
  'name, told, message',
  [
    ('gpt2', {'model_type': 'mamba'}, "model_type='mamba' is no family"),
    ('gpt2', {'model_type': 'gtp2'}, "did you mean 'gpt2'"),
    ('gpt2', {'n_embd': 30}, r'transformer.wte.weight has shape \(31, 24\)'),
    ('gpt2', {'n_layer': 3}, 'transformer.h.2.ln_1.weight is missing'),
    ('gpt2', {'n_layer': 1}, r'transformer.h.1.* is surplus'),
    ('gpt2', {'activation_function': 'snake'}, "activation_function='snake'"),
    (
      'gpt2',
      {'scale_attn_by_inverse_layer_idx': True},
      'scale_attn_by_inverse_layer_idx=True; only False is read',
    ),
    (
      'llama',
      {'rope_scaling': {'rope_type': 'yarn'}, 'rope_parameters': None},
      "rope_type='yarn'",
    ),
    ('qwen2', {'use_sliding_window': True}, 'use_sliding_window'),
    ('mpt', {'attn_config': {'qk_ln': True}}, 'qk_ln=True'),
    ('roberta', {'pad_token_id': 0}, 'pad_token_id=0'),
    ('gpt2', {'n_head': '6'}, "n_head='6' should be a whole number"),
    ('gpt2', {'n_embd': 24.0}, 'n_embd=24.0 should be a whole number'),
    ('gpt2', {'n_layer': True}, 'n_layer=True should be a whole number'),
    ('gpt2', {'activation_function': ['relu']}, r"=\['relu'\] should be text"),
    ('llama', {'head_dim': '4'}, "head_dim='4' should be a whole number"),
    (
      'llama',
      {'rope_scaling': 'linear', 'rope_parameters': None},
      "rope_scaling='linear' should be an object",
    ),
    (
      'llama',
      {'rope_parameters': {'rope_type': 'linear', 'factor': 'x'}},
      "factor='x' should be a number",
    ),
  ],
)
def test_what_does_not_fit_is_named_in_one_line(name, told, message, tmp_path):
  folder = edit(unpack(name, tmp_path), **told)
  with pytest.raises(BadInput, match=message) as caught:
    checkpoint.read(folder)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'file, text, message',
  [
    ('config.json', '[]', 'config.json holds no JSON object'),
    ('config.json', '{"model_type": ', 'config.json is no JSON, or is damaged'),
    (tensors.INDEX, '{"weight_map"', 'index.json is no JSON'),
    (tensors.INDEX, '{}', 'weight_map names no file'),
    (tensors.INDEX, '{"weight_map": ["a"]}', 'weight_map names no file'),
    (tensors.INDEX, '{"weight_map": {"a": "../b"}}', 'names no file beside'),
    ('tokenizer_config.json', '{', 'tokenizer_config.json is no JSON'),
    (
      'tokenizer_config.json',
      '{"chat_template": {}}',
      'neither text nor a list',
    ),
    ('tokenizer.json', '{"version": "1.0", "mod', 'tokenizer.json is damaged'),
    ('chat_template.jinja', '\udcff', 'chat_template.jinja is not UTF-8'),
  ],
)
def test_a_damaged_file_is_named_in_one_line(file, text, message, tmp_path):
  folder = unpack('llama', tmp_path / 'a')
  (folder / file).write_bytes(text.encode('utf-8', 'surrogateescape'))
  with pytest.raises(BadInput, match=message) as caught:
    imported.write(tmp_path / 'b', checkpoint.read(folder), 'a')
  assert '\n' not in str(caught.value)
  assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_nothing_that_may_hold_code_is_read(gpt2):
  (gpt2 / tensors.SINGLE).rename(gpt2 / 'pytorch_model.bin')
  with pytest.raises(BadInput, match='nothing that may hold code'):
    checkpoint.read(gpt2)


@pytest.mark.parametrize('size', [4, 300, -100])
def test_a_file_cut_short_is_refused(gpt2, size):
  path = gpt2 / tensors.SINGLE
  os.truncate(path, size if size > 0 else path.stat().st_size + size)
  with pytest.raises(BadInput, match='cut short|damaged'):
    checkpoint.read(gpt2)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
  with pytest.raises(BadInput, match='has no config.json'):
    checkpoint.read(tmp_path)


@pytest.mark.parametrize('kv_heads', [1, 2, 6])
@pytest.mark.parametrize('rows', [table.one_after_another, table.grouped])
@pytest.mark.parametrize('transposed', [False, True])
def test_a_fused_projection_comes_apart_and_together(
  kv_heads, rows, transposed
):
  spec = parts.Attention(
    d_model=5,
    n_heads=6,
    n_kv_heads=kv_heads,
    d_head=4,
    qkv_bias=True,
    out_bias=True,
    scale=1.0,
  )
  rng, names = np.random.default_rng(0), ('query', 'key', 'value')
  heads = dict(zip(names, (6, kv_heads, kv_heads), strict=True))
  weight, bias = table.linear(
    'qkv', *names, rows=rows(spec), transposed=transposed
  )
  ours = {n: rng.normal(size=(5, k, 4)) for n, k in heads.items()}
  ours |= {f'{n}_bias': rng.normal(size=k * 4) for n, k in heads.items()}
  for entry in weight, bias:
    x = entry.join(ours)
    assert x.shape == entry.shape({n: y.shape for n, y in ours.items()})
    assert sorted(x.ravel()) == sorted(
      np.concatenate([ours[n].ravel() for n in entry.ours])
    )
    for name in entry.ours:
      again = entry.split(x, name, ours[name].shape)
      np.testing.assert_array_equal(again, ours[name])
