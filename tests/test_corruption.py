"""Corruption asks for what it takes away, and for nothing that it shows."""

import collections
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import scipy.stats

from research.config import BadInput
from research.data import spans
from research.data.corruption import (
  Causal,
  Masked,
  PrefixLM,
  SpanCorruption,
  SuffixPrediction,
  check_objectives,
  corrupt,
  needed_lengths,
)
from research.data.layout import Layout
from research.data.specials import Specials
from research.data.suffix import masked_suffix

SPECIALS = Specials(n_text=50, n_sentinels=40)
BOS, MASK = SPECIALS.bos, SPECIALS.mask


def make_rows(b, n, seed=0, documents=0.1):
  """Rows of n + 1 tokens, of which a share begins documents."""
  rng = np.random.default_rng(seed)
  rows = rng.integers(0, SPECIALS.n_text, (b, n + 1), np.int32)
  return np.where(rng.random(rows.shape) < documents, BOS, rows).astype('int32')


def make_layout(specs, architecture, n, mask_documents=True):
  seq_len, target_len = needed_lengths(specs, architecture, n)
  return Layout(
    architecture=architecture,
    specials=SPECIALS,
    seq_len=seq_len,
    target_len=target_len,
    mask_documents=mask_documents,
  )


def make(specs, architecture, rows, seed=0, mask_documents=True):
  layout = make_layout(specs, architecture, rows.shape[1] - 1, mask_documents)
  return corrupt(specs, rows, np.random.default_rng(seed), layout)


def document_of(row):
  """The segment of each token, counted one by one."""
  found, segment = [], 1
  for i, token in enumerate(row):
    segment += int(token == BOS and i > 0)
    found.append(segment)
  return found


ALL = [
  ('decoder', [Causal()]),
  ('decoder', [PrefixLM()]),
  ('decoder', [SuffixPrediction(max_length=5)]),
  ('decoder', [Causal(share=2), PrefixLM(), SuffixPrediction(max_length=5)]),
  ('encoder', [Masked()]),
  ('encoder', [SuffixPrediction(max_length=5)]),
  ('encoder', [Masked(), SuffixPrediction(max_length=5, first_only=True)]),
  ('encoder_decoder', [SpanCorruption()]),
  ('encoder_decoder', [PrefixLM()]),
  ('encoder_decoder', [SuffixPrediction(max_length=5)]),
  (
    'encoder_decoder',
    [SpanCorruption(), PrefixLM(), SuffixPrediction(max_length=5)],
  ),
]


def assert_only_a_documents_beginning_is_weightless(batch, architecture):
  """Rows weigh something, unless an encoder's suffix begins with bos."""
  weightless = batch['weights'].sum(axis=1) == 0
  if architecture != 'encoder':
    assert not weightless.any()
  for tokens in batch['tokens'][weightless].tolist():
    first = tokens.index(MASK) if MASK in tokens else len(tokens)
    assert tokens[first - 1] == BOS


@pytest.mark.parametrize('architecture, specs', ALL)
@pytest.mark.parametrize('mask_documents', [False, True])
def test_every_batch_keeps_the_models_contract(
  architecture, specs, mask_documents
):
  n, b = 24, 16
  rows = make_rows(b, n)
  layout = make_layout(specs, architecture, n)
  batch = make(specs, architecture, rows, mask_documents=mask_documents)
  sides = [('tokens', 'segments', 'positions', layout.seq_len)]
  predicted = layout.seq_len
  if architecture == 'encoder_decoder':
    predicted = layout.target_len
    sides += [
      ('decoder_tokens', 'decoder_segments', 'decoder_positions', predicted)
    ]
  for tokens, segments, positions, width in sides:
    for name in (tokens, segments, positions):
      assert batch[name].shape == (b, width) and batch[name].dtype == np.int32
    assert (batch[tokens] < SPECIALS.vocab_size).all()
    for row_segments, row_positions in zip(
      batch[segments], batch[positions], strict=True
    ):
      seen = collections.Counter()
      for segment, position in zip(row_segments, row_positions, strict=True):
        assert position == (seen[segment] if segment else 0)
        seen[segment] += 1
      if not mask_documents:
        assert set(row_segments) <= {0, 1}
  assert batch['targets'].shape == batch['weights'].shape == (b, predicted)
  assert batch['targets'].dtype == np.int32
  assert batch['weights'].dtype == np.float32
  assert set(np.unique(batch['weights'])) <= {0, 1}
  assert_only_a_documents_beginning_is_weightless(batch, architecture)
  has_prefix = any(isinstance(s, PrefixLM) for s in specs)
  assert ('prefix' in batch) == (has_prefix and architecture == 'decoder')
  if architecture == 'encoder_decoder':
    for keys, queries in zip(
      batch['segments'], batch['decoder_segments'], strict=True
    ):
      assert set(queries) - {0} <= set(keys)  # no softmax over nothing
    assert (batch['weights'][batch['decoder_segments'] == 0] == 0).all()


def test_a_decoder_reads_a_row_and_predicts_it_one_ahead():
  rows = make_rows(4, 16)
  batch = make([Causal()], 'decoder', rows)
  np.testing.assert_array_equal(batch['tokens'], rows[:, :-1])
  np.testing.assert_array_equal(batch['targets'], rows[:, 1:])
  assert batch['weights'].all()
  for row, segments in zip(rows, batch['segments'], strict=True):
    assert segments.tolist() == document_of(row[:-1])


def test_masking_chooses_a_fixed_share_of_the_text():
  rows = make_rows(64, 200)
  batch = make([Masked(rate=0.15)], 'encoder', rows)
  text = (rows[:, :-1] != BOS).sum(axis=1)
  np.testing.assert_array_equal(
    batch['weights'].sum(axis=1), np.rint(text * 0.15)
  )
  assert not batch['weights'][rows[:, :-1] == BOS].any()
  np.testing.assert_array_equal(batch['targets'], rows[:, :-1])
  unchosen = batch['weights'] == 0
  np.testing.assert_array_equal(
    batch['tokens'][unchosen], rows[:, :-1][unchosen]
  )


@pytest.mark.parametrize(
  'mask_share, random_share', [(0.8, 0.1), (1.0, 0.0), (0.0, 1.0), (0.2, 0.3)]
)
def test_the_chosen_are_masked_swapped_and_kept_by_their_shares(
  mask_share, random_share
):
  rows = make_rows(400, 400, documents=0)
  spec = Masked(rate=0.5, mask_share=mask_share, random_share=random_share)
  batch = make([spec], 'encoder', rows)
  chosen = batch['weights'] > 0
  shown, true = batch['tokens'][chosen], batch['targets'][chosen]
  n = len(true)
  # A random token is the true one in 1 of 50 draws.
  masked, kept = (shown == MASK).mean(), (shown == true).mean()
  kept_share = 1 - mask_share - random_share + random_share / 50
  assert abs(masked - mask_share) <= 4 * (0.25 / n) ** 0.5 * (
    mask_share % 1 > 0
  )
  assert abs(kept - kept_share) <= 4 * (0.25 / n) ** 0.5
  if random_share == 1:
    assert scipy.stats.chisquare(np.bincount(shown, minlength=50)).pvalue > 1e-3


def test_every_position_is_chosen_as_often():
  rows = make_rows(4000, 20, documents=0)
  counts = make([Masked(rate=0.2)], 'encoder', rows)['weights'].sum(axis=0)
  assert counts.sum() == 4000 * 4
  assert scipy.stats.chisquare(counts).pvalue > 1e-3


@given(n=st.integers(2, 300), rate=st.floats(0.01, 0.99), mean=st.floats(1, 20))
@settings(max_examples=100, deadline=None)
def test_span_counts_are_those_of_t5(n, rate, mean):
  """As `random_spans_noise_mask` in T5's preprocessors computes them."""
  noise = min(max(int(np.round(n * rate)), 1), n - 1)
  n_noise, n_spans = spans.span_counts(n, rate, mean)
  assert n_noise == noise
  assert n_spans == min(max(int(np.round(noise / mean)), 1), n - noise)
  mask = spans.random_spans(np.random.default_rng(n), 5, n, n_noise, n_spans)
  assert (mask.sum(axis=1) == n_noise).all()
  assert not mask[:, 0].any() and mask[:, -1].all()
  begins = mask[:, 1:] & ~mask[:, :-1]
  assert (begins.sum(axis=1) == n_spans).all()


def test_every_segmentation_into_spans_is_as_likely():
  def parts(total, count):
    cuts = itertools.combinations(range(1, total), count - 1)
    return [np.diff((0, *cut, total)) for cut in cuts]

  possible = [
    ''.join('.' * k + '#' * m for k, m in zip(kept, noise, strict=True))
    for kept in parts(6, 3)
    for noise in parts(4, 3)
  ]
  drawn = spans.random_spans(np.random.default_rng(0), 6000, 10, 4, 3)
  counts = collections.Counter(
    ''.join('#' if x else '.' for x in row) for row in drawn
  )
  assert set(counts) == set(possible)
  assert len(possible) == 30
  assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


@given(
  n=st.integers(4, 60),
  rate=st.floats(0.05, 0.6),
  mean=st.floats(1, 6),
  seed=st.integers(0, 999),
)
@settings(max_examples=100, deadline=None)
def test_inputs_and_targets_of_span_corruption_give_the_row_back(
  n, rate, mean, seed
):
  rows = make_rows(3, n, seed)
  spec = SpanCorruption(rate=rate, mean_span=mean)
  batch = make([spec], 'encoder_decoder', rows, seed, mask_documents=False)
  n_noise, n_spans = spans.span_counts(n, rate, mean)
  first = SPECIALS.sentinel(0)
  for i, row in enumerate(rows[:, :-1]):
    assert batch['weights'][i].all() and batch['segments'][i].all()
    taken: dict[int, list[int]] = {}
    current: list[int] = []
    for token in batch['targets'][i]:
      if token >= first:
        current = taken.setdefault(int(token), [])
      else:
        current.append(token)
    assert list(taken) == list(range(first, first + n_spans + 1))
    assert not taken[first + n_spans]  # the last sentinel ends it
    assert sum(map(len, taken.values())) == n_noise
    whole = [
      token
      for shown in batch['tokens'][i]
      for token in (taken[int(shown)] if shown >= first else [shown])
    ]
    assert whole == row.tolist()
    assert batch['decoder_tokens'][i].tolist() == [
      BOS,
      *batch['targets'][i][:-1],
    ]


def pair_by_hand(shown, said, start, layout):
  """An encoder-decoder row from lists of (token, segment), one by one."""
  keys = {segment for _, segment in shown}
  row = {
    'tokens': [token for token, _ in shown],
    'segments': [segment for _, segment in shown],
    'decoder_tokens': [],
    'decoder_segments': [],
    'targets': [],
  }
  read = start
  for token, segment in said:
    there = read[1] in keys
    row['decoder_tokens'].append(read[0] if there else 0)
    row['decoder_segments'].append(read[1] if there else 0)
    row['targets'].append(token if there else 0)
    read = (token, segment)
  for name, values in row.items():
    side = name.startswith('decoder') or name == 'targets'
    width = layout.target_len if side else layout.seq_len
    row[name] = values + [0] * (width - len(values))
  return row


@given(seed=st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_spans_keep_their_documents_apart(seed):
  n = 30
  rows = make_rows(4, n, seed, documents=0.15)
  spec = SpanCorruption(rate=0.3)
  layout = make_layout([spec], 'encoder_decoder', n)
  batch = make([spec], 'encoder_decoder', rows, seed)
  counts = spans.span_counts(n, 0.3, 3.0)
  noise = spans.random_spans(np.random.default_rng(seed), 4, n, *counts)
  for i, row in enumerate(rows[:, :-1]):
    shown, said, span = [], [], -1
    tokens = zip(row.tolist(), document_of(row), strict=True)
    for j, (token, segment) in enumerate(tokens):
      if not noise[i, j]:
        shown.append((token, segment))
        continue
      if not noise[i, j - 1]:
        span += 1
        shown.append((SPECIALS.sentinel(span), segment))
        said.append((SPECIALS.sentinel(span), segment))
      said.append((token, segment))
    said.append((SPECIALS.sentinel(span + 1), said[-1][1]))
    by_hand = pair_by_hand(shown, said, (BOS, said[0][1]), layout)
    for name, values in by_hand.items():
      assert batch[name][i].tolist() == values, name
    np.testing.assert_array_equal(
      batch['weights'][i], batch['decoder_segments'][i] > 0
    )


@pytest.mark.parametrize('spec', [PrefixLM(), SuffixPrediction(max_length=9)])
@pytest.mark.parametrize('seed', range(5))
def test_a_split_row_keeps_its_documents_apart(spec, seed):
  n = 24
  rows = make_rows(32, n, seed)
  layout = make_layout([spec], 'encoder_decoder', n)
  batch = make([spec], 'encoder_decoder', rows, seed)
  suffix = isinstance(spec, SuffixPrediction)
  start = SPECIALS.sentinel(0) if suffix else BOS
  cuts = set()
  for i, row in enumerate(rows[:, :-1]):
    tokens = list(zip(row.tolist(), document_of(row), strict=True))
    cut = int((batch['segments'][i] > 0).sum()) - suffix
    cuts.add(cut)
    last = tokens[cut - 1][1]
    shown = tokens[:cut] + [(start, last)] * suffix
    by_hand = pair_by_hand(shown, tokens[cut:], (start, last), layout)
    for name, values in by_hand.items():
      assert batch[name][i].tolist() == values, name
  assert len(cuts) > 4


def test_a_prefix_is_never_predicted_and_all_else_is():
  rows = make_rows(500, 12)
  batch = make([PrefixLM()], 'decoder', rows)
  np.testing.assert_array_equal(batch['targets'], rows[:, 1:])
  lengths = batch['prefix'].sum(axis=1)
  for prefix, weights, length in zip(
    batch['prefix'], batch['weights'], lengths, strict=True
  ):
    assert prefix[:length].all()
    # Position j predicts token j + 1, which must lie outside the prefix.
    for j in range(12):
      assert weights[j] == (j + 1 >= length)
  counts = np.bincount(lengths, minlength=12)
  assert counts[0] == 0
  assert scipy.stats.chisquare(counts[1:]).pvalue > 1e-3


@pytest.mark.parametrize('first_only', [False, True])
def test_an_encoders_suffix_is_revealed_from_the_left(first_only):
  rows = make_rows(600, 20, documents=0)
  spec = SuffixPrediction(min_length=3, max_length=6, first_only=first_only)
  batch = make([spec], 'encoder', rows)
  masked = batch['tokens'] == MASK
  n_masked = masked.sum(axis=1)
  assert set(n_masked) == set(range(1, 7))
  for mask, weights, length in zip(
    masked, batch['weights'], n_masked, strict=True
  ):
    assert mask[20 - length :].all()
    assert weights.sum() == (1 if first_only else length)
    assert weights[20 - length] == 1
    assert not weights[~mask].any()
  # P(m masked) = mean over lengths 3..6 of 1/length where m <= length.
  expected = [
    sum(1 / n for n in range(max(3, m), 7)) / 4 * 600 for m in range(1, 7)
  ]
  counts = np.bincount(n_masked, minlength=7)[1:]
  assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize('first_only', [False, True])
def test_a_documents_beginning_in_a_suffix_is_seen_and_weighs_nothing(
  first_only,
):
  n = 12
  rows = make_rows(300, n - 1, documents=0.3)
  rng = np.random.default_rng(1)
  lengths = rng.integers(1, 7, len(rows))
  revealed = rng.integers(0, lengths)
  layout = Layout(architecture='encoder', specials=SPECIALS, seq_len=n)
  batch = masked_suffix(rows, lengths, revealed, layout, first_only)
  for i, row in enumerate(rows.tolist()):
    first = n - lengths[i] + revealed[i]
    masked = [j for j in range(first, n) if row[j] != BOS]
    weighed = [j for j in masked if j == first] if first_only else masked
    shown = [MASK if j in masked else row[j] for j in range(n)]
    assert batch['tokens'][i].tolist() == shown
    assert np.flatnonzero(batch['weights'][i]).tolist() == weighed
  weightless = (batch['weights'].sum(axis=1) == 0).sum()
  begins = rows[np.arange(len(rows)), n - lengths + revealed] == BOS
  assert 0 < weightless <= begins.sum()
  assert not first_only or weightless == begins.sum()


def test_a_mixture_shares_rows_out_as_it_says():
  specs = [Masked(share=3.0), SuffixPrediction(max_length=4, share=1.0)]
  rows = make_rows(4000, 40, documents=0)
  batch = make(specs, 'encoder', rows)
  # Masking weighs 6 of 40 tokens in every row, a suffix at most 4.
  masked = batch['weights'].sum(axis=1) == 6
  assert abs(masked.mean() - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5
  suffixes = batch['weights'][~masked]
  assert suffixes[:, -1].all() and suffixes[:, -4:].sum() == suffixes.sum()


def test_a_step_in_which_an_objective_gets_no_row_has_the_same_arrays():
  specs = [Causal(share=1.0), PrefixLM(share=1e-9)]
  batch = make(specs, 'decoder', make_rows(4, 8))
  assert not batch['prefix'].any()
  assert batch['weights'].all()


def test_corruption_is_a_function_of_its_randomness():
  specs = [SpanCorruption(), SuffixPrediction(max_length=5)]
  rows = make_rows(16, 24)
  a, b, c = (make(specs, 'encoder_decoder', rows, seed) for seed in (1, 1, 2))
  for name in a:
    np.testing.assert_array_equal(a[name], b[name])
  assert any((a[name] != c[name]).any() for name in a)


@pytest.mark.parametrize('n', [32, 128, 512])
def test_the_needed_lengths_are_the_least(n):
  specs = [SpanCorruption(), SuffixPrediction(min_length=8, max_length=16)]
  seq_len, target_len = needed_lengths(specs, 'encoder_decoder', n)
  sizes = {'row_len': n, 'seq_len': seq_len, 'target_len': target_len}

  def check(**changes):
    given_sizes = sizes | {'n_sentinels': 100} | changes
    check_objectives(specs, 'encoder_decoder', **given_sizes)

  check()
  # In rows of one document nothing is padded for want of a segment.
  rows = make_rows(256, n, documents=0)
  batch = make(specs, 'encoder_decoder', rows)
  assert (batch['segments'] > 0).any(axis=0).all()
  assert (batch['weights'] > 0).any(axis=0).all()
  with pytest.raises(BadInput, match=f'seq_len=.* must be at least {seq_len} '):
    check(seq_len=seq_len - 1)
  with pytest.raises(BadInput, match=f'target_len=.* at least {target_len} '):
    check(target_len=target_len - 1)


def test_t5s_own_lengths_come_out():
  """T5 reads 568 tokens to fill 512 inputs and 114 targets with EOS on both.

  `random_spans_helper` in T5's preprocessors; our inputs have no EOS, and our
  last sentinel is its EOS.
  """
  assert needed_lengths([SpanCorruption()], 'encoder_decoder', 568) == (
    511,
    114,
  )


def test_too_few_sentinels_says_how_many():
  with pytest.raises(BadInput, match='n_sentinels=6 must be at least 7'):
    check_objectives(
      [SpanCorruption()],
      'encoder_decoder',
      row_len=128,
      seq_len=128,
      target_len=128,
      n_sentinels=6,
    )


@pytest.mark.parametrize(
  'architecture, spec, said',
  [
    ('encoder', Causal(), 'Causal cannot train architecture=encoder'),
    ('decoder', Masked(), 'Masked cannot train architecture=decoder'),
    ('decoder', SpanCorruption(), 'it trains encoder_decoder'),
    ('encoder', PrefixLM(), 'it trains decoder, encoder_decoder'),
    ('decoder', SuffixPrediction(max_length=16), 'max_length=16 must be less'),
  ],
)
def test_an_objective_that_does_not_fit_gets_one_line(architecture, spec, said):
  with pytest.raises(BadInput, match=said):
    check_objectives(
      [spec],
      architecture,
      row_len=16,
      seq_len=16,
      target_len=16,
      n_sentinels=9,
    )


@pytest.mark.parametrize(
  'kind, fields',
  [
    (Masked, {'rate': 0.0}),
    (Masked, {'rate': 1.0}),
    (Masked, {'mask_share': 0.8, 'random_share': 0.3}),
    (Masked, {'mask_share': -0.1}),
    (SpanCorruption, {'mean_span': 0.5}),
    (SuffixPrediction, {'min_length': 0}),
    (SuffixPrediction, {'min_length': 9, 'max_length': 8}),
    (Causal, {'share': 0.0}),
    (PrefixLM, {'share': float('nan')}),
  ],
)
def test_a_value_out_of_range_is_named(kind, fields):
  with pytest.raises(BadInput, match=next(iter(fields))):
    kind(**fields)
