"""BLOOM, Falcon (of all three layouts) and MPT."""

from research.config import BadInput
from research.interop import table
from research.interop.family import (
  Family,
  Settings,
  activation_name,
  rope_parameters,
)
from research.interop.table import linear, norm, same
from research.models.config import ALiBi, LayerNorm, ModelConfig, Rotary

_BLOCK = 'stack.blocks.{}.'
_QKV = tuple(f'{_BLOCK}attention.{name}' for name in ('query', 'key', 'value'))


def _read_bloom(config: Settings, names) -> ModelConfig:
  normed = config('apply_residual_connection_post_layernorm', default=False)
  return ModelConfig(
    vocab_size=config('vocab_size', default=250880),
    seq_len=config('seq_length', default=2048),
    d_model=config('hidden_size', 'n_embed', default=64),
    n_layers=config('n_layer', 'num_hidden_layers', default=2),
    n_heads=config('n_head', 'num_attention_heads', default=8),
    norm=LayerNorm(eps=config('layer_norm_epsilon', default=1e-5)),
    residual='pre_normed' if normed else 'pre',
    position=ALiBi(),
    activation='gelu_tanh',
    bias=True,
    tied_head=config('tie_word_embeddings', default=True),
    embedding_norm=True,
  )


def _write_bloom(cfg: ModelConfig) -> dict:
  return {
    'model_type': 'bloom',
    'architectures': ['BloomForCausalLM'],
    'vocab_size': cfg.vocab_size,
    'seq_length': cfg.seq_len,
    'hidden_size': cfg.d_model,
    'n_layer': cfg.n_layers,
    'n_head': cfg.n_heads,
    'layer_norm_epsilon': cfg.norm.eps,
    'apply_residual_connection_post_layernorm': cfg.residual == 'pre_normed',
    'tie_word_embeddings': cfg.tied_head,
  }


def _read_falcon(config: Settings, names) -> ModelConfig:
  n_heads = config('num_attention_heads', 'n_head', default=71)
  d_model = config('hidden_size', default=4544)
  # The first Falcon-40B says so by these alone.
  first = config('model_type') == 'RefinedWeb' and 'n_head_kv' in config.data
  new = config('new_decoder_architecture', default=first)
  kv_heads = n_heads
  if new:
    kv_heads = config('num_kv_heads', 'n_head_kv', default=n_heads)
  elif config('multi_query', default=True):
    kv_heads = 1
  residual = 'pre'
  if new or config('parallel_attn', default=True):
    norms = config('num_ln_in_parallel_attn', default=2 if new else 1)
    residual = 'parallel' if norms == 2 else 'parallel_shared'
  return ModelConfig(
    vocab_size=config('vocab_size', default=65024),
    seq_len=config('max_position_embeddings', default=2048),
    d_model=d_model,
    n_layers=config('num_hidden_layers', 'n_layer', default=32),
    n_heads=n_heads,
    n_kv_heads=kv_heads,
    d_ff=config('ffn_hidden_size', default=4 * d_model),
    norm=LayerNorm(eps=config('layer_norm_epsilon', default=1e-5)),
    residual=residual,
    position=_falcon_alibi(d_model // n_heads)
    if config('alibi', default=False)
    else config.rotary(),
    activation=config.activation('activation', 'gelu'),
    bias=config('bias', default=False),
    tied_head=config('tie_word_embeddings', default=True),
  )


def _falcon_alibi(d_head: int) -> ALiBi:
  """Added before scores are scaled, in bfloat16 whatever the model is in."""
  return ALiBi(scale=d_head**-0.5, rounded=True)


def _write_falcon(cfg: ModelConfig) -> dict:
  spec, rotary = cfg.attention, isinstance(cfg.position, Rotary)
  new = rotary and not (
    cfg.residual == 'parallel_shared' and spec.n_kv_heads == 1
  )
  told = {
    'model_type': 'falcon',
    'architectures': ['FalconForCausalLM'],
    'vocab_size': cfg.vocab_size,
    'max_position_embeddings': cfg.seq_len,
    'hidden_size': cfg.d_model,
    'num_hidden_layers': cfg.n_layers,
    'num_attention_heads': cfg.n_heads,
    'num_kv_heads': spec.n_kv_heads,
    'ffn_hidden_size': cfg.mlp.d_ff,
    'layer_norm_epsilon': cfg.norm.eps,
    'new_decoder_architecture': new,
    'multi_query': spec.n_kv_heads == 1,
    'parallel_attn': cfg.residual != 'pre',
    'num_ln_in_parallel_attn': 2 if cfg.residual == 'parallel' else 1,
    'alibi': not rotary,
    'activation': activation_name(cfg.activation),
    'bias': cfg.bias,
    'tie_word_embeddings': cfg.tied_head,
  }
  if isinstance(cfg.position, Rotary):
    told['rope_parameters'] = rope_parameters(cfg.position)
  return told


def _fused(cfg: ModelConfig):
  """BLOOM's names, which are Falcon's, too."""
  rows, layer = table.grouped(cfg.attention), 'transformer.h.{}.'
  names = {
    'parallel': ('ln_attn', 'ln_mlp'),
    'parallel_shared': ('input_layernorm', ''),
  }.get(cfg.residual, ('input_layernorm', 'post_attention_layernorm'))
  yield same('transformer.word_embeddings.weight', 'embedding.table')
  yield from norm(
    'transformer.word_embeddings_layernorm', 'stack.embedding_norm'
  )
  yield from norm(layer + names[0], f'{_BLOCK}attention_norm')
  yield from norm(layer + names[1], f'{_BLOCK}mlp_norm')
  yield from linear(f'{layer}self_attention.query_key_value', *_QKV, rows=rows)
  yield from linear(f'{layer}self_attention.dense', f'{_BLOCK}attention.out')
  yield from linear(f'{layer}mlp.dense_h_to_4h', f'{_BLOCK}mlp.up')
  yield from linear(f'{layer}mlp.dense_4h_to_h', f'{_BLOCK}mlp.down')
  yield from norm('transformer.ln_f', 'stack.norm')
  yield from linear('lm_head', 'head.weight')


def _read_mpt(config: Settings, names) -> ModelConfig:
  attention = Settings(config('attn_config', default={}))
  attention.only('attn_type', 'multihead_attention')
  attention.only('qk_ln', False)
  attention.only('prefix_lm', False)
  attention.only('alibi', True)
  config.only('no_bias', True)
  config.only('logit_scale', None)
  config.only('embedding_fraction', 1.0)
  d_model = config('d_model', default=2048)
  scale, clip = (
    attention(name, kind=float) for name in ('softmax_scale', 'clip_qkv')
  )
  return ModelConfig(
    vocab_size=config('vocab_size', default=50368),
    seq_len=config('max_seq_len', default=2048),
    d_model=d_model,
    n_layers=config('n_layers', default=24),
    n_heads=config('n_heads', default=16),
    d_ff=int(config('expansion_ratio', default=4.0) * d_model),
    norm=LayerNorm(eps=config('layer_norm_epsilon', default=1e-5), bias=False),
    # transformers takes 8 whatever the file says; the authors' code does not.
    position=ALiBi(
      max_exponent=float(attention('alibi_bias_max', default=8.0))
    ),
    activation='gelu',
    attention_scale=scale,
    attention_clip=clip,
    tied_head=config('tie_word_embeddings', default=True),
  )


def _write_mpt(cfg: ModelConfig) -> dict:
  if cfg.mlp.d_ff % cfg.d_model:
    raise BadInput(
      f'd_ff={cfg.mlp.d_ff}: in MPT it is a multiple of d_model={cfg.d_model}'
    )
  return {
    'model_type': 'mpt',
    'architectures': ['MptForCausalLM'],
    'vocab_size': cfg.vocab_size,
    'max_seq_len': cfg.seq_len,
    'd_model': cfg.d_model,
    'n_layers': cfg.n_layers,
    'n_heads': cfg.n_heads,
    'expansion_ratio': cfg.mlp.d_ff // cfg.d_model,
    'layer_norm_epsilon': cfg.norm.eps,
    'no_bias': True,
    'attn_config': {
      'alibi': True,
      'alibi_bias_max': int(getattr(cfg.position, 'max_exponent', 8)),
      'softmax_scale': cfg.attention_scale,
      'clip_qkv': cfg.attention_clip,
    },
    'tie_word_embeddings': cfg.tied_head,
  }


def _mpt(cfg: ModelConfig):
  rows, layer = table.one_after_another(cfg.attention), 'transformer.blocks.{}.'
  yield same('transformer.wte.weight', 'embedding.table')
  yield from norm(f'{layer}norm_1', f'{_BLOCK}attention_norm')
  yield from linear(f'{layer}attn.Wqkv', *_QKV, rows=rows)
  yield from linear(f'{layer}attn.out_proj', f'{_BLOCK}attention.out')
  yield from norm(f'{layer}norm_2', f'{_BLOCK}mlp_norm')
  yield from linear(f'{layer}ffn.up_proj', f'{_BLOCK}mlp.up')
  yield from linear(f'{layer}ffn.down_proj', f'{_BLOCK}mlp.down')
  yield from norm('transformer.norm_f', 'stack.norm')
  yield from linear('lm_head', 'head.weight')


BLOOM = Family(
  model_types=('bloom',),
  read=_read_bloom,
  write=_write_bloom,
  tensors=_fused,
  prefix='transformer.',
)
FALCON = Family(
  model_types=('falcon', 'RefinedWeb', 'RefinedWebModel'),
  read=_read_falcon,
  write=_write_falcon,
  tensors=_fused,
  prefix='transformer.',
)
MPT = Family(
  model_types=('mpt',),
  read=_read_mpt,
  write=_write_mpt,
  tensors=_mpt,
  prefix='transformer.',
)
