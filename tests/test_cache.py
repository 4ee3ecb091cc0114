"""What is read once gives the logits of reading everything anew."""

import functools

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import variants

from research.models.cache import Cache

# Compiled without optimisation: most of the time would go to it.
compiled = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)

PROMPTS = (3, 5, 1)
"""Tokens of each row's prompt; two more follow, one at a time."""
ROOM = 10
KINDS = {
  'decoder': (
    ('learned', 'layer_norm', 'bias'),
    ('grouped', 'gated', 'narrow_untied', 'window'),
    ('half_rotary', 'parallel'),
    ('parallel_shared', 'multi_query', 'clipped'),
    ('alibi', 'embedding_norm', 'layer_norm'),
    ('no_position', 'wide_heads', 'head_transform'),
  ),
  'encoder_decoder': (
    ('buckets', 'scaled', 'n_decoder_layers'),
    ('sinusoidal', 'post', 'bias'),
    ('learned', 'parallel', 'grouped'),
    ('alibi', 'parallel_shared', 'multi_query'),
  ),
}
"""Every part that the cached path goes through by code of its own."""


def config(architecture, parts, **changes):
  found = variants.PARTS | variants.SIDES
  fields = {k: v for part in parts for k, v in found[part].items()}
  return variants.config(architecture, **fields | changes)


@compiled
def uncached(model, batch):
  return model(batch)


@compiled
def cached(model, source, prompts, segments, more):
  """Logits after the prompts and after each of the tokens that follow."""
  cache = start(model, source, len(prompts))
  first, cache = model.extend(cache, prompts, segments)

  def step(cache, token):
    logits, cache = model.extend(
      cache, token[:, None], jnp.ones_like(token)[:, None]
    )
    return cache, logits

  _, found = jax.lax.scan(step, cache, more.T)
  return jnp.concatenate([first[:, None], found.swapaxes(0, 1)], axis=1)


def start(model, source, n_rows) -> Cache:
  if source is None:
    return model.start(n_rows, ROOM)
  return model.start(source, ROOM)


def padded(rows, left: bool) -> dict[str, np.ndarray]:
  """The rows as tokens, segments and positions, padded on one side."""
  width = max(map(len, rows))

  def pad(row):
    gap = width - len(row)
    return np.pad(row, (gap, 0) if left else (0, gap)).astype(np.int32)

  return {
    'tokens': np.stack([pad(row) for row in rows]),
    'segments': np.stack([pad(np.ones(len(row))) for row in rows]),
    'positions': np.stack([pad(np.arange(len(row))) for row in rows]),
  }


def random_rows(lengths, vocab_size, seed=0):
  rng = np.random.default_rng(seed)
  return [rng.integers(0, vocab_size, n) for n in lengths]


def check(cfg):
  model = by_hand.perturbed(variants.build(cfg))
  rows = random_rows([n + 2 for n in PROMPTS], cfg.vocab_size)
  batch, source = padded(rows, left=False), None
  if cfg.architecture == 'encoder_decoder':
    source = padded(random_rows((4, 2, 7), cfg.vocab_size, 1), left=False)
    batch = source | {f'decoder_{name}': x for name, x in batch.items()}
  every = np.asarray(uncached(model, batch))
  expected = np.stack(
    [row[n - 1 : n + 2] for row, n in zip(every, PROMPTS, strict=True)]
  )
  pairs = list(zip(rows, PROMPTS, strict=True))
  prompts = padded([row[:n] for row, n in pairs], left=True)
  more = np.stack([row[n:] for row, n in pairs]).astype(np.int32)
  found = cached(model, source, prompts['tokens'], prompts['segments'], more)
  assert np.std(expected) > 0.2
  np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
  ('architecture', 'parts'), [(a, p) for a in KINDS for p in KINDS[a]]
)
def test_the_cached_path_has_the_logits_of_the_uncached(architecture, parts):
  check(config(architecture, parts))


@pytest.mark.slow
@pytest.mark.parametrize('part', ['learned', 'alibi', 'rounded_alibi'])
def test_more_padding_before_a_prompt_changes_nothing(part):
  cfg = variants.config('decoder', part)
  model = by_hand.perturbed(variants.build(cfg))
  prompt = padded(random_rows((3, 3), cfg.vocab_size), left=True)
  more = np.zeros((2, 0), np.int32)
  found = []
  for gap in (0, 4):
    tokens, segments = (
      np.pad(prompt[name], ((0, 0), (gap, 0)))
      for name in ('tokens', 'segments')
    )
    found.append(cached(model, None, tokens, segments, more))
  np.testing.assert_allclose(*found, rtol=2e-5, atol=2e-5)


def test_rows_of_a_cache_can_be_taken_in_any_order():
  cfg = variants.config('encoder_decoder', 'buckets')
  model = by_hand.perturbed(variants.build(cfg))
  source = padded(random_rows((4, 2, 7), cfg.vocab_size, 1), left=False)
  prompts = padded(random_rows(PROMPTS, cfg.vocab_size), left=True)
  order = np.array([2, 0, 0, 1])

  @compiled
  def after(model, source, prompts, token, order=None):
    cache = start(model, source, len(PROMPTS))
    _, cache = model.extend(cache, prompts['tokens'], prompts['segments'])
    cache = cache if order is None else cache.rows(order)
    return model.extend(cache, token, jnp.ones_like(token))[0]

  token = np.array([[1], [2], [3]], np.int32)
  expected = after(model, source, prompts, token)
  found = after(model, source, prompts, token[order], order)
  np.testing.assert_allclose(found, expected[order], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize('n_kv_heads, n_rows', [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_a_loop_over_tokens_writes_the_cache_where_it_is(n_kv_heads, n_rows):
  """Or each token would copy all that was read before."""
  cfg = variants.config('decoder', n_kv_heads=n_kv_heads, d_head=8)
  model = variants.build(cfg)
  layers, cache = model.layers(), model.start(n_rows, 48)

  @functools.partial(jax.jit, donate_argnums=0)
  def write(cache):
    def turn(state):
      i, cache, token = state
      logits, cache = model.extend(cache, token, jnp.ones_like(token), layers)
      return i + 1, cache, jnp.argmax(logits, axis=-1, keepdims=True)

    first = jnp.zeros((n_rows, 1), jnp.int32)
    return jax.lax.while_loop(lambda s: s[0] < 5, turn, (0, cache, first))

  shape = ','.join(map(str, cache.read[0].keys.shape))
  lines = write.lower(cache).compile().as_text().splitlines()
  held = [line for line in lines if f'f32[{shape}]' in line]
  assert held and not [line for line in held if ' copy(' in line]
