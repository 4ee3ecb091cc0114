"""The order visits each row once an epoch, and its hash tells what was read."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from research.data import order


def stream(seed, n, count, batch_size):
  """The first `count` rows of `n` that batches of `batch_size` visit."""
  steps = range(-(-count // batch_size))
  parts = [order.row_indices(seed, s, batch_size, n) for s in steps]
  return np.concatenate(parts)[:count].tolist()


@given(
  seed=st.integers(0, 2**40), n=st.integers(1, 50), batch_size=st.integers(1, 9)
)
def test_each_epoch_visits_each_row_once(seed, n, batch_size):
  rows = stream(seed, n, 3 * n, batch_size)
  for epoch in range(3):
    assert sorted(rows[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_epochs_and_seeds_differ_in_their_order():
  orders = [tuple(stream(seed, 40, 120, 8)) for seed in range(4)]
  epochs = [rows[i : i + 40] for rows in orders for i in (0, 40, 80)]
  assert len(set(epochs)) == 12


@given(n=st.integers(1, 30), sizes=st.tuples(*[st.integers(1, 70)] * 2))
def test_a_batch_size_only_cuts_the_order(n, sizes):
  one, other = (stream(5, n, 100, size) for size in sizes)
  assert one == other


def test_every_order_of_three_rows_is_as_likely():
  counts = dict.fromkeys(itertools.permutations(range(3)), 0)
  for seed in range(600):
    counts[tuple(order.permutation(seed, 0, 3).tolist())] += 1
  # 100 of each are expected; 5 degrees of freedom, p = 0.001.
  assert sum((n - 100) ** 2 / 100 for n in counts.values()) < 20.5


@given(n_tokens=st.integers(0, 60), row_len=st.integers(1, 9))
def test_rows_share_a_token_with_the_next_and_lie_within(n_tokens, row_len):
  tokens = np.arange(n_tokens)
  starts = range(0, n_tokens, row_len)
  whole = [
    tokens[i : i + row_len + 1].tolist()
    for i in starts
    if i + row_len + 1 <= n_tokens
  ]
  n = order.n_rows(n_tokens, row_len)
  assert n == len(whole)
  assert order.gather(tokens, np.arange(n), row_len).tolist() == whole


@given(
  n_tokens=st.integers(20, 200),
  row_len=st.integers(1, 9),
  n_steps=st.integers(0, 30),
  batch_size=st.integers(1, 9),
)
def test_accounting_counts_what_a_run_reads(
  n_tokens, row_len, n_steps, batch_size
):
  n = order.n_rows(n_tokens, row_len)
  seen, visits = set(), 0
  for step in range(n_steps):
    for row in order.row_indices(7, step, batch_size, n):
      seen.update(range(row * row_len, (row + 1) * row_len))
      visits += 1
  unique, epochs = order.accounting(n_tokens, row_len, n_steps, batch_size)
  assert unique == len(seen)
  assert epochs == pytest.approx(visits / n)


@given(
  rows=st.lists(st.integers(0, 70_000), min_size=6, max_size=6),
  where=st.integers(0, 5),
  step=st.integers(0, 2**40),
)
def test_the_hash_tells_any_id_any_step_and_any_past(rows, where, step):
  array = np.array(rows, np.int32).reshape(2, 3)
  changed = array.copy()
  changed.flat[where] += 1
  hashes = {
    order.chain('', step, array),
    order.chain('', step, changed),
    order.chain('', step + 1, array),
    order.chain('0', step, array),
  }
  assert len(hashes) == 4
  assert order.chain('', step, array.astype(np.int64)) in hashes


def test_each_step_has_a_randomness_of_its_own():
  keys = itertools.product(range(3), range(20))
  drawn = {order.corruption_rng(*key).integers(2**60) for key in keys}
  orders = {
    int(np.random.Philox(key=[seed, step]).random_raw())
    for seed, step in itertools.product(range(3), range(20))
  }
  assert len(drawn) == len(orders) == 60
  assert not drawn & {raw >> 4 for raw in orders}
