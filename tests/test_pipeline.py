"""A step reads the same rows, whoever reads it and wherever it began."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest
from small_corpus import config

from research.config import BadInput
from research.data import order
from research.data.corruption import (
  Causal,
  Masked,
  PrefixLM,
  SpanCorruption,
  SuffixPrediction,
)
from research.data.pipeline import batches, prepare

N, B = 32, 8


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  return prepare(config(tmp_path_factory.mktemp('pipeline')))


def read(dataset, **changes) -> list[Any]:
  """The batches of 60 steps, more than an epoch, and their hashes."""
  asked: dict[str, Any] = {
    'architecture': 'decoder',
    'objectives': [Causal(), PrefixLM(), SuffixPrediction(max_length=5)],
    'seq_len': N,
    'batch_size': B,
    'seed': 3,
    'n_steps': 60,
    'prefetch': 0,
  }
  return list(batches(dataset, **(asked | changes)))


def raw_rows(dataset, n_steps=60, seed=3):
  """[steps, b, n + 1] ids that the steps read."""
  found = read(dataset, objectives=[Causal()], n_steps=n_steps, seed=seed)
  sides = [(x['tokens'], x['targets'][:, -1:]) for x, _ in found]
  return np.stack([np.concatenate(side, axis=1) for side in sides])


def assert_equal(found, expected):
  for (batch, digest), (other, wanted) in zip(found, expected, strict=True):
    assert digest == wanted
    assert set(batch) == set(other)
    for name, value in batch.items():
      np.testing.assert_array_equal(value, other[name], name)


@pytest.fixture(scope='module')
def whole(dataset):
  assert dataset.n_rows(N) < 60 * B
  return read(dataset)


@pytest.mark.parametrize('hosts', [1, 2, 4])
@pytest.mark.parametrize('prefetch', [0, 1, 4])
def test_hosts_share_out_one_order(dataset, whole, hosts, prefetch):
  parts = [
    read(dataset, host_index=i, host_count=hosts, prefetch=prefetch)
    for i in range(hosts)
  ]
  together = []
  for step in zip(*parts, strict=True):
    assert len({digest for _, digest in step}) == 1
    batch = {
      name: np.concatenate([part[name] for part, _ in step])
      for name in step[0][0]
    }
    together.append((batch, step[0][1]))
  assert_equal(together, whole)


@pytest.mark.parametrize('known', [False, True])
def test_a_run_resumes_at_any_step(dataset, whole, known):
  for start in range(61):
    previous = whole[start - 1][1] if known and start else None
    rest = read(
      dataset, start_step=start, n_steps=60 - start, previous_hash=previous
    )
    assert_equal(rest, whole[start:])


def test_the_hash_is_that_of_every_id_so_far(dataset, whole):
  """blake2b of the hash before, the step and the ids, all little-endian."""
  digest = ''
  rows = raw_rows(dataset)
  for step, (_, found) in enumerate(whole):
    data = step.to_bytes(8, 'little') + rows[step].astype('<i4').tobytes()
    digest = hashlib.blake2b(digest.encode() + data, digest_size=16).hexdigest()
    assert found == digest


def test_the_hash_differs_from_where_an_id_does(dataset, whole):
  rows = order.permutation(3, 0, dataset.n_rows(N))
  changed = np.array(dataset.train)
  changed[rows[17 * B + 2] * N + 5] ^= 1  # read in step 17
  other = read(dataclasses.replace(dataset, train=changed))
  same = [a[1] == b[1] for a, b in zip(whole, other, strict=True)]
  assert same == [True] * 17 + [False] * 43


def test_each_epoch_reads_every_row_once(dataset):
  n = dataset.n_rows(N)
  there = [dataset.train[i * N : (i + 1) * N + 1].tolist() for i in range(n)]
  found = raw_rows(dataset, n_steps=3 * n // B + 1).reshape(-1, N + 1)
  epochs = [found[i * n : (i + 1) * n].tolist() for i in range(3)]
  for epoch in epochs:
    assert sorted(epoch) == sorted(there)
  other = raw_rows(dataset, n_steps=n // B + 1, seed=4).reshape(-1, N + 1)
  orders = {str(rows) for rows in [*epochs, other[:n].tolist(), there]}
  assert len(orders) == 5


def test_each_step_and_seed_corrupts_anew(dataset):
  """Or a second epoch would ask for what the first did."""
  objectives = [SuffixPrediction(max_length=20)]
  found = [read(dataset, objectives=objectives, seed=seed) for seed in (3, 4)]
  asked = {x['weights'].tobytes() for steps in found for x, _ in steps}
  assert len(asked) == 120


def test_every_architecture_reads_the_same_rows(dataset):
  dataset = dataclasses.replace(dataset, mask_documents=False)
  rows = raw_rows(dataset)
  asked = {
    'encoder': [Masked()],
    'encoder_decoder': [PrefixLM()],
    'decoder': [PrefixLM()],
  }
  for architecture, objectives in asked.items():
    found = read(dataset, architecture=architecture, objectives=objectives)
    for step, (batch, _) in enumerate(found):
      if architecture == 'decoder':
        np.testing.assert_array_equal(batch['tokens'], rows[step, :, :-1])
      elif architecture == 'encoder':
        np.testing.assert_array_equal(batch['targets'], rows[step, :, :-1])
      else:
        shown, said = batch['segments'] > 0, batch['weights'] > 0
        for i, row in enumerate(rows[step]):
          again = [*batch['tokens'][i, shown[i]], *batch['targets'][i, said[i]]]
          assert again == row[:-1].tolist()
  hashes = {
    tuple(h for _, h in read(dataset, architecture=a, objectives=o))
    for a, o in asked.items()
  }
  assert len(hashes) == 1


@pytest.mark.parametrize('mask_documents', [False, True])
def test_documents_of_a_row_are_masked_if_asked(tmp_path, mask_documents):
  dataset = prepare(config(tmp_path, mask_documents=mask_documents))
  several = 0
  for batch, _ in read(dataset, objectives=[Causal()]):
    for i, tokens in enumerate(batch['tokens'].tolist()):
      segment, position, by_hand = 1, -1, []
      for j, token in enumerate(tokens):
        new = mask_documents and j > 0 and token == dataset.tokenizer.bos
        segment, position = segment + new, 0 if new else position + 1
        by_hand.append((segment, position))
      found = zip(batch['segments'][i], batch['positions'][i], strict=True)
      assert list(found) == by_hand
      several += segment > 1
  assert bool(several) == mask_documents


def test_a_corpus_too_short_for_a_batch_says_how_short(dataset):
  needed = B * N + 1
  exact = dataclasses.replace(dataset, train=dataset.train[:needed])
  assert len(read(exact, n_steps=3)) == 3
  short = dataclasses.replace(dataset, train=dataset.train[: needed - 1])
  said = f'corpus: {needed - 1} training tokens .* which needs {needed};'
  with pytest.raises(BadInput, match=said):
    read(short)


@pytest.mark.parametrize(
  'changes, said',
  [
    ({'host_count': 3}, 'batch_size=8 must be a multiple of the 3 hosts'),
    ({'host_count': 2, 'host_index': 2}, 'host_index=2 must be below 2'),
    ({'batch_size': 0}, 'batch_size=0'),
    ({'seed': -1}, 'seed=-1 must not be negative'),
    ({'objectives': []}, 'objectives: give at least one'),
    ({'objectives': [SpanCorruption()]}, 'SpanCorruption cannot train'),
    ({'row_len': N + 1}, f'seq_len={N} must be at least {N + 1}'),
  ],
)
def test_what_does_not_fit_is_told_at_once(dataset, changes, said):
  asked: dict[str, Any] = {
    'architecture': 'decoder',
    'objectives': [Causal()],
    'seq_len': N,
    'batch_size': B,
    'seed': 0,
  }
  with pytest.raises(BadInput, match=said):
    batches(dataset, **(asked | changes))
