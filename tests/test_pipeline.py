"""A step reads the same rows whoever asks, and a corpus is tokenised once."""

import concurrent.futures
import dataclasses
import hashlib
import json
import random
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from research.config import BadInput
from research.data import order, pipeline, splits, store
from research.data.corpora import JSONL
from research.data.corruption import (
  Causal,
  Masked,
  PrefixLM,
  SpanCorruption,
  SuffixPrediction,
)
from research.data.pipeline import DataConfig, batches, prepare
from research.data.tokenizers import BPE, Bytes

N, B = 32, 8
BPE_SPEC = BPE(vocab_size=280, n_sentinels=3)


def records(n=60, seed=0):
  """Documents of random words, some not ASCII, in two domains."""
  draw = random.Random(seed)
  for i in range(n):
    words = [''.join(draw.choices('abcdeé—', k=4)) for _ in range(20)]
    yield {'domain': ('novel', 'speech')[i % 2], 'text': ' \n'.join(words)}


def config(folder, lines=None, **changes):
  path = folder / 'corpus.jsonl'
  lines = records() if lines is None else lines
  path.write_text('\n'.join(map(json.dumps, lines)))
  fields = {'validation_share': 0.15, 'cache_dir': str(folder / 'cache')}
  return DataConfig(corpus=JSONL(path=str(path)), **(fields | changes))


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


def texts(dataset, tokens):
  """The documents in `tokens`."""
  parts = np.split(tokens, dataset.boundaries(tokens))
  assert not len(parts[0])  # bos comes first
  return [dataset.tokenizer.decode(part) for part in parts[1:]]


def test_the_split_parts_the_documents_by_domain(dataset):
  domain_of = {r['text']: r['domain'] for r in records()}
  train = texts(dataset, dataset.train)
  held_out = {d: texts(dataset, x) for d, x in dataset.validation.items()}
  assert set(held_out) == {'novel', 'speech'}
  for domain, found in held_out.items():
    assert {domain_of[text] for text in found} == {domain}
  every = train + [text for found in held_out.values() for text in found]
  assert sorted(every) == sorted(domain_of)
  kept = set(train)
  assert train == [text for text in domain_of if text in kept]


def test_a_document_stays_on_its_side(dataset, tmp_path):
  """Whatever the order, the company, the domain and the tokenizer."""
  more = [
    {**r, 'domain': 'other'} for r in [*records(80, seed=1), *records()][::-1]
  ]
  other = prepare(config(tmp_path, more, tokenizer=BPE_SPEC))
  old = {r['text'] for r in records()}
  new_side = set(texts(other, other.validation['other']))
  old_side = {
    text for x in dataset.validation.values() for text in texts(dataset, x)
  }
  assert new_side & old == old_side < old
  assert new_side - old


def test_verses_are_split_by_book_and_chapter(tmp_path):
  verses = [
    {'text': f'{book} {chapter}:{verse}', 'group': f'{book} {chapter}'}
    for verse in range(1, 4)
    for book in ('Gen', 'Ps')
    for chapter in range(1, 21)
  ]
  dataset = prepare(config(tmp_path, verses))
  sides = [
    {splits.chapter(verse) for verse in texts(dataset, tokens)}
    for tokens in (dataset.train, dataset.validation['text'])
  ]
  assert not sides[0] & sides[1]
  assert len(sides[0] | sides[1]) == 40
  assert dataset.counts['validation/text']['documents'] == 3 * len(sides[1])


@pytest.mark.parametrize('tokenizer', [Bytes(), BPE_SPEC])
def test_words_and_bytes_are_those_of_the_text(tmp_path, tokenizer):
  dataset = prepare(config(tmp_path, tokenizer=tokenizer))
  parts = {'train': dataset.train} | {
    f'validation/{domain}': x for domain, x in dataset.validation.items()
  }
  assert set(parts) == set(dataset.counts)
  for name, tokens in parts.items():
    there = texts(dataset, tokens)
    n_words = sum(len(text.split()) for text in there)
    n_bytes = sum(len(text.encode('utf-8')) for text in there)
    assert dataset.n_words(tokens) == n_words
    assert dataset.n_bytes(tokens) == n_bytes
    counts = {'documents': len(there), 'words': n_words, 'bytes': n_bytes}
    assert dataset.counts[name] == counts


def assert_same(a, b):
  assert (a.hash, a.tokenizer.hash) == (b.hash, b.tokenizer.hash)
  assert dict(a.counts) == dict(b.counts)
  np.testing.assert_array_equal(a.train, b.train)
  assert set(a.validation) == set(b.validation)
  for domain, tokens in a.validation.items():
    np.testing.assert_array_equal(tokens, b.validation[domain])


@pytest.mark.parametrize('tokenizer', [Bytes(), BPE_SPEC])
def test_a_corpus_is_read_once(tmp_path, monkeypatch, tokenizer):
  cfg = config(tmp_path, tokenizer=tokenizer)
  first = prepare(cfg)

  def documents(self):
    raise AssertionError('read again')

  monkeypatch.setattr(JSONL, 'documents', documents)
  assert_same(prepare(cfg), first)
  # What is not of the tokens does not make new ones.
  assert_same(prepare(dataclasses.replace(cfg, mask_documents=False)), first)
  for change in (
    {'validation_share': 0.2},
    {'tokenizer': Bytes(n_sentinels=1)},
  ):
    with pytest.raises(AssertionError, match='read again'):
      prepare(dataclasses.replace(cfg, **change))


def test_another_text_or_tokenizer_has_another_hash(tmp_path, dataset):
  lines = list(records())
  changed = [{**lines[0], 'text': lines[0]['text'] + '.'}, *lines[1:]]
  hashes = {
    dataset.hash,
    prepare(config(tmp_path, changed)).hash,
    prepare(config(tmp_path, tokenizer=BPE_SPEC)).hash,
    prepare(config(tmp_path, validation_share=0.3)).hash,
  }
  assert len(hashes) == 4
  assert prepare(config(tmp_path)).hash == dataset.hash


def test_a_torn_cache_is_made_again(tmp_path):
  cfg = config(tmp_path, tokenizer=BPE_SPEC)
  first = prepare(cfg)
  there = [f for f in (tmp_path / 'cache').rglob('*') if f.is_file()]
  files = {file: file.read_bytes() for file in there}
  # train, two domains and meta.json; the tokenizer and its hash
  assert len(files) == 6
  first = dataclasses.replace(
    first,
    train=np.array(first.train),
    validation={d: np.array(x) for d, x in first.validation.items()},
  )
  for file, data in files.items():
    for torn in (data[: len(data) // 2], b'', None):
      file.unlink()
      if torn is not None:
        file.write_bytes(torn)
      assert_same(prepare(cfg), first)
      assert file.read_bytes() == data


def test_a_corpus_that_fails_leaves_nothing(tmp_path):
  lines = [*records(), {'domain': 'novel'}]
  cfg = config(tmp_path, lines)
  with pytest.raises(BadInput, match='object 61 of'):
    prepare(cfg)
  assert not list((tmp_path / 'cache').iterdir())


def test_threads_that_prepare_at_once_agree(tmp_path, monkeypatch):
  cfg, n = config(tmp_path), 3
  together, write = threading.Barrier(n), store.write

  def write_together(*args):
    write(*args)
    together.wait(timeout=20)

  monkeypatch.setattr(pipeline.store, 'write', write_together)
  with concurrent.futures.ThreadPoolExecutor(n) as pool:
    found = list(pool.map(prepare, [cfg] * n))
  for one in found:
    assert_same(one, found[0])
  assert len(list((tmp_path / 'cache').iterdir())) == 1


def test_processes_that_prepare_at_once_agree(tmp_path):
  cfg = config(tmp_path)
  code = (
    'import sys;'
    'from research.data.corpora import JSONL;'
    'from research.data.pipeline import DataConfig, prepare;'
    'data = prepare(DataConfig(corpus=JSONL(path=sys.argv[1]),'
    ' validation_share=.15, cache_dir=sys.argv[2])); print(data.hash)'
  )
  folders = [str(tmp_path / 'corpus.jsonl'), str(tmp_path / 'cache')]
  runs = [
    subprocess.Popen(
      [sys.executable, '-c', code, *folders], text=True, stdout=subprocess.PIPE
    )
    for _ in range(2)
  ]
  said = {run.communicate()[0].strip() for run in runs}
  assert [run.returncode for run in runs] == [0, 0]
  assert said == {prepare(cfg).hash}
  assert len(list((tmp_path / 'cache').iterdir())) == 1


def test_large_vocabularies_are_kept_whole(tmp_path):
  small = prepare(config(tmp_path, tokenizer=BPE_SPEC))
  spec = BPE(vocab_size=70_000, n_sentinels=3)
  large = prepare(config(tmp_path, tokenizer=spec))
  assert (small.train.dtype, large.train.dtype) == (np.uint16, np.uint32)
  assert large.train.max() == large.tokenizer.bos == 69_995
  assert texts(large, large.train) == texts(small, small.train)


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


def test_an_empty_side_of_the_split_is_told(tmp_path):
  lines = list(records(5))
  places = sorted(splits.fraction(r['text']) for r in lines)
  with pytest.raises(BadInput, match='holds out none of the 5') as error:
    prepare(config(tmp_path, lines, validation_share=places[0] / 2))
  share = float(str(error.value).split('; ')[1].split()[0])
  dataset = prepare(config(tmp_path, lines, validation_share=share))
  assert sum(map(len, dataset.validation.values()))
  with pytest.raises(BadInput, match='none of the 5 documents to train on'):
    prepare(config(tmp_path, lines, validation_share=(places[-1] + 1) / 2))
  assert not prepare(config(tmp_path, lines, validation_share=0)).validation
  for share in (-0.1, 1.0, float('nan')):
    with pytest.raises(BadInput, match='validation_share='):
      config(tmp_path, lines, validation_share=share)
