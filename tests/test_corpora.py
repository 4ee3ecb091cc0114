"""Corpora give every document, unchanged, or say in a line why not."""

import collections
import gzip
import json
import lzma
import sys

import pytest
import tensorflow_datasets as tfds

from research.config import BadInput
from research.data import splits
from research.data.corpora import JSONL, TFDS, Document, Embedded, TextFolder


@pytest.fixture(scope='module')
def embedded():
  return list(Embedded().documents())


def test_the_embedded_corpus_has_the_documents_its_provenance_tells(embedded):
  documents = collections.Counter(d.domain for d in embedded)
  assert documents == {'speech': 233, 'novel': 405, 'scripture': 1388}
  size = collections.Counter()
  for d in embedded:
    size[d.domain] += len(d.text.encode('utf-8'))
  megabytes = {domain: round(n / 1e6, 1) for domain, n in size.items()}
  assert megabytes == {'speech': 10.8, 'novel': 5.2, 'scripture': 4.9}
  assert len({d.title for d in embedded}) == len(embedded)


def test_the_builder_gives_the_embedded_documents_in_order(embedded, tmp_path):
  corpus = TFDS(name='public_domain_english', data_dir=str(tmp_path))
  assert list(corpus.documents()) == embedded
  assert list(tmp_path.rglob('*.array_record*'))
  assert 'tensorflow' not in sys.modules
  part = TFDS(
    name='public_domain_english', data_dir=str(tmp_path), split='train[:3]'
  )
  assert list(part.documents()) == embedded[:3]
  assert part.content() != corpus.content()
  with pytest.raises(BadInput, match="corpus.split='test'"):
    list(
      TFDS(
        name='public_domain_english', data_dir=str(tmp_path), split='test'
      ).documents()
    )


class TwoTexts(tfds.core.GeneratorBasedBuilder):
  """A set with two text features, one of them bytes that are not UTF-8."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    text = tfds.features.Text()
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict({'a': text, 'b': text})
    )

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    yield 0, {'a': 'one\r\n ', 'b': b'caf\xe9'}


def test_a_tfds_set_with_several_texts_asks_which(tmp_path):
  def corpus(feature):
    return TFDS(name='two_texts', feature=feature, data_dir=str(tmp_path))

  with pytest.raises(BadInput, match='has text features a, b; choose one'):
    list(corpus(None).documents())
  [document] = corpus('a').documents()
  assert document == Document(domain='two_texts', title='0', text='one\r\n ')
  with pytest.raises(BadInput, match="record 0 .*'two_texts'.* at byte 3"):
    list(corpus('b').documents())


@pytest.mark.parametrize('name', ['imdb_reviews', 'wiki40b/en'])
def test_any_tfds_text_set_is_read_by_name(name):
  with tfds.testing.mock_data(num_examples=5):
    documents = list(TFDS(name=name).documents())
    texts = [
      r['text']
      for r in tfds.builder(name, file_format='array_record').as_data_source(
        split='train'
      )
    ]
  assert [d.text for d in documents] == texts
  assert len(texts) == 5
  assert {d.domain for d in documents} == {name.partition('/')[0]}


@pytest.mark.parametrize(
  'name, said',
  [
    ('ag_new_subset', "no set 'ag_new_subset'; nearest: ag_news_subset"),
    ('wiki40c/en', "no set 'wiki40c/en'; nearest: wiki40b"),
    ('wiki40b/enn', "corpus.name='wiki40b/enn': .*not found"),
    ('lm1b:9.9.9', "corpus.name='lm1b:9.9.9': .*9.9.9"),
    ('not a name', "corpus.name='not a name': "),
    ('mnist', "'mnist' has text features none"),
  ],
)
def test_an_unknown_tfds_name_gets_one_line(name, said):
  with pytest.raises(BadInput, match=said) as error:
    TFDS(name=name).content()
  assert '\n' not in str(error.value)


def test_a_folder_gives_its_files_by_path(tmp_path):
  (tmp_path / 'news').mkdir()
  (tmp_path / 'news' / '2.txt').write_bytes('b\r\n\r\n  é'.encode())
  (tmp_path / '1.txt').write_bytes(b'a')
  (tmp_path / 'notes.md').write_bytes(b'not text')
  assert list(TextFolder(path=str(tmp_path)).documents()) == [
    Document(domain='text', title='1.txt', text='a'),
    Document(domain='news', title='news/2.txt', text='b\r\n\r\n  é'),
  ]


@pytest.mark.parametrize(
  'suffix, opener', [('', open), ('.gz', gzip.open), ('.xz', lzma.open)]
)
def test_lines_of_json_are_documents(tmp_path, suffix, opener):
  path = tmp_path / f'x.jsonl{suffix}'
  lines = [
    {'text': 'a\u2028b', 'domain': 'x', 'title': 'A'},
    {'text': 'ü', 'group': 'g', 'other': 1},
  ]
  with opener(path, 'wb') as file:
    for line in lines:
      text = json.dumps(line, ensure_ascii=False)
      file.write(text.encode('utf-8') + b'\n\n')
  assert list(JSONL(path=str(path)).documents()) == [
    Document(domain='x', title='A', text='a\u2028b'),
    Document(domain='text', title='2', text='ü', group='g'),
  ]


@pytest.mark.parametrize(
  'data, said',
  [
    (b'', 'x.jsonl is empty'),
    (
      b'{"text": "a"}\n{"text": "\xff"}\n',
      r'not UTF-8 at byte 24 \(b.\\xff.\)',
    ),
    (b'{"text": "a"}\n{"text" "a"}\n', 'line 2 of .*x.jsonl: '),
    (b'["a"]\n', 'line 1 of .*x.jsonl is not a JSON object'),
    (b'{"txt": "a"}\n', 'object 1 of .*x.jsonl has no such text; it has txt'),
    (b'{"text": "\\ud800"}\n', 'line 1 of .*x.jsonl: .*surrogates'),
    (None, 'there is no file .*x.jsonl'),
  ],
)
def test_a_bad_file_of_json_gets_one_line(tmp_path, data, said):
  path = tmp_path / 'x.jsonl'
  if data is not None:
    path.write_bytes(data)
  with pytest.raises(BadInput, match=said) as error:
    list(JSONL(path=str(path)).documents())
  assert '\n' not in str(error.value)


def test_a_torn_archive_gets_one_line(tmp_path):
  path = tmp_path / 'x.jsonl.xz'
  path.write_bytes(lzma.compress(b'{"text": "a"}\n' * 99)[:-20])
  with pytest.raises(BadInput, match='x.jsonl.xz: '):
    list(JSONL(path=str(path)).documents())


@pytest.mark.parametrize(
  'files, said',
  [
    (None, 'is not a folder'),
    ({}, r'holds no file \*\*/\*.txt'),
    ({'a.txt': b'a', 'b.txt': b''}, 'b.txt is empty'),
    ({'a.txt': b'caf\xe9 au lait'}, r'a.txt is not UTF-8 at byte 3'),
  ],
)
def test_a_bad_folder_gets_one_line(tmp_path, files, said):
  folder = tmp_path / 'texts'
  if files is not None:
    folder.mkdir()
    for name, data in files.items():
      (folder / name).write_bytes(data)
  with pytest.raises(BadInput, match=said):
    list(TextFolder(path=str(folder)).documents())


def test_content_changes_with_any_byte_and_any_name(tmp_path):
  corpus = TextFolder(path=str(tmp_path))
  path = tmp_path / 'a.txt'
  seen = set()
  for data in (b'a', b'b', b'ab'):
    path.write_bytes(data)
    seen.add(corpus.content())
  path.rename(tmp_path / 'b.txt')
  seen.add(corpus.content())
  assert len(seen) == 4
  assert corpus.content() in seen


def test_scripture_is_split_by_book_and_chapter(embedded):
  titles = [d.title for d in embedded if d.domain == 'scripture']
  held_out = [
    d.title
    for d in embedded
    if d.domain == 'scripture' and splits.in_validation(d.split_key, 0.02)
  ]
  by_verse = [
    t for t in titles if splits.in_validation(splits.chapter(f'{t}:1'), 0.02)
  ]
  assert held_out == by_verse
  # Pinned: another issue splits a verse file in two languages alike.
  assert len(held_out) == 28
  assert held_out[:4] == ['Gen 6', 'Gen 27', 'Num 16', 'Deut 3']


def test_equal_texts_fall_on_one_side_wherever_they_are():
  a = Document(domain='x', title='1', text='same')
  b = Document(domain='y', title='2', text='same')
  assert a.split_key == b.split_key


def test_the_share_held_out_is_the_share_asked_for():
  places = sorted(splits.fraction(str(i)) for i in range(10_000))
  # Kolmogorov-Smirnov against the uniform; 1.95 / sqrt(n) is p = 0.001.
  gaps = [abs(p - i / 10_000) for i, p in enumerate(places)]
  assert max(gaps) < 1.95 / 100
  for key in ('a', 'b', 'c'):
    held_out = [splits.in_validation(key, s / 100) for s in range(101)]
    assert held_out == sorted(held_out)
