"""The encoder equals BERT with its masked-LM head, written out in numpy."""

import by_hand
from by_hand import attention, dense, get, layer, layer_norm
import numpy as np
import variants

from research.models.config import LayerNorm, Learned


def bert(model, tokens, types):
  table = get(model.embedding.table)
  x = table[tokens] + get(model.embedding.types)[types]
  x = x + get(model.stack.position.table)[: len(tokens)]
  x = layer_norm(model.stack.embedding_norm, x, 1e-12)
  for i in range(2):
    block = layer(model.stack.blocks, i)
    x = x + attention(block.attention, x, x, 4**-0.5)
    x = layer_norm(block.attention_norm, x, 1e-12)
    y = by_hand.gelu(dense(x, block.mlp.up, block.mlp.up_bias))
    x = x + dense(y, block.mlp.down, block.mlp.down_bias)
    x = layer_norm(block.mlp_norm, x, 1e-12)
  transform = model.head.transform
  x = by_hand.gelu(dense(x, transform.dense, transform.bias))
  x = layer_norm(transform.norm, x, 1e-12)
  return x @ table.T + get(model.head.bias)


def test_bert_is_post_norm_with_token_types_and_a_transform_in_its_head():
  cfg = variants.config(
    'encoder',
    norm=LayerNorm(eps=1e-12),
    residual='post',
    position=Learned(),
    activation='gelu',
    bias=True,
    embedding_norm=True,
    n_token_types=2,
    head_transform=True,
    head_bias=True,
  )
  model = by_hand.perturbed(variants.build(cfg))
  batch = variants.batch(cfg)
  types = np.random.default_rng(1).integers(0, 2, (2, 8), np.int32)
  expected = np.stack(
    [bert(model, *row) for row in zip(batch['tokens'], types, strict=True)]
  )
  assert np.std(expected) > 0.5
  ours = model(batch | {'token_types': types})
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_without_token_types_all_are_the_first():
  cfg = variants.config('encoder', 'token_types')
  model, batch = by_hand.perturbed(variants.build(cfg)), variants.batch(cfg)
  first = batch | {'token_types': np.zeros((2, 8), np.int32)}
  other = batch | {'token_types': np.ones((2, 8), np.int32)}
  np.testing.assert_array_equal(model(batch), model(first))
  assert (model(batch) != model(other)).any()
