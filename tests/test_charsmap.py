"""A T5's tokenizer.json folds characters as sentencepiece, and is measured."""

from typing import Any

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
import small_tokenizers
import tokenizers as hf

from research.data.lossy import Lossy
from research.data.tokenizers import TokenizerFile

# Ligature, fractions, widths, a circle, accents apart, spaces of all kinds, a
# space of no width, characters of control, what no piece has.
FOLDED = (
  'The ﬁsh ½ ＴＨＥ ｗｈａｌｅ ①',
  'nai\u0308ve cafe\u0301 \u212b',
  ' the\u00a0sea\u3000 and\u2003\tthe\r\n\nship ',
  'the\u200bwhale\u00ad\ufeff stay\x00 up\x7f',
  '日本 \U0001f469\u200d\U0001f680 ™ “…”',
)


@pytest.fixture(scope='module')
def theirs():
  """A vocabulary of T5's kind, by sentencepiece's own trainer."""
  return small_tokenizers.trained(
    vocab_size=120, pad_id=0, eos_id=1, unk_id=2, bos_id=-1
  )


@pytest.fixture(scope='module')
def ours(theirs, tmp_path_factory):
  """The same as a tokenizer.json, with the parts that T5's has."""
  told: Any = sentencepiece_model_pb2.ModelProto()
  told.ParseFromString(theirs)
  pieces = [(one.piece, one.score) for one in told.pieces]
  made: Any = hf.Tokenizer(hf.models.Unigram(pieces, unk_id=2))
  made.normalizer = hf.normalizers.Precompiled(
    told.normalizer_spec.precompiled_charsmap
  )
  made.pre_tokenizer = hf.pre_tokenizers.Sequence(
    [hf.pre_tokenizers.WhitespaceSplit(), hf.pre_tokenizers.Metaspace()]
  )
  made.decoder = hf.decoders.Metaspace()
  path = tmp_path_factory.mktemp('t5') / 'tokenizer.json'
  made.save(str(path))
  spec = TokenizerFile(path=str(path), bos='<pad>', eos='</s>', n_sentinels=0)
  return spec.load(spec.train(()))


def test_ids_are_those_of_sentencepiece(theirs, ours):
  said = sentencepiece.SentencePieceProcessor()
  said.LoadFromSerializedProto(theirs)
  assert isinstance(ours, Lossy) and ours.unknown == 2
  for text in (*FOLDED, *small_tokenizers.texts()):
    assert ours.encode(text).tolist() == said.EncodeAsIds(text), text


def test_all_bytes_of_the_text_as_it_was_are_counted(ours):
  for text in FOLDED:
    found = ours.measured(text)
    assert found.ids.tolist() == ours.encode(text).tolist()
    assert (found.n_bytes >= 0).all()
    assert found.n_bytes.sum() == len(text.encode('utf-8'))
    assert found.n_words.sum() == len(text.encode('utf-8').split())
