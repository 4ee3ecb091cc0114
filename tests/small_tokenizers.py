"""Tiny tokenizers of the three kinds that change text, as published ones do."""

import functools
import io
import json
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
import small_corpus
import tokenizers as hf

WORDS = 'The sea, the whale and the captain’s ship: it was naïve to stay up.'
KINDS = ('llama', 't5', 'bert')
_BYTES = [f'<0x{i:02X}>' for i in range(256)]


def texts() -> list[str]:
  """What they are trained on."""
  return [WORDS, *(one['text'] for one in small_corpus.records())]


def llama() -> str:
  """Merges over whole texts, bytes where they fail: LLaMA 2's, vocabulary 420.

  A space is put in front and every space marked; `<s>` begins a text.
  """
  made: Any = hf.Tokenizer(
    hf.models.BPE(byte_fallback=True, fuse_unk=True, unk_token='<unk>')
  )
  made.normalizer = hf.normalizers.Sequence(
    [hf.normalizers.Prepend('▁'), hf.normalizers.Replace(' ', '▁')]
  )
  # Only to learn words: the published file has none.
  made.pre_tokenizer = hf.pre_tokenizers.Split(hf.Regex('(?=▁)'), 'isolated')
  made.decoder = hf.decoders.Sequence(
    [
      hf.decoders.Replace('▁', ' '),
      hf.decoders.ByteFallback(),
      hf.decoders.Fuse(),
      hf.decoders.Strip(' ', 1, 0),
    ]
  )
  trainer = hf.trainers.BpeTrainer(
    vocab_size=420,
    special_tokens=['<unk>', '<s>', '</s>', *_BYTES],
    limit_alphabet=40,
    show_progress=False,
  )
  made.train_from_iterator(texts(), trainer)
  made.post_processor = hf.processors.TemplateProcessing(
    single='<s> $A', special_tokens=[('<s>', 1)]
  )
  told = json.loads(made.to_str()) | {'pre_tokenizer': None}
  added = [t for t in told['added_tokens'] if t['content'] not in _BYTES]
  return json.dumps(told | {'added_tokens': added})


def trained(**how: Any) -> bytes:
  """What sentencepiece's own trainer makes of the texts."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.Train(
    sentence_iterator=iter(texts()),
    model_writer=model,
    num_threads=1,
    minloglevel=2,
    **how,
  )
  return model.getvalue()


@functools.cache
def charsmap() -> bytes:
  """How sentencepiece folds characters by default (nmt_nfkc), T5's among them.

  A trie of some 240 kB that its trainer puts into every model.
  """
  told: Any = sentencepiece_model_pb2.ModelProto()
  told.ParseFromString(trained(vocab_size=60, hard_vocab_limit=False))
  return told.normalizer_spec.precompiled_charsmap


def t5() -> str:
  """Unigrams after folding characters and spaces: T5's, with 10 sentinels."""
  made: Any = hf.Tokenizer(hf.models.Unigram())
  made.normalizer = hf.normalizers.Precompiled(charsmap())
  made.pre_tokenizer = hf.pre_tokenizers.Sequence(
    [hf.pre_tokenizers.WhitespaceSplit(), hf.pre_tokenizers.Metaspace()]
  )
  made.decoder = hf.decoders.Metaspace()
  trainer = hf.trainers.UnigramTrainer(
    vocab_size=120,
    special_tokens=['<pad>', '</s>', '<unk>'],
    unk_token='<unk>',
    show_progress=False,
  )
  made.train_from_iterator(texts(), trainer)
  made.add_special_tokens([f'<extra_id_{i}>' for i in reversed(range(10))])
  made.post_processor = hf.processors.TemplateProcessing(
    single='$A </s>', special_tokens=[('</s>', 1)]
  )
  return made.to_str()


def bert() -> str:
  """WordPieces of lowered text: BERT's uncased, vocabulary 200."""
  made: Any = hf.Tokenizer(hf.models.WordPiece(unk_token='[UNK]'))
  made.normalizer = hf.normalizers.BertNormalizer(lowercase=True)
  made.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
  made.decoder = hf.decoders.WordPiece()
  trainer = hf.trainers.WordPieceTrainer(
    vocab_size=200,
    special_tokens=['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'],
    show_progress=False,
  )
  made.train_from_iterator(texts(), trainer)
  made.post_processor = hf.processors.TemplateProcessing(
    single='[CLS] $A [SEP]', special_tokens=[('[CLS]', 2), ('[SEP]', 3)]
  )
  return made.to_str()
