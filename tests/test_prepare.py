"""A corpus is tokenised once, split for good, and counted."""

import concurrent.futures
import dataclasses
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from small_corpus import config, records

from research.config import BadInput
from research.data import pipeline, splits, store
from research.data.corpora import JSONL
from research.data.pipeline import prepare
from research.data.tokenizers import BPE, Bytes

BPE_SPEC = BPE(vocab_size=280, n_sentinels=3)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  return prepare(config(tmp_path_factory.mktemp('prepare')))


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


def test_other_text_is_held_out_whole(tmp_path):
  cfg = config(tmp_path, tokenizer=BPE_SPEC)
  lines = list(records(7, seed=1))
  path = tmp_path / 'other.jsonl'
  path.write_text('\n'.join(map(json.dumps, lines)))
  other = pipeline.held_out(cfg, JSONL(path=str(path)))
  assert not other.n_train_tokens
  assert other.tokenizer.hash == prepare(cfg).tokenizer.hash
  for domain, tokens in other.validation.items():
    mine = [line['text'] for line in lines if line['domain'] == domain]
    assert texts(other, tokens) == mine
  (tmp_path / 'empty.jsonl').write_text('')
  with pytest.raises(BadInput, match='is empty'):
    pipeline.held_out(cfg, JSONL(path=str(tmp_path / 'empty.jsonl')))
