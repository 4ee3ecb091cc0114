"""Frames are what a published tokenizer puts around a text."""

import json

import numpy as np
import pytest
import tokenizers

from experiments import generate
from research.config import BadInput
from research.data.tokenizer_file import library
from research.data.tokenizers import Bytes, TokenizerFile
from research.inference import chat, stopping
from research.inference.frame import Frame, published
from research.study.loaded import Loaded


def load(tmp_path, around, **named):
  """A byte-level tokenizer whose template is `around`."""
  words = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  made = tokenizers.Tokenizer(tokenizers.models.BPE())
  made.pre_tokenizer = words  # pyright: ignore[reportAttributeAccessIssue]
  made.decoder = tokenizers.decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=260,
    initial_alphabet=sorted(words.alphabet()),
    special_tokens=['<s>', '</s>', '<mask>'],
    show_progress=False,
  )
  made.train_from_iterator(['a text'], trainer)
  if around:
    made.post_processor = tokenizers.processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
      single=around, special_tokens=[('<s>', 0), ('</s>', 1)]
    )
  path = tmp_path / 'tokenizer.json'
  path.write_text(json.dumps(json.loads(made.to_str())))
  spec = TokenizerFile(path=str(path), n_sentinels=0, **named)
  return spec.load(spec.train(()))


@pytest.mark.parametrize(
  ('architecture', 'around', 'named', 'expected'),
  [
    ('decoder', None, {'bos': '<s>'}, ((), (), (), (0,))),
    ('decoder', '<s> $A', {'bos': '<s>', 'eos': '</s>'}, ((0,), (), (), (1,))),
    ('encoder', '<s> $A </s>', {'bos': '<s>'}, ((0,), (1,), (), ())),
    (
      'encoder_decoder',
      '$A </s>',
      {'bos': '<s>', 'eos': '</s>'},
      ((), (1,), (0,), (1,)),
    ),
  ],
)
def test_a_published_model_reads_its_own_specials(
  tmp_path, architecture, around, named, expected
):
  found = published(architecture, load(tmp_path, around, **named))
  assert (found.before, found.after, found.start, found.ends) == expected
  assert found.mask is None


def test_specials_are_named_by_conversations_and_by_no_other_text(tmp_path):
  tokenizer = load(tmp_path, None, bos='<s>', eos='</s>')
  assert chat.special_names(tokenizer) == {
    'bos_token': '<s>',
    'eos_token': '</s>',
  }
  said = chat.render(
    '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}',
    [{'role': 'user', 'content': 'a'}],
    **chat.special_names(tokenizer),
  )
  (letter,) = tokenizer.encode('a')
  assert chat.encode(tokenizer, said) == [0, letter, 1]
  assert tokenizer.decode(tokenizer.encode(said)) == '<s>a</s>'


TEMPLATE = (
  '{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}'
  '{{ eos_token }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}'
)


def asked(tokenizer, template=TEMPLATE) -> Loaded:
  frame = published('decoder', tokenizer)
  return Loaded(None, tokenizer, frame, {}, template)


def test_a_prompt_may_be_a_user_s_message_in_the_model_s_template(tmp_path):
  tokenizer = load(tmp_path, '<s> $A', bos='<s>', eos='</s>')
  spelled = [tokenizer.encode(part) for part in ('user: hi', 'a:')]
  expected = [0, *spelled[0], 1, *spelled[1]]
  assert generate.conversed('hi', asked(tokenizer)) == expected
  with pytest.raises(BadInput, match='--chat: the model has no chat template'):
    generate.conversed('hi', asked(tokenizer, None))


@pytest.mark.parity
def test_transformers_puts_a_message_in_the_same_ids(tmp_path):
  transformers = pytest.importorskip('transformers', reason='[parity]')
  tokenizer = load(tmp_path, '<s> $A', bos='<s>', eos='</s>')
  theirs = transformers.PreTrainedTokenizerFast(
    tokenizer_file=str(tmp_path / 'tokenizer.json'),
    bos_token='<s>',
    eos_token='</s>',
    chat_template=TEMPLATE,
  )
  said = theirs.apply_chat_template(
    [{'role': 'user', 'content': 'hi </s>'}], add_generation_prompt=True
  )
  assert generate.conversed('hi </s>', asked(tokenizer)) == said['input_ids']


def test_a_prompt_may_name_specials_and_is_framed_once(tmp_path):
  found = asked(load(tmp_path, '<s> $A', bos='<s>', eos='</s>'))
  (letter,) = found.tokenizer.encode('a')
  for prompt in ('a</s>a<mask>', '<s>a</s>a<mask>'):
    ids = generate.named(prompt, found)
    assert found.frame.around(ids) == [0, letter, 1, letter, 2]
  ours = Bytes().load(b'')
  with pytest.raises(BadInput, match='--specials: the specials of this run'):
    generate.named('a', Loaded(None, ours, Frame(256), {}))


def test_an_empty_prompt_s_refusal_tells_of_the_tokenizer(tmp_path):
  around = asked(load(tmp_path, None, bos='<s>')).frame
  with pytest.raises(BadInput, match='its tokenizer puts no bos in front'):
    around.around([])


def test_a_special_that_a_stop_string_names_stops(tmp_path):
  tokenizer = load(tmp_path, None, bos='<s>')  # of which no text has a mask
  mask = library(tokenizer).token_to_id('<mask>')
  assert tokenizer.decode([mask]) == ''
  table = stopping.of(('<mask>', 'b'), tokenizer, tokenizer.vocab_size)
  (letter,) = tokenizer.encode('b')
  last = len(table) - 1
  assert set(np.flatnonzero(table[0] == last)) == {mask, letter}
