"""Architecture and parts, for `variants.config`, of small models by family."""

from research.models.config import LayerNorm, Learned, RelativeBuckets

PARTS = {
  'llama': ('decoder', {'gated': True, 'activation': 'silu'}),
  'gpt2': (
    'decoder',
    {'norm': LayerNorm(), 'position': Learned(), 'bias': True},
  ),
  'bert': (
    'encoder',
    {
      'norm': LayerNorm(),
      'position': Learned(),
      'bias': True,
      'residual': 'post',
      'embedding_norm': True,
      'n_token_types': 2,
      'head_transform': True,
      'head_bias': True,
    },
  ),
  't5': (
    'encoder_decoder',
    {'position': RelativeBuckets(), 'attention_scale': 1.0},
  ),
}
