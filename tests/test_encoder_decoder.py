"""The encoder-decoder equals T5 and the first transformer, in numpy."""

import by_hand
from by_hand import attention, dense, get, layer, rms_norm
import numpy as np
import variants

from research.models.config import LayerNorm, RelativeBuckets, Sinusoidal


def check(reference, **parts):
  cfg = variants.config(
    'encoder_decoder', target_len=5, n_decoder_layers=3, **parts
  )
  model, batch = by_hand.perturbed(variants.build(cfg)), variants.batch(cfg)
  rows = zip(batch['tokens'], batch['decoder_tokens'], strict=True)
  expected = np.stack([reference(model, *row) for row in rows])
  assert np.std(expected) > 0.2
  np.testing.assert_allclose(model(batch), expected, rtol=1e-4, atol=1e-4)


# Buckets of distances key - query = -7 … 7, of 8 up to distance 16. Towards
# the future the decoder has no say; its past has 4 exact buckets, then 4, 4,
# 5, 5 for distances 4 to 7 (4 (16 / 4)^(j / 4) = 4, 5.7, 8 …). The encoder has
# 4 buckets a side: 0, 1, then 2 from 2 on and 3 from 2 (16 / 2)^(1 / 2) = 5.7.
DECODER_BUCKETS = [5, 5, 4, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]
ENCODER_BUCKETS = [3, 3, 2, 2, 2, 2, 1, 0, 5, 6, 6, 6, 6, 7, 7]


def bias_of(stack, length, buckets):
  where = np.arange(length)
  rows = np.array(buckets)[where[None, :] - where[:, None] + 7]
  return get(stack.position.table)[rows].transpose(2, 0, 1)


def t5(model, source, target):
  """Raffel et al. 2020: no scale on scores, one on logits."""

  def mlp(block, x):
    y = np.maximum(dense(rms_norm(block.mlp_norm, x, 1e-6), block.mlp.up), 0)
    return x + dense(y, block.mlp.down)

  def self_attention(block, x, bias, seen=None):
    y = rms_norm(block.attention_norm, x, 1e-6)
    return x + attention(block.attention, y, y, 1.0, bias, seen)

  table = get(model.embedding.table)
  x, bias = table[source], bias_of(model.encoder, 8, ENCODER_BUCKETS)
  for i in range(2):
    block = layer(model.encoder.blocks, i)
    x = mlp(block, self_attention(block, x, bias))
  memory = rms_norm(model.encoder.norm, x, 1e-6)
  x, bias = table[target], bias_of(model.decoder, 5, DECODER_BUCKETS)
  past = np.tril(np.ones((5, 5), bool))
  for i in range(3):
    block = layer(model.decoder.blocks, i)
    x = self_attention(block, x, bias, past)
    y = rms_norm(block.cross_norm, x, 1e-6)
    x = mlp(block, x + attention(block.cross, y, memory, 1.0))
  return rms_norm(model.decoder.norm, x, 1e-6) * 16**-0.5 @ table.T


def test_t5_is_relative_buckets_and_no_scale_on_scores():
  check(
    t5,
    position=RelativeBuckets(n_buckets=8, max_distance=16),
    activation='relu',
    attention_scale=1.0,
    logit_scale=16**-0.5,
  )


def vaswani(model, source, target):
  """Vaswani et al. 2017: post-norm, sinusoids, embeddings times d^0.5."""

  def norm(module, x):
    return by_hand.layer_norm(module, x, 1e-5)

  def mlp(block, x):
    y = np.maximum(dense(x, block.mlp.up, block.mlp.up_bias), 0)
    return norm(
      block.mlp_norm, x + dense(y, block.mlp.down, block.mlp.down_bias)
    )

  def embed(tokens):
    x = get(model.embedding.table)[tokens] * 16**0.5
    for p in range(len(tokens)):
      for i in range(8):
        x[p, 2 * i] += np.sin(p / 10_000 ** (2 * i / 16))
        x[p, 2 * i + 1] += np.cos(p / 10_000 ** (2 * i / 16))
    return x

  def self_attention(block, x, seen=None):
    y = attention(block.attention, x, x, 4**-0.5, seen=seen)
    return norm(block.attention_norm, x + y)

  x = embed(source)
  for i in range(2):
    block = layer(model.encoder.blocks, i)
    x = mlp(block, self_attention(block, x))
  memory, x = x, embed(target)
  for i in range(3):
    block = layer(model.decoder.blocks, i)
    x = self_attention(block, x, np.tril(np.ones((5, 5), bool)))
    y = attention(block.cross, x, memory, 4**-0.5)
    x = mlp(block, norm(block.cross_norm, x + y))
  return x @ get(model.embedding.table).T


def test_the_first_transformer_is_post_norm_with_sinusoids():
  check(
    vaswani,
    norm=LayerNorm(),
    residual='post',
    position=Sinusoidal(),
    activation='relu',
    bias=True,
  )
