"""The yardstick is one proper likelihood for every architecture."""

import functools
import itertools
import math

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import BadInput
from research.data.corruption import SuffixPrediction
from research.data.layout import Layout
from research.data.pipeline import Dataset
from research.data.tokenizers import Bytes, Tokenizer
from research.evals import yardstick
from research.inference import score
from research.models.config import ModelConfig
from research.models.ngram import NGram
from research.models.recurrent import Recurrent
from research.models.recurrent_config import RecurrentConfig
from research.models.transformer import build

NETWORKS = ('decoder', 'encoder', 'encoder_decoder', 'lstm')
LETTERS = Tokenizer(list, [b'a', b'b', b'c'], 2, b'')
TINY = LETTERS.specials
C, L = 5, 3

forward = jax.jit(lambda model, batch: model(batch))


@functools.cache
def model_of(architecture: str):
  """An untrained model with weights so large that its opinions are strong."""
  v = TINY.vocab_size
  if architecture == 'ngram':
    tokens = np.random.default_rng(0).integers(0, v, 60)
    return NGram(3, v).fit(tokens, bos=TINY.bos)
  if architecture == 'lstm':
    cfg = RecurrentConfig(vocab_size=v, seq_len=C + L + 2, d_model=8)
    model = Recurrent(cfg, nnx.Rngs(0))
  else:
    cfg = ModelConfig(
      architecture=architecture,
      vocab_size=v,
      seq_len=C + L + 2,
      d_model=8,
      n_layers=2,
      n_heads=2,
      tied_head=False,
    )
    model = build(cfg, nnx.Rngs(0))
  return jax.tree.map(lambda x: 3 * x, model)


def contexts(n: int) -> np.ndarray:
  """Contexts of text, some beginning with bos."""
  rows = np.random.default_rng(1).integers(0, TINY.n_text, (n, C))
  rows[::2, 0] = TINY.bos
  return rows.astype(np.int32)


@pytest.mark.parametrize('architecture', [*NETWORKS, 'ngram'])
def test_the_probabilities_of_all_continuations_sum_to_one(architecture):
  model = model_of(architecture)
  every = np.array(
    list(itertools.product(range(TINY.n_text), repeat=L)), np.int32
  )
  n = 4
  log_p = yardstick.log_probabilities(
    model,
    np.repeat(contexts(n), len(every), axis=0),
    np.tile(every, (n, 1)),
    LETTERS,
  )
  p = np.exp(log_p.sum(axis=1)).reshape(n, len(every))
  np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=1e-5)
  if architecture != 'ngram':
    assert p.std() > 0.3 / len(every)  # far from uniform


def naive(model, context, target) -> list[float]:
  """log p of each target token, one forward pass a token, nothing batched."""

  def batch(tokens, prefix=''):
    tokens = np.array([tokens], np.int32)
    index = np.arange(tokens.shape[1], dtype=np.int32)[None]
    return {
      f'{prefix}tokens': tokens,
      f'{prefix}segments': np.ones_like(tokens),
      f'{prefix}positions': index,
    }

  context, target, log_p = context.tolist(), target.tolist(), []
  for i, token in enumerate(target):
    if model.cfg.architecture == 'encoder':
      masks = [TINY.mask] * (len(target) - i)
      logits = forward(model, batch(context + target[:i] + masks))
      logits = logits[0, len(context) + i]
    elif model.cfg.architecture == 'encoder_decoder':
      s0 = TINY.sentinel(0)
      source = batch([*context, s0])
      decoded = batch([s0, *target[:i]], 'decoder_')
      logits = forward(model, source | decoded)[0, -1]
    else:
      logits = forward(model, batch(context + target[:i]))[0, -1]
    text = np.asarray(logits, np.float64)[: TINY.n_text]
    log_p.append(text[token] - np.log(np.exp(text - text.max()).sum()))
    log_p[-1] -= text.max()
  return log_p


@pytest.mark.parametrize('architecture', NETWORKS)
def test_equals_one_forward_pass_a_token(architecture):
  model = model_of(architecture)
  rng = np.random.default_rng(2)
  targets = rng.integers(0, TINY.n_text, (3, L)).astype(np.int32)
  ours = yardstick.log_probabilities(model, contexts(3), targets, LETTERS)
  theirs = [
    naive(model, *one) for one in zip(contexts(3), targets, strict=True)
  ]
  np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize('architecture', NETWORKS[:3])
def test_asks_as_suffixes_were_trained(architecture):
  """Losses of a training batch are those of its targets as the yardstick asks.

  An encoder is trained on one pass of those that are asked: which, is drawn.
  """
  model = model_of(architecture)
  rows = np.random.default_rng(4).integers(0, TINY.n_text, (6, C + L + 1))
  rows[::2, 0] = TINY.bos
  layout = Layout(
    architecture=architecture,
    specials=TINY,
    seq_len=C + L + 2,
    target_len=C + L + 2,
  )
  spec = SuffixPrediction(min_length=L, max_length=L, first_only=True)
  batch = spec.corrupt(rows.astype(np.int32), np.random.default_rng(0), layout)
  nll = score.target_nll(model, batch, TINY.n_text).text
  trained = np.where(batch['weights'] > 0, -nll, 0)
  read = rows if architecture == 'decoder' else rows[:, :-1]
  asked = yardstick.log_probabilities(
    model, read[:, :-L], read[:, -L:], LETTERS
  )
  if architecture == 'encoder':
    place = batch['weights'].argmax(axis=1) - C
    asked = np.take_along_axis(asked, place[:, None], axis=1)
  np.testing.assert_allclose(
    trained.sum(axis=1), asked.sum(axis=1), rtol=2e-5, atol=1e-5
  )


def test_pseudo_likelihood_masks_each_target_alone():
  model = model_of('encoder')
  rng = np.random.default_rng(2)
  targets = rng.integers(0, TINY.n_text, (4, L)).astype(np.int32)
  ours = yardstick.pseudo_log_probabilities(
    model, contexts(4), targets, LETTERS
  )
  for i in range(L):
    tokens = np.concatenate([contexts(4), targets], axis=1)
    tokens[:, C + i] = TINY.mask
    index = np.broadcast_to(np.arange(C + L, dtype=np.int32), tokens.shape)
    batch = {'segments': np.ones_like(tokens), 'positions': index}
    logits = forward(model, {'tokens': tokens, **batch})[
      :, C + i, : TINY.n_text
    ]
    log_p = jax.nn.log_softmax(logits)
    chosen = np.take_along_axis(np.asarray(log_p), targets[:, i : i + 1], 1)
    np.testing.assert_allclose(ours[:, i], chosen[:, 0], rtol=2e-5, atol=1e-5)
  with pytest.raises(BadInput, match='give an encoder'):
    yardstick.pseudo_log_probabilities(
      model_of('decoder'), contexts(4), targets, LETTERS
    )


def bytes_dataset() -> Dataset:
  tokenizer = Bytes(n_sentinels=2).load(b'')
  rng = np.random.default_rng(0)

  def domain(letters: bytes, lengths):
    parts = []
    for n in lengths:
      text = rng.choice(np.frombuffer(letters, np.uint8), n)
      parts.append(np.concatenate([[tokenizer.bos], text]))
    return np.concatenate(parts).astype(np.uint16)

  return Dataset(
    train=domain(b'abcdef', [100]),
    validation={
      'vowels': domain(b'aeiou', [40, 3, 90, 11, 12]),
      'consonants': domain(b'bcdfg', [30, 30, 30]),
      'digits': domain(b'0123', [200]),
    },
    tokenizer=tokenizer,
    hash='',
    mask_documents=True,
    counts={},
  )


def test_spans_lie_in_one_document_and_are_spread_over_domains():
  data = bytes_dataset()
  spans = yardstick.spans(data, n=20, length=4, context=8, seed=1)
  assert spans.contexts.shape == (20, 8) and spans.targets.shape == (20, 4)
  counts = [spans.domains.count(d) for d in ('consonants', 'digits', 'vowels')]
  assert counts == [6, 7, 7]
  bos = data.tokenizer.bos
  assert (spans.targets < bos).all() and (spans.contexts[:, 1:] < bos).all()
  for domain, *parts in zip(
    spans.domains, spans.contexts, spans.targets, strict=True
  ):
    row = np.concatenate(parts).astype(np.uint16).tobytes()
    assert row in data.validation[domain].tobytes()
  np.testing.assert_array_equal(spans.n_bytes, 4)


def test_spans_depend_on_the_seed_alone():
  data = bytes_dataset()
  same = [yardstick.spans(data, n=9, length=4, context=8) for _ in range(2)]
  np.testing.assert_array_equal(same[0].targets, same[1].targets)
  other = yardstick.spans(data, n=9, length=4, context=8, seed=1)
  assert (other.targets != same[0].targets).any()


def test_every_place_in_a_document_can_be_drawn():
  # Documents of 11 and 12 letters hold one and two places for 8 + 4 tokens,
  # their bos included; those of 3, none.
  data = bytes_dataset()
  tokens = data.validation['vowels'][-25:]
  small = Dataset(
    train=data.train,
    validation={'vowels': tokens},
    tokenizer=data.tokenizer,
    hash='',
    mask_documents=True,
    counts={},
  )
  spans = yardstick.spans(small, n=3, length=4, context=8)
  ends = {bytes(t.astype(np.uint8)) for t in spans.targets}
  text = tokens.astype(np.uint8)
  assert ends == {bytes(text[8:12]), bytes(text[20:24]), bytes(text[21:25])}
  with pytest.raises(BadInput, match='has 3 places'):
    yardstick.spans(small, n=4, length=4, context=8)


def test_a_model_that_knows_nothing_needs_the_bits_of_the_alphabet():
  class Uniform(nnx.Module):
    def __init__(self):
      self.cfg = ModelConfig(vocab_size=260, seq_len=16)
      self.logits = nnx.Param(jnp.zeros(260))

    def __call__(self, batch, *, key=None):
      del key
      shape = (*jnp.shape(batch['targets']), 260)
      return jnp.broadcast_to(self.logits[...], shape)

  spans = yardstick.spans(bytes_dataset(), n=20, length=4, context=8)
  rows = yardstick.evaluate(Uniform(), spans)
  assert [row['domain'] for row in rows] == [
    'all',
    *dict.fromkeys(spans.domains),
  ]
  for row in rows:
    assert row['task'] == 'yardstick' and row['metric'] == 'bits_per_byte'
    np.testing.assert_allclose(row['value'], math.log2(256), rtol=1e-6)
  assert [row['n'] for row in rows] == [20, 6, 7, 7]


@pytest.mark.parametrize('architecture', NETWORKS)
def test_what_does_not_fit_the_model_is_refused_in_one_line(architecture):
  model = model_of(architecture)
  with pytest.raises(BadInput, match='does not hold'):
    yardstick.log_probabilities(
      model, np.zeros((1, 30), np.int32), np.zeros((1, L), np.int32), LETTERS
    )
