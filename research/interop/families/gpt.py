"""GPT-2, GPT-NeoX (Pythia, Dolly, StableLM-alpha), GPT-J and OPT."""

from research.interop import table
from research.interop.family import (
  Family,
  Settings,
  activation_name,
  rope_parameters,
)
from research.interop.table import linear, norm, same
from research.models.config import LayerNorm, Learned, ModelConfig, Rotary

_BLOCK = 'stack.blocks.{}.'
_QKV = tuple(f'{_BLOCK}attention.{name}' for name in ('query', 'key', 'value'))


def _read_gpt2(config: Settings, names) -> ModelConfig:
  config.only('scale_attn_weights', True)
  config.only('scale_attn_by_inverse_layer_idx', False)
  config.only('add_cross_attention', False)
  return ModelConfig(
    vocab_size=config('vocab_size', default=50257),
    seq_len=config('n_positions', default=1024),
    d_model=config('n_embd', default=768),
    n_layers=config('n_layer', default=12),
    n_heads=config('n_head', default=12),
    d_ff=config('n_inner', kind=int),
    norm=LayerNorm(eps=config('layer_norm_epsilon', default=1e-5)),
    position=Learned(),
    activation=config.activation('activation_function', 'gelu_new'),
    bias=True,
    tied_head=config('tie_word_embeddings', default=True),
  )


def _write_gpt2(cfg: ModelConfig) -> dict:
  return {
    'model_type': 'gpt2',
    'architectures': ['GPT2LMHeadModel'],
    'vocab_size': cfg.vocab_size,
    'n_positions': cfg.seq_len,
    'n_embd': cfg.d_model,
    'n_layer': cfg.n_layers,
    'n_head': cfg.n_heads,
    'n_inner': cfg.mlp.d_ff,
    'activation_function': activation_name(cfg.activation),
    'layer_norm_epsilon': cfg.norm.eps,
    'tie_word_embeddings': cfg.tied_head,
  }


def _gpt2(cfg: ModelConfig):
  rows, layer = table.one_after_another(cfg.attention), 'transformer.h.{}.'
  yield same('transformer.wte.weight', 'embedding.table')
  yield same('transformer.wpe.weight', 'stack.position.table')
  yield from norm(f'{layer}ln_1', f'{_BLOCK}attention_norm')
  yield from linear(f'{layer}attn.c_attn', *_QKV, rows=rows, transposed=True)
  for name, ours in (
    ('attn.c_proj', 'attention.out'),
    ('mlp.c_fc', 'mlp.up'),
    ('mlp.c_proj', 'mlp.down'),
  ):
    yield from linear(layer + name, _BLOCK + ours, transposed=True)
  yield from norm(f'{layer}ln_2', f'{_BLOCK}mlp_norm')
  yield from norm('transformer.ln_f', 'stack.norm')
  yield from linear('lm_head', 'head.weight')


def _read_neox(config: Settings, names) -> ModelConfig:
  parallel = config('use_parallel_residual', default=True)
  attention_bias = config('attention_bias', default=True)
  return ModelConfig(
    vocab_size=config('vocab_size', default=50432),
    seq_len=config('max_position_embeddings', default=2048),
    d_model=config('hidden_size', default=6144),
    n_layers=config('num_hidden_layers', default=44),
    n_heads=config('num_attention_heads', default=64),
    d_ff=config('intermediate_size', default=24576),
    norm=LayerNorm(eps=config('layer_norm_eps', default=1e-5)),
    residual='parallel' if parallel else 'pre',
    position=config.rotary(fraction=0.25),
    activation=config.activation('hidden_act', 'gelu'),
    bias=True,
    qkv_bias=attention_bias,
    out_bias=attention_bias,
    tied_head=config('tie_word_embeddings', default=False),
  )


def _write_neox(cfg: ModelConfig) -> dict:
  return {
    'model_type': 'gpt_neox',
    'architectures': ['GPTNeoXForCausalLM'],
    'vocab_size': cfg.vocab_size,
    'max_position_embeddings': cfg.seq_len,
    'hidden_size': cfg.d_model,
    'num_hidden_layers': cfg.n_layers,
    'num_attention_heads': cfg.n_heads,
    'intermediate_size': cfg.mlp.d_ff,
    'hidden_act': activation_name(cfg.activation),
    'layer_norm_eps': cfg.norm.eps,
    'use_parallel_residual': cfg.residual == 'parallel',
    'attention_bias': cfg.attention.qkv_bias,
    'tie_word_embeddings': cfg.tied_head,
    'rope_parameters': rope_parameters(cfg.position, partial=True),
  }


def _neox(cfg: ModelConfig):
  rows, layer = table.grouped(cfg.attention), 'gpt_neox.layers.{}.'
  yield same('gpt_neox.embed_in.weight', 'embedding.table')
  yield from norm(f'{layer}input_layernorm', f'{_BLOCK}attention_norm')
  yield from norm(f'{layer}post_attention_layernorm', f'{_BLOCK}mlp_norm')
  yield from linear(f'{layer}attention.query_key_value', *_QKV, rows=rows)
  yield from linear(f'{layer}attention.dense', f'{_BLOCK}attention.out')
  yield from linear(f'{layer}mlp.dense_h_to_4h', f'{_BLOCK}mlp.up')
  yield from linear(f'{layer}mlp.dense_4h_to_h', f'{_BLOCK}mlp.down')
  yield from norm('gpt_neox.final_layer_norm', 'stack.norm')
  yield from linear('embed_out', 'head.weight')


def _read_gptj(config: Settings, names) -> ModelConfig:
  d_model, n_heads = (
    config('n_embd', default=4096),
    config('n_head', default=16),
  )
  d_head = d_model // n_heads
  return ModelConfig(
    vocab_size=config('vocab_size', default=50400),
    seq_len=config('n_positions', default=2048),
    d_model=d_model,
    n_layers=config('n_layer', default=28),
    n_heads=n_heads,
    d_ff=config('n_inner', kind=int),
    norm=LayerNorm(eps=config('layer_norm_epsilon', default=1e-5)),
    residual='parallel_shared',
    position=Rotary(fraction=config('rotary_dim', default=d_head) / d_head),
    activation=config.activation('activation_function', 'gelu_new'),
    mlp_bias=True,
    tied_head=config('tie_word_embeddings', default=False),
    head_bias=True,
  )


def _write_gptj(cfg: ModelConfig) -> dict:
  rotary, d_head = cfg.position, cfg.attention.d_head
  return {
    'model_type': 'gptj',
    'architectures': ['GPTJForCausalLM'],
    'vocab_size': cfg.vocab_size,
    'n_positions': cfg.seq_len,
    'n_embd': cfg.d_model,
    'n_layer': cfg.n_layers,
    'n_head': cfg.n_heads,
    'n_inner': cfg.mlp.d_ff,
    'rotary_dim': rotary.n_rotated(d_head)
    if isinstance(rotary, Rotary)
    else d_head,
    'activation_function': activation_name(cfg.activation),
    'layer_norm_epsilon': cfg.norm.eps,
    'tie_word_embeddings': cfg.tied_head,
  }


def _gptj(cfg: ModelConfig):
  assert isinstance(cfg.position, Rotary)
  spec, layer = cfg.attention, 'transformer.h.{}.'
  n_rotated = cfg.position.n_rotated(spec.d_head)
  order = table.interleaved(spec.n_heads, spec.d_head, n_rotated)
  yield same('transformer.wte.weight', 'embedding.table')
  yield from norm(f'{layer}ln_1', f'{_BLOCK}attention_norm')
  yield from linear(f'{layer}attn.q_proj', _QKV[0], rows=[order])
  yield from linear(f'{layer}attn.k_proj', _QKV[1], rows=[order])
  yield from linear(f'{layer}attn.v_proj', _QKV[2])
  yield from linear(f'{layer}attn.out_proj', f'{_BLOCK}attention.out')
  yield from linear(f'{layer}mlp.fc_in', f'{_BLOCK}mlp.up')
  yield from linear(f'{layer}mlp.fc_out', f'{_BLOCK}mlp.down')
  yield from norm('transformer.ln_f', 'stack.norm')
  yield from linear('lm_head', 'head.weight')


_OPT_OFFSET = 2  # Rows of its table of positions that no token reads.


def _read_opt(config: Settings, names) -> ModelConfig:
  config.only('layer_norm_elementwise_affine', True)
  d_model = config('hidden_size', default=768)
  width = config('word_embed_proj_dim', default=d_model)
  before = config('do_layer_norm_before', default=True)
  return ModelConfig(
    vocab_size=config('vocab_size', default=50272),
    seq_len=config('max_position_embeddings', default=2048),
    d_model=d_model,
    d_embedding=None if width == d_model else width,
    n_layers=config('num_hidden_layers', default=12),
    n_heads=config('num_attention_heads', default=12),
    d_ff=config('ffn_dim', default=3072),
    norm=LayerNorm(),
    residual='pre' if before else 'post',
    final_norm=before and not config('_remove_final_layer_norm', default=False),
    position=Learned(),
    activation=config.activation('activation_function', 'relu'),
    bias=config('enable_bias', default=True),
    tied_head=config('tie_word_embeddings', default=True),
  )


def _write_opt(cfg: ModelConfig) -> dict:
  before = cfg.residual == 'pre'
  return {
    'model_type': 'opt',
    'architectures': ['OPTForCausalLM'],
    'vocab_size': cfg.vocab_size,
    'max_position_embeddings': cfg.seq_len,
    'hidden_size': cfg.d_model,
    'word_embed_proj_dim': cfg.d_embedding or cfg.d_model,
    'num_hidden_layers': cfg.n_layers,
    'num_attention_heads': cfg.n_heads,
    'ffn_dim': cfg.mlp.d_ff,
    'do_layer_norm_before': before,
    '_remove_final_layer_norm': before and not cfg.stacks[0].final_norm,
    'activation_function': activation_name(cfg.activation),
    'enable_bias': cfg.bias,
    'tie_word_embeddings': cfg.tied_head,
  }


def _opt(cfg: ModelConfig):
  decoder, layer = 'model.decoder.', 'model.decoder.layers.{}.'
  yield same(f'{decoder}embed_tokens.weight', 'embedding.table')
  yield same(
    f'{decoder}embed_positions.weight',
    'stack.position.table',
    skip=_OPT_OFFSET,
  )
  yield from linear(f'{decoder}project_in', 'embedding.widen')
  yield from linear(f'{decoder}project_out', 'head.narrow')
  yield from norm(f'{layer}self_attn_layer_norm', f'{_BLOCK}attention_norm')
  for name, ours in (('q', 0), ('k', 1), ('v', 2)):
    yield from linear(f'{layer}self_attn.{name}_proj', _QKV[ours])
  yield from linear(f'{layer}self_attn.out_proj', f'{_BLOCK}attention.out')
  yield from norm(f'{layer}final_layer_norm', f'{_BLOCK}mlp_norm')
  yield from linear(f'{layer}fc1', f'{_BLOCK}mlp.up')
  yield from linear(f'{layer}fc2', f'{_BLOCK}mlp.down')
  yield from norm(f'{decoder}final_layer_norm', 'stack.norm')
  yield from linear('lm_head', 'head.weight')


GPT2 = Family(
  model_types=('gpt2',),
  read=_read_gpt2,
  write=_write_gpt2,
  tensors=_gpt2,
  prefix='transformer.',
  ignored=(r'.*\.attn\.(bias|masked_bias)',),
)
GPT_NEOX = Family(
  model_types=('gpt_neox',),
  read=_read_neox,
  write=_write_neox,
  tensors=_neox,
  prefix='gpt_neox.',
  ignored=(r'.*\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)',),
)
GPT_J = Family(
  model_types=('gptj',),
  read=_read_gptj,
  write=_write_gptj,
  tensors=_gptj,
  prefix='transformer.',
  ignored=(r'.*\.attn\.(bias|masked_bias|embed_positions)',),
)
OPT = Family(
  model_types=('opt',),
  read=_read_opt,
  write=_write_opt,
  tensors=_opt,
  prefix='model.',
)
