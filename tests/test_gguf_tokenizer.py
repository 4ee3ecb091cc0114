"""A sentencepiece vocabulary in a GGUF file gives sentencepiece's own ids."""

import shutil

import pytest
import sentencepiece
import small_gguf
import small_imports
import small_tokenizers

from research.interop import exporting, imported, source
from research.study import loaded

TEXTS = (
  'The whale',
  ' the sea  and\n\nthe ship ',
  'naïve — “quoted” 日本 \U0001f469\u200d\U0001f680\t½',
  'dcba abcdabcd eeee éaébéc',
  '<s> </s> <unk> <0x0A>',
  '',
)


@pytest.fixture(scope='module')
def pieces():
  """A vocabulary of LLaMA 2's kind: merges, bytes, nothing normalised."""
  model = small_tokenizers.trained(
    model_type='bpe',
    vocab_size=400,
    byte_fallback=True,
    normalization_rule_name='identity',
    remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True,
    unk_id=0,
    bos_id=1,
    eos_id=2,
    pad_id=-1,
  )
  found = sentencepiece.SentencePieceProcessor()
  found.LoadFromSerializedProto(model)
  return found


def kind(pieces, i: int) -> int:
  """llama.cpp's type of a piece."""
  asked = pieces.IsUnknown, pieces.IsControl, pieces.IsByte
  types = (2, 3, 6)
  return next((t for t, is_ in zip(types, asked, strict=True) if is_(i)), 1)


def written(pieces, folder, model='llama', **told):
  """A tiny LLaMA with that vocabulary as a GGUF file; its path."""
  cfg = small_gguf.config(vocab_size=len(pieces))
  exporting.write(folder / 'theirs', small_imports.filled(cfg))
  ids = range(len(pieces))

  def tell(writer):
    writer.add_tokenizer_model(model)
    writer.add_token_list([pieces.IdToPiece(i) for i in ids])
    writer.add_token_scores([pieces.GetScore(i) for i in ids])
    writer.add_token_types([kind(pieces, i) for i in ids])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    for name, value in told.items():
      getattr(writer, name)(value)

  small_gguf.write(folder / 'theirs', folder / 'model.gguf', 'F32', tell=tell)
  return folder / 'model.gguf'


@pytest.fixture(scope='module')
def folder(pieces, tmp_path_factory):
  here = tmp_path_factory.mktemp('gguf')
  found = source.read(str(written(pieces, here)))
  _, said = imported.write(here / 'ours', found, 'a')
  assert said == 'its tokenizer changes text'
  return here


def test_ids_are_those_of_sentencepiece(pieces, folder):
  tokenizer = loaded.load(folder / 'ours').tokenizer
  for text in (*TEXTS, *small_tokenizers.texts()):
    assert tokenizer.encode(text).tolist() == pieces.EncodeAsIds(text), text
    assert tokenizer.decode(tokenizer.encode(text)) == text
  bytes_used = sum(map(pieces.IsByte, pieces.EncodeAsIds(TEXTS[2])))
  assert bytes_used > 10


def test_a_text_begins_with_bos_and_ends_with_nothing(folder):
  frame = loaded.load(folder / 'ours').frame
  assert (frame.before, frame.after, frame.ends) == ((1,), (), (2,))


def test_what_the_file_says_of_spaces_and_specials_is_done(pieces, tmp_path):
  path = written(
    pieces,
    tmp_path,
    add_add_space_prefix=False,
    add_add_bos_token=False,
    add_add_eos_token=True,
  )
  imported.write(tmp_path / 'ours', source.read(str(path)), 'a')
  _, tokenizer, frame, *_ = loaded.load(tmp_path / 'ours')
  assert (frame.before, frame.after) == ((), (2,))
  mark = pieces.PieceToId('\u2581')
  assert tokenizer.encode(' a').tolist() == pieces.EncodeAsIds('a')
  assert mark not in tokenizer.encode('a').tolist()


def test_another_kind_of_vocabulary_is_read_from_beside_the_file(
  pieces, folder, tmp_path
):
  path = written(pieces, tmp_path, model='rwkv')
  _, said = imported.write(tmp_path / 'ours', source.read(str(path)), 'a')
  assert said == 'no tokenizer.json: text cannot be read'
  shutil.copy(folder / 'ours' / 'tokenizer.json', tmp_path)
  made, _ = imported.write(tmp_path / 'b', source.read(str(path)), 'a')
  known = imported.read(folder / 'ours').tokenizer
  assert made.tokenizer is not None and known is not None
  assert made.tokenizer.bos == known.bos == '<s>'


@pytest.mark.parity
def test_transformers_reads_the_same_ids_from_the_file(folder):
  transformers = pytest.importorskip('transformers')
  theirs = transformers.AutoTokenizer.from_pretrained(
    folder, gguf_file='model.gguf'
  )
  ours = loaded.load(folder / 'ours')
  for text in map(str.lstrip, (*TEXTS[:4], *small_tokenizers.texts())):
    # Before a space transformers puts none, where sentencepiece does.
    expected = theirs(text)['input_ids']
    assert ours.frame.around(ours.tokenizer.encode(text)) == expected, text
