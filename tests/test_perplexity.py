"""Native validation adds up to what each architecture's loss means."""

import functools
import math

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import BadInput
from research.data.corruption import Masked, SpanCorruption
from research.data.layout import Layout
from research.data.pipeline import Dataset
from research.data.tokenizers import Bytes
from research.data.words import word_starts
from research.evals import likelihood, perplexity, yardstick
from research.evals.windows import windows
from research.inference import score
from research.models.config import ModelConfig
from research.models.ngram import NGram
from research.models.recurrent import Recurrent
from research.models.recurrent_config import RecurrentConfig
from research.models.transformer import build

TOKENIZER = Bytes(n_sentinels=8).load(b'')
V, BOS = TOKENIZER.vocab_size, TOKENIZER.bos
TEXTS = {
  'prose': ['It was the best of times,\nit was  the worst ', 'of times. ' * 9],
  'verse': ['Tyger Tyger, burning bright ' * 5, 'In the forests', 'é à ' * 6],
}

forward = jax.jit(lambda model, batch: model(batch))


def stream(texts) -> np.ndarray:
  parts = [np.array([BOS, *text.encode()]) for text in texts]
  return np.concatenate(parts).astype(np.uint16)


def dataset(mask_documents: bool = True) -> Dataset:
  validation = {domain: stream(texts) for domain, texts in TEXTS.items()}
  return Dataset(
    train=np.concatenate(list(validation.values())),
    validation=validation,
    tokenizer=TOKENIZER,
    hash='',
    mask_documents=mask_documents,
    counts={},
  )


@functools.cache
def network(architecture: str):
  rngs = nnx.Rngs(0)
  if architecture == 'lstm':
    return Recurrent(RecurrentConfig(vocab_size=V, seq_len=16, d_model=8), rngs)
  cfg = ModelConfig(
    architecture=architecture,
    vocab_size=V,
    seq_len=16,
    d_model=8,
    n_layers=1,
    n_heads=2,
  )
  return build(cfg, rngs)


def found(rows, metric: str, domain: str = 'all', of: str = 'value'):
  (row,) = [r for r in rows if r['metric'] == metric and r['domain'] == domain]
  assert row['task'] == 'validation'
  return row[of]


class Uniform(nnx.Module):
  """Knows nothing; counts how often it is traced."""

  traces = 0

  def __init__(self, cfg):
    self.cfg = cfg
    self.logits = nnx.Param(jnp.zeros(V))

  def __call__(self, batch, *, key=None):
    del key
    Uniform.traces += 1
    shape = (*jnp.shape(batch['targets']), V)
    return jnp.broadcast_to(self.logits[...], shape)


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
  cfg = ModelConfig(vocab_size=V, seq_len=16)
  rows = perplexity.evaluate(Uniform(cfg), dataset(), window=16)
  texts = [text for texts in TEXTS.values() for text in texts]
  n_bytes = sum(len(text.encode()) for text in texts)
  n_words = sum(len(text.split()) for text in texts)
  for metric, expected in {
    'loss': math.log(V),
    'perplexity': V,
    'bits_per_byte': math.log2(V),
    'word_perplexity': V ** (n_bytes / n_words),
  }.items():
    np.testing.assert_allclose(found(rows, metric), expected, rtol=1e-5)
    assert found(rows, metric, of='n') == n_bytes
  # Each token costs the same: there is nothing to vary but rounding.
  np.testing.assert_allclose(found(rows, 'loss', of='stderr'), 0, atol=1e-8)


def test_models_of_one_shape_and_the_yardstick_share_one_compilation():
  cfg = ModelConfig(vocab_size=V, seq_len=16, d_model=12)
  spans = yardstick.spans(dataset(), n=6, length=4, context=8)
  before = Uniform.traces
  for _ in range(2):
    model = Uniform(cfg)
    perplexity.evaluate(model, dataset(), window=16)
    yardstick.evaluate(model, spans)
  assert Uniform.traces == before + 1


@pytest.mark.parametrize('architecture', ['decoder', 'lstm'])
@pytest.mark.parametrize('mask_documents', [True, False])
def test_each_token_is_predicted_once_from_its_row(
  architecture, mask_documents
):
  model = network(architecture)
  rows = perplexity.evaluate(model, dataset(mask_documents), window=16)
  for domain, tokens in dataset().validation.items():
    tokens = tokens.astype(np.int32)
    total, n = 0.0, 0
    for start in range(0, len(tokens) - 1, 16):
      row = tokens[start : start + 17]
      begins = (row[:-1] == BOS) & mask_documents
      segments = 1 + np.cumsum(begins) - begins[0]
      first = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))
      batch = {
        'tokens': row[None, :-1],
        'segments': segments[None].astype(np.int32),
        'positions': (np.arange(len(begins)) - first)[None].astype(np.int32),
      }
      log_p = jax.nn.log_softmax(forward(model, batch)[0])
      for token, p in zip(row[1:], np.asarray(log_p), strict=True):
        if token != BOS:
          total, n = total - p[token], n + 1
    assert found(rows, 'loss', domain, of='n') == n == (tokens != BOS).sum()
    np.testing.assert_allclose(
      found(rows, 'loss', domain), total / n, rtol=1e-5
    )


def test_all_is_the_pool_of_the_domains():
  rows = perplexity.evaluate(network('decoder'), dataset(), window=16)
  parts = [
    (found(rows, 'loss', d), found(rows, 'loss', d, of='n')) for d in TEXTS
  ]
  loss = sum(value * n for value, n in parts) / sum(n for _, n in parts)
  np.testing.assert_allclose(found(rows, 'loss'), loss, rtol=1e-12)
  np.testing.assert_allclose(found(rows, 'perplexity'), math.exp(loss))


def test_an_ngram_model_goes_the_same_way_with_its_own_context():
  data = dataset()
  model = NGram(3, V).fit(np.asarray(data.train), bos=BOS)
  rows = perplexity.evaluate(model, data, window=16)
  log_p = {
    domain: model.log_probabilities(tokens)[tokens != BOS]
    for domain, tokens in data.validation.items()
  }
  for domain, value in log_p.items():
    np.testing.assert_allclose(found(rows, 'loss', domain), -value.mean())
  everything = np.concatenate(list(log_p.values()))
  np.testing.assert_allclose(
    found(rows, 'bits_per_byte'), -everything.mean() / math.log(2)
  )


@pytest.mark.parametrize(
  ('architecture', 'objective'),
  [('encoder', Masked()), ('encoder_decoder', SpanCorruption())],
)
def test_corrupted_rows_are_scored_per_target_and_per_byte_of_text(
  architecture, objective
):
  model, data = network(architecture), dataset()
  rows = perplexity.evaluate(model, data, window=16, batch_size=5, seed=3)
  again = perplexity.evaluate(model, data, window=16, batch_size=64, seed=3)
  tokens = np.concatenate(
    [
      x[: (len(x) - 1) // 16 * 16].reshape(-1, 16)
      for x in data.validation.values()
    ]
  ).astype(np.int32)
  raw = np.concatenate([tokens, np.full((len(tokens), 1), BOS, np.int32)], 1)
  layout = Layout(
    architecture=architecture,
    specials=TOKENIZER.specials,
    seq_len=16,
    target_len=16 if architecture == 'encoder_decoder' else 0,
  )
  batch = objective.corrupt(raw, np.random.default_rng(3), layout)
  log_p = np.asarray(jax.nn.log_softmax(forward(model, batch)))
  nll = -np.take_along_axis(log_p, batch['targets'][..., None], 2)[..., 0]
  weights = batch['weights']
  n_bytes = TOKENIZER.byte_lengths[batch['targets']]
  np.testing.assert_allclose(
    found(rows, 'loss'), np.sum(nll * weights) / weights.sum(), rtol=1e-5
  )
  bits = np.sum(nll * weights * (n_bytes > 0)) / math.log(2)
  np.testing.assert_allclose(
    found(rows, 'bits_per_byte'), bits / np.sum(n_bytes * weights), rtol=1e-5
  )
  assert found(rows, 'loss', of='n') == weights.sum()
  assert not any(row['metric'] == 'word_perplexity' for row in rows)
  for one, other in zip(rows, again, strict=True):
    np.testing.assert_allclose(one['value'], other['value'], rtol=1e-5)


def test_windows_overlap_in_one_token_and_cover_every_other_once():
  tokens = stream(TEXTS['prose'])
  all_rows = windows(tokens, TOKENIZER, 10, 10**6)
  predicted = all_rows.index[:, 1:][all_rows.scored]
  text = np.flatnonzero(tokens < TOKENIZER.n_text)
  np.testing.assert_array_equal(np.sort(predicted), text)
  np.testing.assert_array_equal(
    all_rows.index[1:, 0], np.arange(1, len(all_rows.index)) * 10
  )


def test_fewer_windows_are_whole_distinct_and_spread_over_the_domain():
  tokens = stream(['x' * 5000])
  some = windows(tokens, TOKENIZER, 10, 80)
  starts = some.index[:, 0]
  assert len(some.index) == 8 and some.scored.all()
  assert (starts % 10 == 0).all()
  assert np.ptp(np.diff(starts)) <= 10 and np.diff(starts).min() > 600


def test_word_starts_sum_to_the_words_of_each_document():
  texts = [*TEXTS['prose'], 'no', 'space', ' ', *TEXTS['verse']]
  starts = word_starts(stream(texts), TOKENIZER)
  assert starts.sum() == sum(len(text.split()) for text in texts)


def test_every_row_says_its_rule():
  for architecture in ('decoder', 'encoder', 'encoder_decoder'):
    rows = perplexity.evaluate(network(architecture), dataset(), window=16)
    for row in rows:
      assert 'rows of 16 tokens, stride 16' in row['rule']
      assert math.isfinite(row['value']) and row['stderr'] > 0


def test_targets_are_scored_alike_in_batches_of_any_size():
  rng = np.random.default_rng(0)
  model = network('lstm')
  batch = {
    name: rng.integers(0, V, (7, 5)).astype(np.int32)
    for name in ('tokens', 'targets')
  } | {'segments': np.ones((7, 5), np.int32)}
  logits = np.asarray(forward(model, batch), np.float64)
  text = logits[..., : TOKENIZER.n_text]
  chosen = np.take_along_axis(logits, batch['targets'][..., None], 2)[..., 0]
  special = batch['targets'] >= TOKENIZER.n_text
  assert special.any()
  for batch_size in (1, 3, 7, 16):
    nll = score.target_nll(model, batch, TOKENIZER.n_text, batch_size)
    full = np.log(np.exp(logits).sum(-1)) - chosen
    np.testing.assert_allclose(nll.full, full, rtol=1e-5)
    full = np.log(np.exp(text).sum(-1)) - chosen
    np.testing.assert_allclose(nll.text[~special], full[~special], rtol=1e-5)
    assert np.isnan(nll.text[special]).all()


def test_the_ratio_has_the_error_of_repeated_samples():
  rng = np.random.default_rng(0)

  def sample(n):
    weight = rng.integers(5, 20, n)
    return weight * rng.gamma(4, size=n), weight

  spread = np.std([likelihood.ratio(*sample(50)).value for _ in range(4000)])
  errors = [likelihood.ratio(*sample(50)).stderr for _ in range(400)]
  np.testing.assert_allclose(np.mean(errors), spread, rtol=0.05)
  x = rng.normal(size=30)
  np.testing.assert_allclose(
    likelihood.ratio(x, np.ones(30)), (x.mean(), x.std(ddof=1) / 30**0.5)
  )
  assert likelihood.ratio(x[:1], np.ones(1)).stderr is None


def test_nothing_to_validate_on_is_refused_in_one_line():
  empty = Dataset(
    train=stream(['abc']),
    validation={},
    tokenizer=TOKENIZER,
    hash='',
    mask_documents=True,
    counts={},
  )
  with pytest.raises(BadInput, match='no held-out tokens'):
    perplexity.evaluate(network('decoder'), empty, window=16)
