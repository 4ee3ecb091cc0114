"""T5 1.0, and 1.1 with Flan-T5."""

from research.config import BadInput
from research.interop.family import Family, Settings, activation_name
from research.interop.table import linear, norm, same
from research.models.config import ModelConfig, RelativeBuckets, RMSNorm


def _read(config: Settings, names) -> ModelConfig:
  kind = config('feed_forward_proj', default='relu')
  gated = kind.startswith('gated-')
  # Every published gated T5 has gelu_new, though the field says gelu.
  said = 'gelu_new' if kind == 'gated-gelu' else kind.removeprefix('gated-')
  activation = Settings({'feed_forward_proj': said}).activation(
    'feed_forward_proj', 'relu'
  )
  d_model = config('d_model', default=512)
  tied = config('tie_word_embeddings', default=True)
  scaled = config('scale_decoder_outputs', default=tied)
  layers = config('num_layers', default=6)
  return ModelConfig(
    architecture='encoder_decoder',
    vocab_size=config('vocab_size', default=32128),
    seq_len=config('n_positions', default=512),
    d_model=d_model,
    n_layers=layers,
    n_decoder_layers=config('num_decoder_layers', default=layers),
    n_heads=config('num_heads', default=8),
    d_head=config('d_kv', default=64),
    d_ff=config('d_ff', default=2048),
    norm=RMSNorm(eps=config('layer_norm_epsilon', default=1e-6)),
    position=RelativeBuckets(
      n_buckets=config('relative_attention_num_buckets', default=32),
      max_distance=config('relative_attention_max_distance', default=128),
    ),
    activation=activation,
    gated=gated,
    attention_scale=1.0,
    tied_head='lm_head.weight' not in names,
    logit_scale=d_model**-0.5 if scaled else 1.0,
  )


def _write(cfg: ModelConfig) -> dict:
  position, kind = cfg.position, activation_name(cfg.activation)
  if not isinstance(position, RelativeBuckets):
    position = RelativeBuckets()
  if cfg.gated and kind == 'gelu':
    raise BadInput('activation=gelu: a gated T5 has gelu_tanh; T5 cannot tell')
  if cfg.gated:
    kind = f'gated-{kind.removesuffix("_new")}'
  scaled = cfg.logit_scale != 1
  return {
    'model_type': 't5',
    'architectures': ['T5ForConditionalGeneration'],
    'vocab_size': cfg.vocab_size,
    'n_positions': cfg.seq_len,
    'd_model': cfg.d_model,
    'num_layers': cfg.n_layers,
    'num_decoder_layers': cfg.stacks[-1].n_layers,
    'num_heads': cfg.n_heads,
    'd_kv': cfg.attention.d_head,
    'd_ff': cfg.mlp.d_ff,
    'layer_norm_epsilon': cfg.norm.eps,
    'relative_attention_num_buckets': position.n_buckets,
    'relative_attention_max_distance': position.max_distance,
    'feed_forward_proj': kind,
    'tie_word_embeddings': scaled,
    'scale_decoder_outputs': scaled,
  }


def _tensors(cfg: ModelConfig):
  yield same('shared.weight', 'embedding.table')
  up = 'wi_1' if cfg.gated else 'wi'
  yield from _stack('encoder', ('SelfAttention',), up)
  yield from _stack('decoder', ('SelfAttention', 'EncDecAttention'), up)
  yield from linear('lm_head', 'head.weight')


def _stack(side: str, attentions: tuple[str, ...], up: str):
  layer, block = f'{side}.block.{{}}.layer.', f'{side}.blocks.{{}}.'
  yield same(
    f'{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight',
    f'{side}.position.table',
  )
  for i, name in enumerate(attentions):
    ours = 'cross' if name == 'EncDecAttention' else 'attention'
    for letter, part in zip(
      'qkvo', ('query', 'key', 'value', 'out'), strict=True
    ):
      yield from linear(f'{layer}{i}.{name}.{letter}', f'{block}{ours}.{part}')
    yield from norm(f'{layer}{i}.layer_norm', f'{block}{ours}_norm')
  mlp = f'{layer}{len(attentions)}.'
  yield from linear(f'{mlp}DenseReluDense.wi_0', f'{block}mlp.gate')
  yield from linear(f'{mlp}DenseReluDense.{up}', f'{block}mlp.up')
  yield from linear(f'{mlp}DenseReluDense.wo', f'{block}mlp.down')
  yield from norm(f'{mlp}layer_norm', f'{block}mlp_norm')
  yield from norm(f'{side}.final_layer_norm', f'{side}.norm')


T5 = Family(
  model_types=('t5',),
  read=_read,
  write=_write,
  tensors=_tensors,
  aliases={
    'encoder.embed_tokens.weight': 'shared.weight',
    'decoder.embed_tokens.weight': 'shared.weight',
  },
  ignored=(r'decoder\..*\.EncDecAttention\.relative_attention_bias\.weight',),
)
