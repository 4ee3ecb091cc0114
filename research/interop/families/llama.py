"""LLaMA (Vicuna, Alpaca, Llama 2, SmolLM), Mistral and Qwen2."""

from research.config import BadInput
from research.interop.family import (
  Family,
  Settings,
  activation_name,
  rope_parameters,
)
from research.interop.table import linear, norm, same
from research.models.config import ModelConfig, RMSNorm

_BLOCK = 'stack.blocks.{}.'
_WINDOW = {'mistral': 4096}  # Absent in the file, this is meant.


def _read(config: Settings, names) -> ModelConfig:
  kind = config('model_type', default='llama')
  n_heads = config('num_attention_heads', default=32)
  kv_heads = 8 if kind == 'mistral' else n_heads
  bias = config('attention_bias', default=False)
  return ModelConfig(
    vocab_size=config('vocab_size', default=32000),
    seq_len=config('max_position_embeddings', default=2048),
    d_model=config('hidden_size', default=4096),
    n_layers=config('num_hidden_layers', default=32),
    n_heads=n_heads,
    n_kv_heads=config('num_key_value_heads', default=kv_heads),
    d_head=config('head_dim', kind=int),
    d_ff=config('intermediate_size', default=11008),
    norm=RMSNorm(eps=config('rms_norm_eps', default=1e-6)),
    position=config.rotary(),
    activation=config.activation('hidden_act', 'silu'),
    gated=True,
    qkv_bias=kind == 'qwen2' or bias,
    out_bias=bias,
    mlp_bias=config('mlp_bias', default=False),
    window=_window(config, kind),
    tied_head=config('tie_word_embeddings', default=False),
  )


def _window(config: Settings, kind: str) -> int | None:
  if kind == 'mistral':
    absent = 'sliding_window' not in config.data
    return _WINDOW[kind] if absent else config('sliding_window', kind=int)
  if kind == 'qwen2' and config('use_sliding_window', default=False):
    raise BadInput(
      'config.json: use_sliding_window=true: Qwen2 has it in some layers only,'
      ' ours in all or none'
    )
  return None


def _write(cfg: ModelConfig) -> dict:
  spec = cfg.attention
  kind = 'llama' if cfg.window is None else 'mistral'
  kind = 'qwen2' if spec.qkv_bias and not spec.out_bias else kind
  name = {'llama': 'Llama', 'mistral': 'Mistral', 'qwen2': 'Qwen2'}[kind]
  told = {
    'model_type': kind,
    'architectures': [f'{name}ForCausalLM'],
    'vocab_size': cfg.vocab_size,
    'max_position_embeddings': cfg.seq_len,
    'hidden_size': cfg.d_model,
    'num_hidden_layers': cfg.n_layers,
    'num_attention_heads': cfg.n_heads,
    'num_key_value_heads': spec.n_kv_heads,
    'head_dim': spec.d_head,
    'intermediate_size': cfg.mlp.d_ff,
    'hidden_act': activation_name(cfg.activation),
    'rms_norm_eps': cfg.norm.eps,
    'rope_parameters': rope_parameters(cfg.position),
    'tie_word_embeddings': cfg.tied_head,
  }
  if kind == 'mistral':
    told['sliding_window'] = cfg.window
  if kind == 'llama':
    told |= {'attention_bias': spec.out_bias, 'mlp_bias': cfg.mlp.bias}
  return told


def _tensors(cfg: ModelConfig):
  layer = 'model.layers.{}.'
  yield same('model.embed_tokens.weight', 'embedding.table')
  yield from norm(f'{layer}input_layernorm', f'{_BLOCK}attention_norm')
  for name, ours in (
    ('self_attn.q_proj', 'attention.query'),
    ('self_attn.k_proj', 'attention.key'),
    ('self_attn.v_proj', 'attention.value'),
    ('self_attn.o_proj', 'attention.out'),
    ('mlp.gate_proj', 'mlp.gate'),
    ('mlp.up_proj', 'mlp.up'),
    ('mlp.down_proj', 'mlp.down'),
  ):
    yield from linear(layer + name, _BLOCK + ours)
  yield from norm(f'{layer}post_attention_layernorm', f'{_BLOCK}mlp_norm')
  yield from norm('model.norm', 'stack.norm')
  yield from linear('lm_head', 'head.weight')


LLAMA = Family(
  model_types=('llama', 'mistral', 'qwen2'),
  read=_read,
  write=_write,
  tensors=_tensors,
  prefix='model.',
  ignored=(r'.*\.rotary_emb\.inv_freq',),
)
