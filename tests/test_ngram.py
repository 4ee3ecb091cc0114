"""The n-gram model is modified Kneser-Ney, and a distribution everywhere."""

import collections
import fractions
import importlib.resources
import lzma
import math
import time
import tracemalloc

import numpy as np
import pytest

from research.config import BadInput
from research.models import ngram
from research.models.ngram import NGram

V, BOS = 6, 4  # ids 0-3 are text; 5 is a special id that is never seen


def documents(seed: int = 0, n: int = 400) -> np.ndarray:
  """Random tokens with skewed bigrams, in documents of uneven length."""
  rng = np.random.default_rng(seed)
  tokens = [BOS]
  while len(tokens) < n:
    weights = np.array([8, 4, 2, 1]) if tokens[-1] % 2 else np.ones(4)
    ends = rng.random() < 0.05
    tokens.append(BOS if ends else rng.choice(4, p=weights / weights.sum()))
  return np.array(tokens)


class BruteForce:
  """The same model, straight from the paper, with dictionaries."""

  def __init__(self, tokens, order, bos):
    self.order, self.bos = order, bos
    self.counts = [collections.Counter() for _ in range(order + 1)]
    left = [collections.defaultdict(set) for _ in range(order + 1)]
    alone = [collections.Counter() for _ in range(order + 1)]
    for i in range(len(tokens)):
      gram = (*self.context(tokens[:i]), tokens[i])
      for k in range(1, len(gram) + 1):
        g = gram[-k:]
        self.counts[k][g] += 1
        if k < len(gram):
          left[k][g].add(gram[-k - 1])
        elif k < order:
          alone[k][g] += 1
    for k in range(1, order):
      for g in self.counts[k]:
        self.counts[k][g] = len(left[k][g]) + alone[k][g]

  def context(self, before):
    known = []
    for token in reversed(before[-self.order + 1 :] if self.order > 1 else []):
      known.insert(0, int(token))
      if token == self.bos:
        break
    return tuple(known)

  def discounts(self, k):
    n = [sum(c == i for c in self.counts[k].values()) for i in range(5)]
    if not all(n[1:]):
      return ngram.FALLBACK_DISCOUNTS
    y = n[1] / (n[1] + 2 * n[2])
    ds = tuple(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))
    inside = all(0 <= d <= i for i, d in enumerate(ds, 1))
    return ds if inside else ngram.FALLBACK_DISCOUNTS

  def p(self, token, context):
    if not self.order:
      return 1 / V
    return self.p_order(len(context) + 1, (*context, token))

  def p_order(self, k, gram):
    if k == 0:
      return 1 / V
    shorter = self.p_order(k - 1, gram[1:])
    follow = [c for g, c in self.counts[k].items() if g[:-1] == gram[:-1]]
    if not follow:
      return shorter
    ds = (0.0, *self.discounts(k))
    count = self.counts[k].get(gram, 0)
    left_over = sum(ds[min(c, 3)] for c in follow)
    return (count - ds[min(count, 3)] + left_over * shorter) / sum(follow)


@pytest.mark.parametrize('order', [1, 2, 3, 5])
@pytest.mark.parametrize('bos', [BOS, None])
def test_equals_the_brute_force_model(order, bos):
  tokens = documents()
  model = NGram(order, V).fit(tokens, bos=bos)
  brute = BruteForce(tokens, order, bos)
  held_out = documents(seed=1, n=120)
  expected = [
    math.log(brute.p(int(t), brute.context(held_out[:i])))
    for i, t in enumerate(held_out)
  ]
  np.testing.assert_allclose(
    model.log_probabilities(held_out), expected, rtol=0, atol=1e-10
  )
  for k, table in enumerate(model.orders, start=1):
    np.testing.assert_allclose(table.discounts, brute.discounts(k))
  assert model.n_params == sum(len(c) for c in brute.counts)


@pytest.mark.parametrize('order', [1, 3, 6])
def test_every_context_seen_or_not_gives_a_distribution(order):
  model = NGram(order, V).fit(documents(), bos=BOS)
  rng = np.random.default_rng(2)
  for length in [0, 1, 2, 3, 5, 8] * 5:
    p = model.distribution(rng.integers(0, V, length))
    assert p.min() > 0
    np.testing.assert_allclose(p.sum(), 1, rtol=0, atol=1e-12)


def test_a_three_token_text_by_hand():
  # Text a b a. Bigrams (start a), (a b), (b a): continuation counts of a and b
  # are 2 and 1, and no counts of counts suffice, so the fallback .5, 1, 1.5.
  # p(a) = (2 - 1) / 3 + (1.5 / 3) / 2 = 7/12; p(b | a) = .5 / 1 + .5 * 5/12.
  model = NGram(2, 2).fit(np.array([0, 1, 0]))
  f = fractions.Fraction
  np.testing.assert_allclose(
    model.distribution([0]), [float(f(7, 24)), float(f(17, 24))], rtol=1e-14
  )
  np.testing.assert_allclose(
    np.exp(model.log_probabilities(np.array([0, 1]))),
    [float(f(7, 12)), float(f(17, 24))],
    rtol=1e-14,
  )


def test_discounts_follow_chen_and_goodman():
  # Y = 100 / (100 + 2 * 40) = 5/9; D1 = 1 - 2 Y 40/100; D2 = 2 - 3 Y 20/40;
  # D3+ = 3 - 4 Y 10/20.
  np.testing.assert_allclose(
    ngram.kneser_ney_discounts(np.array([100, 40, 20, 10])),
    [1 - 4 / 9, 2 - 15 / 18, 3 - 10 / 9],
  )
  for undefined in ([], [5, 0, 1, 1], [5, 5, 5], [1, 1, 9, 1]):
    n = np.array(undefined, float)
    assert ngram.kneser_ney_discounts(n) == ngram.FALLBACK_DISCOUNTS


def test_a_context_stops_at_the_separator_of_its_document():
  model = NGram(4, V).fit(documents(), bos=BOS)
  inside = model.distribution([BOS, 2])
  np.testing.assert_array_equal(model.distribution([1, BOS, 2]), inside)
  unbounded = NGram(4, V).fit(documents())
  assert (
    unbounded.distribution([1, BOS, 2]) != unbounded.distribution([3, BOS, 2])
  ).any()


def test_text_alone_is_a_distribution_when_specials_are_removed():
  model = NGram(3, V).fit(documents(), bos=BOS)
  rows = np.array([[BOS, 1, w] for w in range(4)])
  p = np.exp(model.log_probabilities(rows, n_text=4)[:, -1])
  full = model.distribution([BOS, 1])[:4]
  np.testing.assert_allclose(p.sum(), 1, atol=1e-12)
  np.testing.assert_allclose(p, full / full.sum(), rtol=1e-10)


def test_rows_are_independent_of_each_other():
  model = NGram(3, V).fit(documents(), bos=BOS)
  rows = documents(seed=3, n=40).reshape(4, 10)
  np.testing.assert_array_equal(
    model.log_probabilities(rows), [model.log_probabilities(r) for r in rows]
  )


def test_blocks_of_any_size_give_the_same_counts(monkeypatch):
  whole = NGram(4, V).fit(documents(), bos=BOS)
  monkeypatch.setattr(ngram, '_BLOCK', 7)
  parts = NGram(4, V).fit(documents(), bos=BOS)
  for a, b in zip(whole.orders, parts.orders, strict=True):
    np.testing.assert_array_equal(a.grams, b.grams)
    np.testing.assert_array_equal(a.counts, b.counts)


def test_the_stated_prefix_is_all_that_is_counted():
  tokens = documents()
  prefix = NGram(3, V).fit(tokens[:100], bos=BOS)
  limited = NGram(3, V).fit(tokens, bos=BOS, max_tokens=100)
  assert limited.n_tokens == prefix.n_tokens == 100
  np.testing.assert_array_equal(
    limited.distribution([1, 2]), prefix.distribution([1, 2])
  )


def test_what_cannot_be_counted_is_refused_in_one_line():
  with pytest.raises(BadInput, match='order=8: does not fit 64-bit keys'):
    NGram(8, 512)
  with pytest.raises(BadInput, match='do not fit vocab_size=6'):
    NGram(2, V).fit(np.array([1, 6]))
  with pytest.raises(BadInput, match='at least one token'):
    NGram(2, V).fit(np.array([], int))


@pytest.mark.slow
def test_the_embedded_corpus_in_bytes_fits_in_time_and_memory():
  raw = importlib.resources.files('research.data') / 'corpus'
  raw = (raw / 'public_domain_english.jsonl.xz').read_bytes()
  tokens = np.frombuffer(lzma.decompress(raw), np.uint8)[:20_000_000]
  tracemalloc.start()
  start = time.process_time()
  NGram(6, 290).fit(tokens, bos=ord('\n'))
  seconds = time.process_time() - start
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert seconds < 25
  assert peak < 1.5e9
