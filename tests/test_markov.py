"""The Markov language's entropy is what brute force says it is."""

import itertools

import numpy as np
import pytest

from research.config import BadInput
from research.data import markov, pipeline
from research.data.markov import Markov
from research.data.tokenizers import Bytes
from research.evals import yardstick

SMALL = Markov(order=2, alphabet='ab c', sharpness=2.0, n_documents=3, seed=5)


def chance(source, text):
  """p(text) of a stationary piece, a character at a time."""
  a, k = len(source.alphabet), source.order
  ids = [source.alphabet.index(c) for c in text]
  state = int(sum(c * a ** (k - 1 - i) for i, c in enumerate(ids[:k])))
  p = markov.stationary(source)[state]
  for following in ids[k:]:
    p *= markov.table(source)[state, following]
    state = (state * a + following) % source.n_states
  return p


def block_entropy(source, n):
  """Entropy in nats of n characters, by listing all strings."""
  strings = itertools.product(source.alphabet, repeat=n)
  p = np.array([chance(source, text) for text in strings])
  assert p.sum() == pytest.approx(1)
  return -np.sum(p * np.log(p))


@pytest.mark.parametrize('order', [1, 2, 3])
def test_the_rate_is_what_a_longer_block_adds(order):
  source = Markov(order=order, alphabet='abc', seed=order)
  for n in (order, order + 2):
    added = block_entropy(source, n + 1) - block_entropy(source, n)
    assert source.entropy_rate == pytest.approx(added, rel=1e-10)


def test_less_context_leaves_what_shorter_blocks_say():
  known = [block_entropy(SMALL, n) for n in (2, 3)]
  one = block_entropy(Markov(order=2, alphabet='ab c', seed=5), 2)
  assert known[0] == pytest.approx(one)
  assert SMALL.conditional_entropy(2) == pytest.approx(known[1] - known[0])
  assert SMALL.conditional_entropy(9) == SMALL.entropy_rate
  p = markov.stationary(SMALL).reshape(4, 4).sum(axis=0)
  first = -np.sum(p * np.log(p))
  assert SMALL.conditional_entropy(0) == pytest.approx(first)
  assert SMALL.conditional_entropy(1) == pytest.approx(known[0] - first)


def test_a_step_leaves_the_stationary_distribution_as_it_is():
  p = markov.stationary(SMALL)
  stepped = np.zeros_like(p)
  for state, a in itertools.product(range(16), range(4)):
    stepped[(state * 4 + a) % 16] += p[state] * markov.table(SMALL)[state, a]
  np.testing.assert_allclose(stepped, p, atol=1e-14)
  assert p.min() > 0 and p.sum() == pytest.approx(1)


def test_an_even_table_has_the_entropy_of_its_alphabet():
  even = Markov(alphabet='abcde', sharpness=0)
  assert even.entropy_rate == pytest.approx(np.log(5))


@pytest.fixture(scope='module')
def text():
  """200,000 characters of `SMALL`, in documents."""
  source = Markov(
    order=2, alphabet='ab c', sharpness=2.0, n_documents=2000, length=100,
    seed=5,
  )  # fmt: skip
  return [document.text for document in source.documents()]


def test_the_text_follows_the_table_from_its_first_character(text):
  assert len(text) == 2000 and {len(t) for t in text} == {100}
  # The true log-probability of each character given those before it.
  log_p = np.array(
    [
      [np.log(chance(SMALL, t[: n + 1]) / chance(SMALL, t[:n])) for n in (2, 9)]
      for t in text
    ]
  )
  for column in log_p.T:
    error = column.std() / np.sqrt(len(column))
    assert abs(-column.mean() - SMALL.entropy_rate) < 4 * error
  first = np.array([SMALL.alphabet.index(t[0]) * 4 for t in text])
  first += [SMALL.alphabet.index(t[1]) for t in text]
  counts = np.bincount(first, minlength=16)
  expected = 2000 * markov.stationary(SMALL)
  assert np.sum((counts - expected) ** 2 / expected) < 45  # 15 degrees: 1e-4


def test_counts_of_the_text_come_to_the_rate(text):
  triples = [t[i : i + 3] for t in text for i in range(len(t) - 2)]
  three = dict(zip(*np.unique(triples, return_counts=True), strict=True))
  two = {}
  for triple, n in three.items():
    two[triple[:2]] = two.get(triple[:2], 0) + n
  found = -sum(n * np.log(n / two[t[:2]]) for t, n in three.items())
  # A sample's entropy is low by (contexts x (letters - 1)) / 2n: 1e-4.
  assert found / len(triples) == pytest.approx(SMALL.entropy_rate, abs=0.006)


def test_more_documents_leave_the_first_ones_as_they_are():
  few = [d.text for d in SMALL.documents()]
  longer = Markov(
    order=2, alphabet='ab c', sharpness=2.0, n_documents=1030, seed=5
  )
  many = [d.text for d in longer.documents()]
  assert many[:3] == few and len(set(many)) == 1030
  other = Markov(order=2, alphabet='ab c', n_documents=3, seed=6)
  assert [d.text for d in other.documents()] != few
  assert other.content() != SMALL.content()


def test_the_yardstick_of_the_true_model_is_the_rate(tmp_path):
  """Bits per byte over spans with two characters before them or more."""
  source = Markov(
    order=2, alphabet='ab c', sharpness=2.0, n_documents=400, length=300, seed=5
  )
  data = pipeline.prepare(
    pipeline.DataConfig(
      corpus=source,
      tokenizer=Bytes(n_sentinels=0),
      validation_share=0.3,
      cache_dir=str(tmp_path),
    )
  )
  spans = yardstick.spans(data, n=400, length=20, context=2)
  rows = [data.tokenizer.decode(row) for row in spans.targets]
  before = [data.tokenizer.decode(row) for row in spans.contexts]
  kept = [i for i, context in enumerate(before) if len(context) == 2]
  nats = [
    -np.log(chance(source, before[i] + rows[i]) / chance(source, before[i]))
    for i in kept
  ]
  per_byte = np.array(nats) / 20
  error = per_byte.std() / np.sqrt(len(kept))
  assert len(kept) > 390
  assert abs(per_byte.mean() - source.entropy_rate) < 4 * error


@pytest.mark.parametrize(
  'fields, said',
  [
    ({'order': 0}, 'order=0'),
    ({'alphabet': 'a'}, "alphabet='a'"),
    ({'alphabet': 'aba'}, "alphabet='aba'"),
    ({'alphabet': 'aé'}, "alphabet='aé'"),
    ({'order': 5}, 'order=5 over 8 characters makes 32768 contexts'),
    ({'sharpness': -1.0}, 'sharpness=-1.0'),
    ({'length': 0}, 'length=0'),
    ({'seed': -1}, 'seed=-1'),
  ],
)
def test_a_source_that_makes_no_sense_is_refused(fields, said):
  with pytest.raises(BadInput, match=said):
    Markov(**fields)
