"""A config counts the parameters of the model it builds, and refuses others."""

from flax import nnx
import jax
import pytest
import variants

from research.config import BadInput
from research.models.config import (
  Learned,
  ModelConfig,
  RelativeBuckets,
  Rotary,
  Sinusoidal,
)


def size(tree) -> int:
  return sum(x.size for x in jax.tree.leaves(tree))


@pytest.mark.parametrize('architecture, part', variants.CASES)
def test_parameters_counted_are_those_built(architecture, part):
  cfg = variants.config(architecture, part)
  assert cfg.n_params == size(variants.shapes(cfg))


@pytest.mark.parametrize('architecture, part', variants.CASES)
def test_non_embedding_parameters_leave_out_tables_and_head(architecture, part):
  cfg = variants.config(architecture, part)
  model = variants.shapes(cfg)
  stacks = [
    getattr(model, name)
    for name in ('stack', 'encoder', 'decoder')
    if hasattr(model, name)
  ]
  tables = size(model.embedding.table) + size(model.embedding.types)
  tables += sum(size(s.position) for s in stacks)
  head = size(model.head.weight) + size(model.head.bias)
  assert cfg.n_params_non_embedding == size(model) - tables - head


def test_every_part_at_once_is_counted():
  cfg = variants.config(
    'encoder_decoder',
    n_kv_heads=2,
    d_head=6,
    n_decoder_layers=3,
    target_len=5,
    position=Learned(),
    gated=True,
    bias=True,
    tied_head=False,
    head_bias=True,
    head_transform=True,
    embedding_norm=True,
    n_token_types=3,
    vocab_size=29,
  )
  assert cfg.n_params == size(variants.shapes(cfg))


def test_sizes_of_gpt_2_bert_and_t5_are_the_published_ones():
  bias_norm = {'norm': variants.LayerNorm(), 'bias': True}
  gpt_2 = ModelConfig(
    architecture='decoder',
    vocab_size=50257,
    seq_len=1024,
    d_model=768,
    n_layers=12,
    n_heads=12,
    position=Learned(),
    **bias_norm,
  )
  # What transformers' GPT2LMHeadModel counts for gpt2.
  assert gpt_2.n_params == 124_439_808
  bert = ModelConfig(
    architecture='encoder',
    vocab_size=30522,
    seq_len=512,
    d_model=768,
    n_layers=12,
    n_heads=12,
    position=Learned(),
    residual='post',
    embedding_norm=True,
    n_token_types=2,
    head_transform=True,
    head_bias=True,
    **bias_norm,
  )
  # What transformers' BertForMaskedLM counts for bert-base-uncased.
  assert bert.n_params == 109_514_298
  t5 = ModelConfig(
    architecture='encoder_decoder',
    vocab_size=32128,
    seq_len=512,
    d_model=512,
    n_layers=6,
    n_heads=8,
    d_ff=2048,
    position=RelativeBuckets(),
    activation='relu',
  )
  # What transformers' T5ForConditionalGeneration counts for t5-small.
  assert t5.n_params == 60_506_624


@pytest.mark.parametrize('architecture, part', variants.CASES)
def test_every_parameter_names_its_dimensions(architecture, part):
  model = variants.shapes(variants.config(architecture, part))
  params = jax.tree.leaves(model, is_leaf=lambda x: isinstance(x, nnx.Variable))
  assert params and all(len(p.axes) == len(p.shape) for p in params)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'d_model': 10}, 'n_heads=4: must divide d_model=10'),
    ({'n_kv_heads': 3}, 'n_kv_heads=3: must divide n_heads=4'),
    ({'n_kv_heads': 8}, 'n_kv_heads=8: must divide n_heads=4'),
    ({'d_model': 15, 'n_heads': 3, 'position': Sinusoidal()}, 'd_model=15'),
    ({'n_heads': 16}, r'position=Rotary\(fraction=1.0\).*d_head=1'),
    ({'position': Rotary(fraction=0.25)}, r'fraction=0.25.*d_head=4'),
    ({'vocab_size': 1}, 'vocab_size=1'),
    ({'seq_len': 0}, 'seq_len=0'),
    ({'d_model': 0}, 'd_model=0'),
    ({'n_layers': 0}, 'n_layers=0'),
    ({'n_heads': 0}, 'n_heads=0'),
    ({'n_token_types': -1}, 'n_token_types=-1'),
    ({'n_kv_heads': 0}, 'n_kv_heads=0'),
    ({'d_head': 0}, 'd_head=0'),
    ({'d_ff': 0}, 'd_ff=0'),
    ({'unroll': 0}, 'unroll=0'),
    ({'window': 0}, 'window=0'),
    ({'d_embedding': 0}, 'd_embedding=0'),
    ({'attention_clip': 0.0}, 'attention_clip=0.0'),
    ({'dropout': 1.0}, 'dropout=1.0'),
    ({'dropout': -0.1}, 'dropout=-0.1'),
    ({'target_len': 4}, 'target_len=4'),
    ({'n_decoder_layers': 1}, 'n_decoder_layers=1'),
  ],
)
def test_what_cannot_be_built_is_refused_by_field_and_value(changes, message):
  with pytest.raises(BadInput, match=message):
    variants.config('decoder', **changes)


def test_an_encoder_has_no_window():
  with pytest.raises(BadInput, match='window=4'):
    variants.config('encoder', window=4)


@pytest.mark.parametrize('name', ['target_len', 'n_decoder_layers'])
def test_an_encoder_decoder_refuses_an_empty_target_side(name):
  with pytest.raises(BadInput, match=f'{name}=0'):
    variants.config('encoder_decoder', 'plain', **{name: 0})


@pytest.mark.parametrize('fraction', [0.0, -0.5, 1.5])
def test_rotary_refuses_a_share_outside_one(fraction):
  with pytest.raises(BadInput, match=f'position.fraction={fraction}'):
    Rotary(fraction=fraction)


def test_buckets_that_do_not_halve_twice_are_refused():
  with pytest.raises(BadInput, match='position.n_buckets=6'):
    RelativeBuckets(n_buckets=6)
  with pytest.raises(BadInput, match='position.max_distance=16'):
    RelativeBuckets(n_buckets=32, max_distance=16)
