"""Decoders equal GPT-2, LLaMA, GPT-NeoX and BLOOM written out in numpy."""

import by_hand
from by_hand import attention, dense, get, layer, layer_norm, rms_norm
import numpy as np
import variants

from research.models.config import ALiBi, LayerNorm, Learned, Rotary

LENGTH = 8
PAST = np.tril(np.ones((LENGTH, LENGTH), bool))


def logits_of(model, cfg, reference):
  """Ours and the reference's, of the same random rows."""
  batch = variants.batch(cfg)
  ours = model(batch)
  theirs = [reference(model, tokens) for tokens in batch['tokens']]
  assert np.std(theirs) > 0.5
  return ours, np.stack(theirs)


def rotary(fraction, base=10_000.0):
  """Turns channel pairs (i, i + r) as complex numbers."""

  def turn(x):
    r = int(x.shape[-1] * fraction) // 2
    angle = np.arange(LENGTH)[:, None] * base ** (-np.arange(r) / r)
    z = (x[..., :r] + 1j * x[..., r : 2 * r]) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag, x[..., 2 * r :]], axis=-1)

  return turn


def gpt_2(model, tokens):
  table = get(model.embedding.table)
  x = table[tokens] + get(model.stack.position.table)[:LENGTH]
  for i in range(2):
    block = layer(model.stack.blocks, i)
    y = layer_norm(block.attention_norm, x, 1e-5)
    x = x + attention(block.attention, y, y, 4**-0.5, seen=PAST)
    y = layer_norm(block.mlp_norm, x, 1e-5)
    y = by_hand.gelu_tanh(dense(y, block.mlp.up, block.mlp.up_bias))
    x = x + dense(y, block.mlp.down, block.mlp.down_bias)
  return layer_norm(model.stack.norm, x, 1e-5) @ table.T


def llama(model, tokens):
  x = get(model.embedding.table)[tokens]
  for i in range(2):
    block = layer(model.stack.blocks, i)
    y = rms_norm(block.attention_norm, x, 1e-6)
    x = x + attention(
      block.attention, y, y, 4**-0.5, seen=PAST, turn=rotary(1.0)
    )
    y = rms_norm(block.mlp_norm, x, 1e-6)
    y = by_hand.silu(dense(y, block.mlp.gate)) * dense(y, block.mlp.up)
    x = x + dense(y, block.mlp.down)
  return rms_norm(model.stack.norm, x, 1e-6) @ get(model.head.weight)


def neox(model, tokens):
  x = get(model.embedding.table)[tokens]
  for i in range(2):
    block = layer(model.stack.blocks, i)
    y = layer_norm(block.attention_norm, x, 1e-5)
    read = attention(
      block.attention, y, y, 4**-0.5, seen=PAST, turn=rotary(0.5)
    )
    y = layer_norm(block.mlp_norm, x, 1e-5)
    y = by_hand.gelu(dense(y, block.mlp.up, block.mlp.up_bias))
    x = x + read + dense(y, block.mlp.down, block.mlp.down_bias)
  return layer_norm(model.stack.norm, x, 1e-5) @ get(model.head.weight)


def bloom(model, tokens):
  table = get(model.embedding.table)
  x = layer_norm(model.stack.embedding_norm, table[tokens], 1e-5)
  # Slopes of four heads: 2^-2, 2^-4, 2^-6, 2^-8.
  slopes = np.array([1 / 4, 1 / 16, 1 / 64, 1 / 256])[:, None, None]
  bias = slopes * np.arange(LENGTH)
  for i in range(2):
    block = layer(model.stack.blocks, i)
    y = layer_norm(block.attention_norm, x, 1e-5)
    x = x + attention(block.attention, y, y, 4**-0.5, bias, PAST)
    y = layer_norm(block.mlp_norm, x, 1e-5)
    y = by_hand.gelu_tanh(dense(y, block.mlp.up, block.mlp.up_bias))
    x = x + dense(y, block.mlp.down, block.mlp.down_bias)
  return layer_norm(model.stack.norm, x, 1e-5) @ table.T


def check(reference, **parts):
  cfg = variants.config('decoder', **parts)
  model = by_hand.perturbed(variants.build(cfg))
  ours, theirs = logits_of(model, cfg, reference)
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_gpt_2_is_learned_positions_and_layer_norm_before_each_sublayer():
  check(gpt_2, norm=LayerNorm(), position=Learned(), bias=True)


def test_llama_is_rotary_grouped_heads_and_a_gated_mlp():
  check(llama, n_kv_heads=2, activation='silu', gated=True, tied_head=False)


def test_neox_is_partly_rotary_with_sublayers_in_parallel():
  check(
    neox,
    norm=LayerNorm(),
    residual='parallel',
    position=Rotary(fraction=0.5),
    activation='gelu',
    bias=True,
    tied_head=False,
  )


def test_bloom_is_alibi_with_a_norm_on_the_embeddings():
  check(
    bloom, norm=LayerNorm(), position=ALiBi(), bias=True, embedding_norm=True
  )
