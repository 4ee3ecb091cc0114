"""Who sees whom in each architecture, and what must not change its logits."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import variants

from research.models.config import ALiBi, Learned, RelativeBuckets, Rotary
from research.objectives.language import cross_entropy

ARCHITECTURES = pytest.mark.parametrize('architecture', variants.ARCHITECTURES)
POSITIONS = pytest.mark.parametrize(
  'position',
  [Learned(), Rotary(), ALiBi(), RelativeBuckets(n_buckets=8, max_distance=16)],
  ids=lambda position: type(position).__name__,
)


# Compiled without optimisation: most of the time would go to it.
compiled = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


@compiled
def forward(model, batch, key=None):
  return model(batch, key=key)


@compiled
def gradient(model, batch):
  return jax.grad(lambda model: cross_entropy(model, batch).loss)(model)


def changed(batch, name, column, row=0):
  """The batch with another token in this column of a row."""
  tokens = batch[name].copy()
  tokens[row, column] = (tokens[row, column] + 1) % 13
  return batch | {name: tokens}


def effect(model, batch, name, column) -> np.ndarray:
  """Whether each logit vector of the first row feels that token."""
  before = forward(model, batch)[0]
  after = forward(model, changed(batch, name, column))[0]
  return np.any(np.asarray(before != after), axis=-1)


def arranged(cfg, lengths, seed=0, side=''):
  """Rows that pack segments of these lengths, padded to the end."""
  full = cfg.longest_target if side else cfg.seq_len
  segments = np.repeat(np.arange(len(lengths)) + 1, lengths)
  where = np.concatenate([np.arange(n) for n in lengths])
  pad = (0, full - sum(lengths))
  rng = np.random.default_rng(seed)
  return {
    f'{side}tokens': rng.integers(0, cfg.vocab_size, (2, full), np.int32),
    f'{side}segments': np.tile(np.pad(segments, pad).astype(np.int32), (2, 1)),
    f'{side}positions': np.tile(np.pad(where, pad).astype(np.int32), (2, 1)),
  }


def packed(cfg, lengths, target_lengths):
  batch = arranged(cfg, lengths)
  if cfg.architecture == 'encoder_decoder':
    batch |= arranged(cfg, target_lengths, 1, 'decoder_')
  return variants.batch(cfg) | batch


def alone(batch, segment):
  """The batch with one segment moved to the start and padding after it."""
  made = dict(batch)
  for side in ('', 'decoder_') if 'decoder_tokens' in batch else ('',):
    kept = batch[f'{side}segments'][0] == segment
    for name in 'tokens', 'segments', 'positions':
      x = np.zeros_like(batch[side + name])
      x[0, : kept.sum()] = batch[side + name][0, kept]
      made[side + name] = x
  return made


@POSITIONS
def test_future_tokens_do_not_change_the_past(position):
  cfg = variants.config('decoder', position=position)
  model, batch = variants.build(cfg), variants.batch(cfg)
  felt = effect(model, batch, 'tokens', 4)
  np.testing.assert_array_equal(felt, np.arange(8) >= 4)


@POSITIONS
def test_future_targets_do_not_change_the_past(position):
  cfg = variants.config('encoder_decoder', position=position)
  model, batch = variants.build(cfg), variants.batch(cfg)
  felt = effect(model, batch, 'decoder_tokens', 4)
  np.testing.assert_array_equal(felt, np.arange(8) >= 4)


@pytest.mark.parametrize('architecture', ['encoder', 'encoder_decoder'])
@pytest.mark.parametrize('column', [0, 4, 7])
def test_an_encoded_token_is_seen_from_both_sides(architecture, column):
  cfg = variants.config(architecture)
  model, batch = variants.build(cfg), variants.batch(cfg)
  assert effect(model, batch, 'tokens', column).all()


def test_a_prefix_is_seen_both_ways_and_the_rest_one_way():
  cfg = variants.config('decoder')
  model, batch = variants.build(cfg), variants.batch(cfg)
  batch['prefix'] = np.tile(np.arange(8) < 3, (2, 1))
  for column in range(8):
    felt = effect(model, batch, 'tokens', column)
    np.testing.assert_array_equal(felt, (column < 3) | (np.arange(8) >= column))


def test_an_empty_prefix_is_no_prefix():
  cfg = variants.config('decoder')
  model, batch = variants.build(cfg), variants.batch(cfg)
  empty = batch | {'prefix': np.zeros((2, 8), bool)}
  np.testing.assert_allclose(
    forward(model, empty), forward(model, batch), atol=1e-6
  )


@ARCHITECTURES
@POSITIONS
def test_packed_documents_read_as_if_each_stood_alone(architecture, position):
  cfg = variants.config(architecture, position=position)
  model = variants.build(cfg)
  batch = packed(cfg, (3, 4), (5, 2))
  together = forward(model, batch)[0]
  side = 'decoder_' if architecture == 'encoder_decoder' else ''
  for segment in 1, 2:
    moved = alone(batch, segment)
    kept = batch[f'{side}segments'][0] == segment
    ours = forward(model, moved)[0, : kept.sum()]
    np.testing.assert_allclose(together[kept], ours, atol=1e-5)


def test_a_target_reads_only_the_source_of_its_segment():
  cfg = variants.config('encoder_decoder')
  model, batch = variants.build(cfg), packed(cfg, (3, 4), (5, 2))
  where = np.arange(8)
  first, second = where < 5, (where >= 5) & (where < 7)
  for column in range(8):
    felt = effect(model, batch, 'tokens', column)
    expected = first if column < 3 else second if column < 7 else where < 0
    np.testing.assert_array_equal(felt, expected)


@ARCHITECTURES
def test_what_stands_in_padding_does_not_matter(architecture):
  cfg = variants.config(architecture)
  model, batch = variants.build(cfg), packed(cfg, (5,), (6,))
  name = 'decoder_tokens' if architecture == 'encoder_decoder' else 'tokens'
  real = 6 if architecture == 'encoder_decoder' else 5
  assert not effect(model, batch, name, 7)[:real].any()
  assert not effect(model, batch, 'tokens', 6)[:real].any()


@ARCHITECTURES
@pytest.mark.parametrize('part', ['plain', 'post'])
def test_a_wholly_padded_row_has_finite_logits_and_gradients(
  architecture, part
):
  cfg = variants.config(architecture, part)
  model, batch = variants.build(cfg), variants.batch(cfg)
  for name in batch:
    if name.endswith('segments') or name == 'weights':
      batch[name][1] = 0
  assert jnp.isfinite(forward(model, batch)).all()
  gradients = jax.tree.leaves(gradient(model, batch))
  assert all(jnp.isfinite(g).all() for g in gradients)
  other = changed(batch, 'tokens', 3, row=1)
  for ours, theirs in zip(
    gradients, jax.tree.leaves(gradient(model, other)), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@ARCHITECTURES
def test_attention_weights_sum_to_one_and_leave_the_logits(architecture):
  cfg = variants.config(architecture)
  model, batch = variants.build(cfg), variants.batch(cfg)
  logits, weights = jax.jit(lambda m, b: m(b, attention_weights=True))(
    model, batch
  )
  np.testing.assert_allclose(logits, forward(model, batch), atol=1e-6)
  names = {'encoder_decoder': {'encoder', 'decoder', 'cross'}}
  assert set(weights) == names.get(architecture, {architecture})
  for each in weights.values():
    assert each.shape == (2, 2, 4, 8, 8)
    np.testing.assert_allclose(each.sum(-1), 1, atol=1e-6)
  for name in {'decoder'} & set(weights):
    assert not np.triu(weights[name], 1).any()


@ARCHITECTURES
def test_compiled_unrolled_and_scanned_are_the_same(architecture):
  cfg = variants.config(architecture)
  batch, expected = variants.batch(cfg), None
  for unroll in 1, True:
    model = variants.build(dataclasses.replace(cfg, unroll=unroll))
    expected = model(batch) if expected is None else expected
    logits = jax.jit(lambda model, batch: model(batch))(model, batch)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


@ARCHITECTURES
@pytest.mark.parametrize('remat', [True, 'dots'])
def test_remat_leaves_the_gradients(architecture, remat):
  cfg = variants.config(architecture)
  batch = variants.batch(cfg)
  plain = gradient(variants.build(cfg), batch)
  again = dataclasses.replace(cfg, remat=remat)
  again = gradient(variants.build(again), batch)
  for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@ARCHITECTURES
def test_bfloat16_stays_near_float32(architecture):
  cfg = variants.config(architecture)
  batch = variants.batch(cfg)
  full = forward(variants.build(cfg), batch)
  half = dataclasses.replace(cfg, dtype='bfloat16')
  half = forward(variants.build(half), batch)
  assert half.dtype == full.dtype == jnp.float32
  assert (half != full).any()
  # bfloat16 keeps 8 bits: 2^-8 of the largest logit, a few times over.
  np.testing.assert_allclose(half, full, atol=0.03 * float(abs(full).max()))


@ARCHITECTURES
def test_a_new_model_knows_nothing(architecture):
  cfg = variants.config(architecture, vocab_size=64)
  batch = variants.batch(cfg, n_rows=16)
  sums = jax.jit(cross_entropy)(variants.build(cfg), batch)
  np.testing.assert_allclose(sums.loss / sums.weight, np.log(64), atol=0.05)


@ARCHITECTURES
def test_dropout_varies_with_its_key_and_only_with_it(architecture):
  cfg = variants.config(architecture, dropout=0.2)
  model, batch = variants.build(cfg), variants.batch(cfg)
  plain = variants.build(dataclasses.replace(cfg, dropout=0.0))
  np.testing.assert_array_equal(forward(model, batch), forward(plain, batch))
  one, two = (forward(model, batch, jax.random.key(i)) for i in (1, 2))
  np.testing.assert_array_equal(one, forward(model, batch, jax.random.key(1)))
  assert (one != two).any(axis=-1).all()
  assert (one != forward(model, batch)).any(axis=-1).all()
