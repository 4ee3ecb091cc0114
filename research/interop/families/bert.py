"""BERT, RoBERTa and DistilBERT."""

from research.config import BadInput
from research.interop.family import Family, Settings, activation_name
from research.interop.table import linear, norm, same
from research.models.config import LayerNorm, Learned, ModelConfig

_BLOCK = 'stack.blocks.{}.'
# RoBERTa counts positions from the one after its padding token's id.
_PADDING = 1


def _read_bert(config: Settings, names) -> ModelConfig:
  return _read(config, 'cls.predictions.transform.dense.weight' in names)


def _read_roberta(config: Settings, names) -> ModelConfig:
  has_head = 'lm_head.dense.weight' in names
  if has_head:
    config.only('hidden_act', 'gelu')  # Its head has gelu whatever this says.
  config.only('pad_token_id', _PADDING)
  return _read(config, has_head, _PADDING + 1)


def _read(config: Settings, has_head: bool, unread: int = 0) -> ModelConfig:
  config.only('position_embedding_type', 'absolute')
  config.only('is_decoder', False)
  return ModelConfig(
    architecture='encoder',
    vocab_size=config('vocab_size', default=30522),
    seq_len=config('max_position_embeddings', default=512) - unread,
    d_model=config('hidden_size', default=768),
    n_layers=config('num_hidden_layers', default=12),
    n_heads=config('num_attention_heads', default=12),
    d_ff=config('intermediate_size', default=3072),
    norm=LayerNorm(eps=config('layer_norm_eps', default=1e-12)),
    residual='post',
    position=Learned(),
    activation=config.activation('hidden_act', 'gelu'),
    bias=True,
    head_bias=has_head,
    head_transform=has_head,
    tied_head=not has_head or config('tie_word_embeddings', default=True),
    embedding_norm=True,
    n_token_types=config('type_vocab_size', default=2),
  )


def _write_bert(cfg: ModelConfig) -> dict:
  name = 'BertForMaskedLM' if cfg.head_transform else 'BertModel'
  return {'model_type': 'bert', 'architectures': [name], **_write(cfg)}


def _write_roberta(cfg: ModelConfig) -> dict:
  name = 'RobertaForMaskedLM' if cfg.head_transform else 'RobertaModel'
  told = {'model_type': 'roberta', 'architectures': [name], **_write(cfg)}
  told['pad_token_id'] = _PADDING
  told['max_position_embeddings'] = cfg.seq_len + _PADDING + 1
  return told


def _write(cfg: ModelConfig) -> dict:
  if not cfg.n_token_types:
    raise BadInput('n_token_types=0: BERT and RoBERTa have at least one')
  return {
    'vocab_size': cfg.vocab_size,
    'max_position_embeddings': cfg.seq_len,
    'hidden_size': cfg.d_model,
    'num_hidden_layers': cfg.n_layers,
    'num_attention_heads': cfg.n_heads,
    'intermediate_size': cfg.mlp.d_ff,
    'layer_norm_eps': cfg.norm.eps,
    'hidden_act': activation_name(cfg.activation),
    'type_vocab_size': cfg.n_token_types,
    'tie_word_embeddings': cfg.tied_head,
  }


def _body(prefix: str, unread: int):
  """What BERT and RoBERTa have in common."""
  layer = f'{prefix}encoder.layer.{{}}.'
  yield same(f'{prefix}embeddings.word_embeddings.weight', 'embedding.table')
  yield same(
    f'{prefix}embeddings.position_embeddings.weight',
    'stack.position.table',
    skip=unread,
  )
  yield same(
    f'{prefix}embeddings.token_type_embeddings.weight', 'embedding.types'
  )
  yield from norm(f'{prefix}embeddings.LayerNorm', 'stack.embedding_norm')
  for name, ours in (
    ('attention.self.query', 'attention.query'),
    ('attention.self.key', 'attention.key'),
    ('attention.self.value', 'attention.value'),
    ('attention.output.dense', 'attention.out'),
    ('intermediate.dense', 'mlp.up'),
    ('output.dense', 'mlp.down'),
  ):
    yield from linear(layer + name, _BLOCK + ours)
  yield from norm(
    f'{layer}attention.output.LayerNorm', f'{_BLOCK}attention_norm'
  )
  yield from norm(f'{layer}output.LayerNorm', f'{_BLOCK}mlp_norm')


def _bert(cfg: ModelConfig):
  yield from _body('bert.', 0)
  head = 'cls.predictions.'
  yield from linear(f'{head}transform.dense', 'head.transform.dense')
  yield from norm(f'{head}transform.LayerNorm', 'head.transform.norm')
  yield from _vocabulary(cfg, f'{head}decoder', f'{head}bias')


def _roberta(cfg: ModelConfig):
  yield from _body('roberta.', _PADDING + 1)
  yield from linear('lm_head.dense', 'head.transform.dense')
  yield from norm('lm_head.layer_norm', 'head.transform.norm')
  yield from _vocabulary(cfg, 'lm_head.decoder', 'lm_head.bias')


def _vocabulary(cfg: ModelConfig, decoder: str, shared: str):
  """A matrix of its own comes with a bias of its own, not the shared one."""
  weight, bias = linear(decoder, 'head.weight')
  yield weight
  yield same(shared, 'head.bias') if cfg.tied_head else bias


def _read_distilbert(config: Settings, names) -> ModelConfig:
  has_head = 'vocab_transform.weight' in names
  return ModelConfig(
    architecture='encoder',
    vocab_size=config('vocab_size', default=30522),
    seq_len=config('max_position_embeddings', default=512),
    d_model=config('dim', default=768),
    n_layers=config('n_layers', default=6),
    n_heads=config('n_heads', default=12),
    d_ff=config('hidden_dim', default=3072),
    norm=LayerNorm(eps=1e-12),
    residual='post',
    position=Learned(),
    activation=config.activation('activation', 'gelu'),
    bias=True,
    head_bias=has_head,
    head_transform=has_head,
    tied_head=not has_head or config('tie_word_embeddings', default=True),
    embedding_norm=True,
  )


def _write_distilbert(cfg: ModelConfig) -> dict:
  name = 'DistilBertForMaskedLM' if cfg.head_transform else 'DistilBertModel'
  return {
    'model_type': 'distilbert',
    'architectures': [name],
    'vocab_size': cfg.vocab_size,
    'max_position_embeddings': cfg.seq_len,
    'dim': cfg.d_model,
    'n_layers': cfg.n_layers,
    'n_heads': cfg.n_heads,
    'hidden_dim': cfg.mlp.d_ff,
    'activation': activation_name(cfg.activation),
    'tie_word_embeddings': cfg.tied_head,
  }


def _distilbert(cfg: ModelConfig):
  embeddings, layer = (
    'distilbert.embeddings.',
    'distilbert.transformer.layer.{}.',
  )
  yield same(f'{embeddings}word_embeddings.weight', 'embedding.table')
  yield same(f'{embeddings}position_embeddings.weight', 'stack.position.table')
  yield from norm(f'{embeddings}LayerNorm', 'stack.embedding_norm')
  for name, ours in (
    ('attention.q_lin', 'attention.query'),
    ('attention.k_lin', 'attention.key'),
    ('attention.v_lin', 'attention.value'),
    ('attention.out_lin', 'attention.out'),
    ('ffn.lin1', 'mlp.up'),
    ('ffn.lin2', 'mlp.down'),
  ):
    yield from linear(layer + name, _BLOCK + ours)
  yield from norm(f'{layer}sa_layer_norm', f'{_BLOCK}attention_norm')
  yield from norm(f'{layer}output_layer_norm', f'{_BLOCK}mlp_norm')
  yield from linear('vocab_transform', 'head.transform.dense')
  yield from norm('vocab_layer_norm', 'head.transform.norm')
  yield from linear('vocab_projector', 'head.weight')


BERT = Family(
  model_types=('bert',),
  read=_read_bert,
  write=_write_bert,
  tensors=_bert,
  prefix='bert.',
  aliases={'cls.predictions.decoder.bias': 'cls.predictions.bias'},
  ignored=(
    r'.*pooler\..*',
    r'cls\.seq_relationship\..*',
    r'.*embeddings\.position_ids',
  ),
)
ROBERTA = Family(
  model_types=('roberta',),
  read=_read_roberta,
  write=_write_roberta,
  tensors=_roberta,
  prefix='roberta.',
  aliases={'lm_head.decoder.bias': 'lm_head.bias'},
  ignored=(
    r'.*pooler\..*',
    r'.*embeddings\.position_ids',
  ),
)
DISTILBERT = Family(
  model_types=('distilbert',),
  read=_read_distilbert,
  write=_write_distilbert,
  tensors=_distilbert,
  prefix='distilbert.',
  ignored=(r'.*embeddings\.position_ids',),
)
