"""Each rule of sampling leaves what its definition says, in plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.config import BadInput
from research.inference.sampling import Sampling, draw, penalise, restrict

V, ROWS = 40, 64
LOGITS = np.random.default_rng(0).normal(size=(ROWS, V)).astype(np.float32) * 3


def kept(**rules) -> np.ndarray:
  left = restrict(jnp.asarray(LOGITS), Sampling(**rules).rules)
  left = np.asarray(left)
  np.testing.assert_array_equal(left[left > -np.inf], LOGITS[left > -np.inf])
  return left > -np.inf


def softmax(row) -> np.ndarray:
  e = np.exp(row.astype(np.float64) - row.max())
  return e / e.sum()


def by_rank(row) -> list[int]:
  """Ids, most probable first; of equals the lower id first."""
  return sorted(range(len(row)), key=lambda i: (-row[i], i))


def nucleus(row, p: float) -> set[int]:
  """The fewest most probable ids whose probability adds up to p."""
  chosen, total, probability = set(), 0.0, softmax(row)
  for i in by_rank(row):
    chosen.add(i)
    total += probability[i]
    if total >= p:
      break
  return chosen


@pytest.mark.parametrize('k', [1, 3, V, 2 * V, 10**11])
def test_top_k_keeps_the_k_most_probable(k):
  for row, mask in zip(LOGITS, kept(top_k=k), strict=True):
    assert set(np.flatnonzero(mask)) == set(by_rank(row)[:k])


@pytest.mark.parametrize('p', [1e-6, 0.15, 0.5, 0.95, 1.0])
def test_top_p_keeps_exactly_the_nucleus(p):
  for row, mask in zip(LOGITS, kept(top_p=p), strict=True):
    assert set(np.flatnonzero(mask)) == nucleus(row, p)


@pytest.mark.parametrize('p', [0.01, 0.3, 1.0])
def test_min_p_keeps_what_is_at_least_so_probable_beside_the_best(p):
  for row, mask in zip(LOGITS, kept(min_p=p), strict=True):
    probability = softmax(row)
    expected = probability >= p * probability.max()
    assert set(np.flatnonzero(mask)) == set(np.flatnonzero(expected))


def test_top_p_reads_probabilities_among_the_top_k():
  found = kept(top_k=5, top_p=0.8, min_p=0.05)
  for row, mask in zip(LOGITS, found, strict=True):
    first = by_rank(row)[:5]
    inner = {first[i] for i in nucleus(row[first], 0.8)}
    least = 0.05 * softmax(row).max()
    expected = {i for i in inner if softmax(row)[i] >= least}
    assert set(np.flatnonzero(mask)) == expected


def test_of_equally_probable_tokens_the_lower_ids_are_kept():
  flat = jnp.zeros((1, 8))
  for rules in ({'top_k': 2}, {'top_p': 0.25}):
    left = np.asarray(restrict(flat, Sampling(**rules).rules))
    np.testing.assert_array_equal(np.flatnonzero(left[0] == 0), [0, 1])


@pytest.mark.parametrize(
  'rules',
  [
    {'repetition_penalty': 1.3},
    {'repetition_penalty': 0.8},
    {'presence_penalty': 0.7},
    {'frequency_penalty': -0.4},
    {
      'repetition_penalty': 1.3,
      'presence_penalty': 0.7,
      'frequency_penalty': 0.4,
    },
  ],
)
def test_penalties_are_those_of_their_definitions(rules):
  rng = np.random.default_rng(1)
  prompt = rng.random((ROWS, V)) < 0.3
  counts = rng.poisson(0.5, (ROWS, V)).astype(np.int32)
  how = Sampling(**rules)
  found = penalise(
    jnp.asarray(LOGITS), how.rules, jnp.asarray(prompt), jnp.asarray(counts)
  )
  expected = LOGITS.astype(np.float64)
  for at in np.ndindex(ROWS, V):
    if prompt[at] or counts[at]:
      factor = how.repetition_penalty
      expected[at] *= 1 / factor if expected[at] > 0 else factor
    if counts[at]:
      expected[at] -= how.presence_penalty
      expected[at] -= how.frequency_penalty * counts[at]
  assert np.abs(expected - LOGITS).max() > 0.3
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_temperature_0_is_the_most_probable_token():
  keys = jax.random.split(jax.random.key(0), ROWS)
  greedy = draw(jnp.asarray(LOGITS), Sampling(temperature=0).rules, keys)
  np.testing.assert_array_equal(greedy, LOGITS.argmax(axis=1))
  for least in (1e-4, 1e-30):
    cold = draw(jnp.asarray(LOGITS), Sampling(temperature=least).rules, keys)
    np.testing.assert_array_equal(cold, greedy)


def test_draws_have_the_probabilities_of_the_heated_softmax():
  n, logits = 20_000, np.array([1.0, 0.0, -1.0, 2.0, 1.5], np.float32)
  keys = jax.random.split(jax.random.key(3), n)
  rules = Sampling(temperature=1.7, top_k=4).rules
  tokens = draw(jnp.tile(jnp.asarray(logits), (n, 1)), rules, keys)
  expected = softmax(logits / 1.7)
  expected[2] = 0
  expected /= expected.sum()
  share = np.bincount(tokens, minlength=5) / n
  deviation = np.sqrt(expected * (1 - expected) / n)
  assert share[2] == 0
  assert (np.abs(share - expected) <= 4 * deviation).all()


@pytest.mark.parametrize(
  ('rules', 'says'),
  [
    ({'temperature': -1.0}, 'temperature=-1.0: choose 0'),
    ({'temperature': float('nan')}, 'temperature=nan: choose'),
    ({'temperature': 1e-50}, 'temperature=1e-50: choose 0'),
    ({'temperature': 1e39}, 'temperature=1e.39: choose 0'),
    ({'repetition_penalty': 1e-40}, 'repetition_penalty=1e-40: choose'),
    ({'presence_penalty': 1e39}, 'presence_penalty=1e.39: choose'),
    ({'frequency_penalty': -1e39}, 'frequency_penalty=-1e.39: choose'),
    ({'top_k': 0}, 'top_k=0: choose at least 1'),
    ({'top_p': 0.0}, 'top_p=0.0: choose a share'),
    ({'min_p': 1.5}, 'min_p=1.5: choose a share'),
    ({'repetition_penalty': 0.0}, 'repetition_penalty=0.0: choose a positive'),
    ({'presence_penalty': float('inf')}, 'presence_penalty=inf: choose'),
    ({'temperature': 0.0, 'top_k': 3}, 'top_k=3 contradicts temperature=0'),
    ({'temperature': 0.0, 'top_p': 0.5}, 'top_p=0.5 contradicts'),
  ],
)
def test_unknown_and_contradictory_rules_get_one_line(rules, says):
  with pytest.raises(BadInput, match=says):
    Sampling(**rules)
