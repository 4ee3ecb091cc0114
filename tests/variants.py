"""Tiny transformers, one for each part, and batches that they can read."""

import functools
from typing import Any

from flax import nnx
import jax
import numpy as np

from research.models import transformer
from research.models.config import (
  ALiBi,
  LayerNorm,
  Learned,
  ModelConfig,
  NoPosition,
  RelativeBuckets,
  Rotary,
  Sinusoidal,
)

ARCHITECTURES = ('encoder', 'decoder', 'encoder_decoder')
PARTS = {
  'plain': {},
  'layer_norm': {'norm': LayerNorm()},
  'layer_norm_without_bias': {'norm': LayerNorm(bias=False)},
  'post': {'residual': 'post'},
  'post_and_last': {'residual': 'post', 'final_norm': True},
  'pre_normed': {'residual': 'pre_normed'},
  'no_final_norm': {'final_norm': False},
  'parallel': {'residual': 'parallel'},
  'parallel_shared': {'residual': 'parallel_shared'},
  'no_position': {'position': NoPosition()},
  'sinusoidal': {'position': Sinusoidal()},
  'learned': {'position': Learned()},
  'half_rotary': {'position': Rotary(fraction=0.5)},
  'alibi': {'position': ALiBi()},
  'rounded_alibi': {'position': ALiBi(scale=0.5, rounded=True)},
  'buckets': {'position': RelativeBuckets(n_buckets=8, max_distance=16)},
  'gelu': {'activation': 'gelu'},
  'relu': {'activation': 'relu'},
  'silu': {'activation': 'silu'},
  'relu2': {'activation': 'relu2'},
  'gated': {'gated': True},
  'bias': {'bias': True},
  'qkv_bias': {'qkv_bias': True},
  'mlp_bias': {'mlp_bias': True},
  'no_out_bias': {'bias': True, 'out_bias': False},
  'clipped': {'attention_clip': 0.5},
  'narrow_table': {'d_embedding': 6},
  'narrow_untied': {'d_embedding': 6, 'tied_head': False},
  'gated_bias': {'gated': True, 'bias': True},
  'untied': {'tied_head': False},
  'head_bias': {'head_bias': True},
  'head_transform': {'head_transform': True, 'norm': LayerNorm()},
  'embedding_norm': {'embedding_norm': True},
  'token_types': {'n_token_types': 3},
  'grouped': {'n_kv_heads': 2, 'bias': True},
  'multi_query': {'n_kv_heads': 1},
  'wide_heads': {'d_head': 6, 'bias': True},
  'd_ff': {'d_ff': 20},
  'one_layer': {'n_layers': 1},
  'scaled': {'attention_scale': 1.0, 'logit_scale': 0.25},
}
SIDES = {
  'window': {'window': 3},
  'n_decoder_layers': {'n_decoder_layers': 3},
  'target_len': {'target_len': 5, 'position': Learned()},
  'both': {'n_decoder_layers': 1, 'target_len': 11, 'residual': 'parallel'},
}
CASES = [
  *((architecture, part) for architecture in ARCHITECTURES for part in PARTS),
  *(('encoder_decoder', part) for part in SIDES),
  ('decoder', 'window'),
]


def config(architecture: str, part: str = 'plain', **changes) -> ModelConfig:
  """A tiny model of `architecture` with the part called `part`."""
  sizes = {
    'vocab_size': 13,
    'seq_len': 8,
    'd_model': 16,
    'n_layers': 2,
    'n_heads': 4,
  }
  fields = sizes | (PARTS | SIDES)[part] | changes
  return ModelConfig(architecture=architecture, **fields)  # pyright: ignore[reportArgumentType]


def build(cfg: ModelConfig, seed: int = 0) -> Any:
  """The model of `cfg`."""
  return transformer.build(cfg, nnx.Rngs(seed))


@functools.cache
def shapes(cfg: ModelConfig):
  """The model of `cfg` with shapes for arrays: nothing is computed."""
  return jax.eval_shape(lambda: build(cfg))


def batch(cfg: ModelConfig, n_rows: int = 2, seed: int = 0) -> dict:
  """Random tokens, one segment a row, with targets of weight one."""
  rng = np.random.default_rng(seed)

  def side(length, prefix=''):
    size = n_rows, length
    return {
      f'{prefix}tokens': rng.integers(0, cfg.vocab_size, size, np.int32),
      f'{prefix}segments': np.ones(size, np.int32),
      f'{prefix}positions': np.tile(
        np.arange(length, dtype=np.int32), (n_rows, 1)
      ),
    }

  made = side(cfg.seq_len)
  if cfg.architecture == 'encoder_decoder':
    made |= side(cfg.longest_target, 'decoder_')
  size = n_rows, cfg.longest_target
  targets = rng.integers(0, cfg.vocab_size, size, np.int32)
  return made | {'targets': targets, 'weights': np.ones(size, np.float32)}
