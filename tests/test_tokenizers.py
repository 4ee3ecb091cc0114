"""Tokenizers lose nothing, and their ids mean what the specials say."""

import itertools
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import tokenizers as hf

from research.config import BadInput
from research.data.corpora import Embedded
from research.data.tokenizers import BPE, Bytes, TokenizerFile, Unigram

KINDS = ('bytes', 'bpe', 'unigram', 'file')
SPECS = {
  'bytes': Bytes(n_sentinels=3),
  'bpe': BPE(vocab_size=400, n_sentinels=3),
  'unigram': Unigram(vocab_size=400, n_sentinels=3),
}
# What tokenizers are known to lose: runs of spaces, line ends, the piece
# marker, ids written as text, joined emoji, text that is not composed.
HARD = (
  '  a\n\n\t b\r\n \u2581\u2581 <0x0A><unk><s> \U0001f469\u200d\U0001f680'
  ' e\u0301\0\u2585 '
)


@pytest.fixture(scope='module')
def sample():
  documents = list(Embedded().documents())
  return [d.text[:10_000] for d in documents[::100]]


@pytest.fixture(scope='module')
def models(sample):
  return {kind: spec.train(sample) for kind, spec in SPECS.items()}


@pytest.fixture(scope='module')
def loaded(models, tmp_path_factory):
  """A tokenizer of each kind; the file is a BPE with an added token."""
  path = tmp_path_factory.mktemp('tokenizer') / 'tokenizer.json'
  file = hf.Tokenizer.from_str(models['bpe'].decode())
  file.add_special_tokens(['<|endoftext|>'])
  file.post_processor = hf.processors.TemplateProcessing(
    single='<|endoftext|> $A', special_tokens=[('<|endoftext|>', 379)]
  )
  file.normalizer = hf.normalizers.NFC()
  file.save(str(path))
  spec = TokenizerFile(path=str(path), n_sentinels=3)
  made = {kind: SPECS[kind].load(models[kind]) for kind in SPECS}
  return made | {'file': spec.load(spec.train(()))}


@pytest.mark.parametrize('kind', KINDS)
@given(text=st.text() | st.text(' \n\t\u2581<0xA>ab', max_size=30))
@example(text=HARD)
@settings(max_examples=100, deadline=None)
def test_decoding_gives_the_text_back(loaded, kind, text):
  tokenizer = loaded[kind]
  ids = tokenizer.encode(text)
  assert tokenizer.decode(ids) == text
  assert tokenizer.byte_lengths[ids].sum() == len(text.encode('utf-8'))
  assert (ids < tokenizer.n_text).all()


@pytest.mark.parametrize('kind', KINDS)
def test_real_text_comes_back_in_batches_too(loaded, kind, sample):
  tokenizer = loaded[kind]
  for text, ids in zip(sample, tokenizer.encode_batch(sample), strict=True):
    np.testing.assert_array_equal(ids, tokenizer.encode(text))
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize('kind', KINDS)
def test_specials_follow_the_text_ids_and_stand_for_nothing(loaded, kind):
  tokenizer = loaded[kind]
  n = tokenizer.n_text
  specials = [tokenizer.bos, tokenizer.mask, *map(tokenizer.sentinel, range(3))]
  assert specials == list(range(n, n + 5))
  assert tokenizer.vocab_size == n + 5 == len(tokenizer.byte_lengths)
  assert not tokenizer.byte_lengths[n:].any()
  assert tokenizer.decode([*tokenizer.encode('a'), *specials]) == 'a'
  with pytest.raises(IndexError):
    tokenizer.sentinel(3)


def test_a_published_vocabulary_has_specials_of_its_own(models, tmp_path):
  path = tmp_path / 'tokenizer.json'
  file = hf.Tokenizer.from_str(models['bpe'].decode())
  names = ['<end>', '<mask>', '<x_2>', '<x_1>', '<x_0>']
  file.add_special_tokens(names)
  file.save(str(path))
  spec = TokenizerFile(path=str(path), n_sentinels=3, bos='<end>')
  made = spec.load(spec.train(()))
  ids = [file.token_to_id(name) for name in names]
  assert made.bos == ids[0] and made.vocab_size == max(ids) + 1
  assert made.byte_lengths[made.bos] == 0
  text = 'so <end> is text here, <mask> as well'
  assert not {*made.encode(text).tolist()} & {*ids}
  assert made.decode(made.encode(text)) == text
  assert made.decode(ids) == ''  # named or not
  with pytest.raises(BadInput, match='no mask'):
    _ = made.mask
  spec = TokenizerFile(
    path=str(path), n_sentinels=3, bos='<end>', mask='<mask>', sentinel='<x_0>'
  )
  made = spec.load(spec.train(()))
  assert made.mask == ids[1]
  assert [made.sentinel(i) for i in range(3)] == ids[:1:-1]
  for fields in {'bos': '<nothing>'}, {'mask': '<mask>'}:
    with pytest.raises(BadInput, match='tokenizer'):
      spec = TokenizerFile(path=str(path), **fields)
      spec.load(spec.train(()))


@pytest.mark.parametrize('kind', ['bpe', 'unigram'])
def test_the_vocabulary_has_the_size_asked_for(loaded, kind):
  assert loaded[kind].vocab_size == 400
  # Every text id can occur: none is wasted on a piece of no bytes.
  assert (loaded[kind].byte_lengths[:395] > 0).all()


@pytest.mark.parametrize('kind', ['bpe', 'unigram'])
def test_a_corpus_too_small_for_its_vocabulary_still_gets_its_size(kind):
  spec = type(SPECS[kind])(vocab_size=600, n_sentinels=3)
  tokenizer = spec.load(spec.train(['a rose is a rose is a rose']))
  assert tokenizer.vocab_size == 600
  assert tokenizer.decode(tokenizer.encode(HARD)) == HARD


@pytest.mark.parametrize('kind', ['bpe', 'unigram'])
def test_training_twice_gives_one_tokenizer(loaded, models, sample, kind):
  again = SPECS[kind].load(SPECS[kind].train(iter(sample)))
  assert again.hash == loaded[kind].hash
  assert len({tokenizer.hash for tokenizer in loaded.values()}) == len(KINDS)


def test_trained_tokenizers_pack_more_bytes_in_a_token(loaded, sample):
  text = sample[0]
  size = len(text.encode('utf-8'))
  lengths = {kind: len(loaded[kind].encode(text)) for kind in KINDS}
  assert lengths['bytes'] == size
  # Measured on the whole corpus at 512: 2.1 bytes for bpe, 1.9 for unigram.
  assert lengths['bpe'] < size / 1.5
  assert lengths['unigram'] < size / 1.4


def test_bpe_merges_as_the_definition_does(loaded, models):
  """Sennrich 2016, algorithm 1, applied a word at a time."""
  described = json.loads(models['bpe'])['model']
  ranks = {tuple(pair): i for i, pair in enumerate(described['merges'])}
  words = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
  text = 'There was no possibility of taking a walk that day, naïvely — 1847.'
  expected = []
  for word, _ in words.pre_tokenize_str(text):
    parts = list(word)
    while pairs := [p for p in itertools.pairwise(parts) if p in ranks]:
      best = min(pairs, key=ranks.__getitem__)
      i = list(itertools.pairwise(parts)).index(best)
      parts[i : i + 2] = [''.join(best)]
    expected += [described['vocab'][part] for part in parts]
  assert loaded['bpe'].encode(text).tolist() == expected


def test_a_file_keeps_its_ids_and_adds_nothing_to_the_text(loaded):
  text = 'Call me Ishmael.'
  np.testing.assert_array_equal(
    loaded['file'].encode(text), loaded['bpe'].encode(text)
  )
  [end] = loaded['file'].encode('<|endoftext|>')
  assert loaded['file'].byte_lengths[end] == 13


@pytest.mark.parametrize(
  'normalizer, words',
  [
    (hf.normalizers.Lowercase(), hf.pre_tokenizers.Whitespace()),
    (None, hf.pre_tokenizers.Whitespace()),
    (None, hf.pre_tokenizers.ByteLevel(add_prefix_space=True)),
  ],
)
def test_a_file_that_changes_text_is_refused(tmp_path, normalizer, words):
  model = hf.Tokenizer(hf.models.BPE(unk_token='<unk>'))
  if normalizer is not None:
    model.normalizer = normalizer
  model.pre_tokenizer = words
  trainer = hf.trainers.BpeTrainer(
    special_tokens=['<unk>'],
    initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  model.train_from_iterator(['Some text'], trainer)
  path = tmp_path / 'tokenizer.json'
  model.save(str(path))
  spec = TokenizerFile(path=str(path))
  with pytest.raises(BadInput, match='changes text'):
    spec.load(spec.train(()))


@pytest.mark.parametrize('left, right', [(True, False), (False, True)])
def test_a_file_that_strips_either_end_is_refused(tmp_path, left, right):
  path = tmp_path / 'tokenizer.json'
  spec = TokenizerFile(path=str(path))
  vocabulary = {f'<0x{i:02X}>': i for i in range(256)}
  model = hf.Tokenizer(hf.models.BPE(vocabulary, [], byte_fallback=True))
  model.save(str(path))
  whole = spec.load(spec.train(()))
  assert whole.decode(whole.encode(HARD)) == HARD
  model.normalizer = hf.normalizers.Strip(left=left, right=right)
  model.save(str(path))
  with pytest.raises(BadInput, match='changes text'):
    spec.load(spec.train(()))


def test_a_bad_tokenizer_file_gets_one_line(tmp_path):
  path = tmp_path / 'tokenizer.json'
  spec = TokenizerFile(path=str(path))
  with pytest.raises(BadInput, match='there is no file .*tokenizer.json'):
    spec.train(())
  for data in (b'', b'{', b'[]', b'{"model": 1}', b'\xff'):
    path.write_bytes(data)
    with pytest.raises(BadInput, match='not a tokenizer.json') as error:
      spec.load(spec.train(()))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('kind', [BPE, Unigram])
def test_a_vocabulary_without_room_for_bytes_is_refused(kind):
  with pytest.raises(BadInput, match='vocab_size=260 must be at least 27[45]'):
    kind(vocab_size=260)


def test_unigram_without_room_for_characters_says_so(sample):
  spec = Unigram(vocab_size=275)
  with pytest.raises(BadInput, match='tokenizer.vocab_size=275: ') as error:
    spec.train(sample)
  assert '\n' not in str(error.value)


def test_training_reads_only_the_sample():
  def texts():
    yield 'abcd ' * 100
    yield 'efgh ' * 100
    raise AssertionError('read past the sample')

  small = BPE(vocab_size=300, sample_bytes=600)
  assert small.load(small.train(texts())).decode([]) == ''
