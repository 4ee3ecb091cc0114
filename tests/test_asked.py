"""Evaluations ask published models in the frames that these were trained in."""

import json

import numpy as np
import pytest
import small_imports
from test_families import forward
import tokenizers as hf

from research.data.items import Item, Prompt, Template
from research.data.tokenizers import Bytes
from research.evals import outputs, yardstick
from research.evals.prompts import Posed
from research.inference import frame as frames
from research.inference.rows import padded
from research.inference.score import score
from research.study import loaded

KINDS = ('llama', 't5', 'bert')
CONTEXTS = ('The whale', 'the sea, the ship and', 'it was')
TARGETS = ('captain’s', 'to stay', 'the sea')


@pytest.fixture(scope='module')
def models(tmp_path_factory):
  return {
    kind: small_imports.write(kind, tmp_path_factory.mktemp(kind), scale=0.7)
    for kind in KINDS
  }


def ours(folder):
  model, tokenizer, _ = loaded.load(folder)[:3]

  def logits(read, written=None):
    sides = {'': read} if written is None else {'': read, 'decoder_': written}
    batch = {}
    for side, ids in sides.items():
      rows = padded([ids], 32)._asdict()
      batch |= {f'{side}{name}': x for name, x in rows.items()}
    length = len(read if written is None else written)
    return np.asarray(forward(model, batch)[0, :length], np.float64)

  return logits, tokenizer.n_text


def theirs(folder):
  """The same by transformers, which knows nothing of our frames."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  source = folder.parent / 'theirs'
  told = json.loads((source / 'config.json').read_text())
  head = {'t5': 'Seq2SeqLM', 'bert': 'MaskedLM', 'llama': 'CausalLM'}
  auto = getattr(transformers, f'AutoModelFor{head[told["model_type"]]}')
  model = auto.from_pretrained(source).eval()

  def logits(read, written=None):
    rows = {'input_ids': torch.tensor([read])}
    if written is not None:
      rows['decoder_input_ids'] = torch.tensor([written])
    with torch.no_grad():
      return model(**rows).logits[0].double().numpy()

  return logits, loaded.load(folder).tokenizer.n_text


def log_p(logits: np.ndarray, token: int, n_text: int) -> float:
  said = logits[:n_text]
  return said[token] - np.log(np.exp(said - said.max()).sum()) - said.max()


def by_hand(kind, file, model, context: str, target, slot=0) -> list[float]:
  """log p of each of the target's ids, as each family is documented.

  The library puts its own specials around the text; T5's spans are asked for by
  <extra_id_0> (Raffel et al. 2020), BERT's by [MASK].
  """
  logits, n_text = model
  encoded = hf.Tokenizer.from_str(file)
  found, name = [], encoded.token_to_id
  for i, token in enumerate(target):
    if kind == 'llama':
      read = [*encoded.encode(context).ids, *target[:i]]
      row = logits(read)[-1]
    elif kind == 't5':
      *read, end = encoded.encode(context).ids
      assert end == name('</s>')
      first = name('<extra_id_0>')
      row = logits([*read, first, end], [name('<pad>'), first, *target[:i]])[-1]
    else:
      *read, end = encoded.encode(context).ids
      assert read[0] == name('[CLS]') and end == name('[SEP]')
      masks = [name('[MASK]')] * (max(slot, len(target)) - i)
      row = logits([*read, *target[:i], *masks, end])[len(read) + i]
    found.append(log_p(row, token, n_text))
  return found


def compared(kind, models, model):
  found = loaded.load(models[kind])
  file = found.tokenizer.model.decode()
  frame = frames.asking(found.model.cfg.architecture, found.tokenizer)
  targets = [found.tokenizer.continued(text) for text in TARGETS]
  contexts = found.tokenizer.encode_batch(CONTEXTS)
  pairs = list(zip(contexts, targets, strict=True))
  scored = score(found.model, pairs, frame)
  for one, context, target in zip(scored, CONTEXTS, targets, strict=True):
    expected = by_hand(kind, file, model, context, target.tolist())
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(one.text, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_a_target_is_asked_for_in_the_family_s_own_frame(kind, models):
  compared(kind, models, ours(models[kind]))


@pytest.mark.parity
@pytest.mark.parametrize('kind', KINDS)
def test_transformers_finds_a_target_as_likely(kind, models):
  compared(kind, models, theirs(models[kind]))


@pytest.mark.parametrize('kind', KINDS)
def test_the_yardstick_reads_a_piece_of_a_document_in_that_frame(kind, models):
  """Whether the piece begins with the pipeline's separator or not."""
  model, tokenizer = loaded.load(models[kind])[:2]
  file, (target,) = tokenizer.model.decode(), [tokenizer.encode('whale')[:2]]
  context = tokenizer.encode(CONTEXTS[1])
  expected = by_hand(
    kind, file, ours(models[kind]), CONTEXTS[1], target.tolist()
  )
  for row in (context, np.array([tokenizer.bos, *context])):
    (found,) = yardstick.log_probabilities(
      model, row[None], target[None], tokenizer
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
  'kind', ['t5', 'bert', pytest.param('llama', marks=pytest.mark.slow)]
)
def test_tasks_are_asked_in_that_frame(kind, models):
  items = Item('the', 'sea', 'sea'), Item('a', 'ship', 'a')
  template, prompts = Template(ask='{question}'), tuple(map(Prompt, items))
  posed = Posed('short', 'plain', 0, template, prompts, None, False)
  model, tokenizer = loaded.load(models[kind])[:2]
  found = outputs.outputs(model, posed, tokenizer)
  targets = [
    tokenizer.continued(posed.template.reply.format(answer=one['answer']))
    for one in found
  ]
  slot = max(map(len, targets))
  for one, text, target in zip(found, posed.texts, targets, strict=True):
    expected = by_hand(
      kind,
      tokenizer.model.decode(),
      ours(models[kind]),
      text,
      target.tolist(),
      slot,
    )
    np.testing.assert_allclose(one['log_p'], expected, rtol=0, atol=1e-4)


def test_an_answer_of_a_t5_ends_with_its_span(models):
  tokenizer = loaded.load(models['t5']).tokenizer
  name = hf.Tokenizer.from_str(tokenizer.model.decode()).token_to_id
  frame = frames.asking('encoder_decoder', tokenizer)
  assert set(frame.ends) == {name('</s>'), name('<extra_id_1>')}
  assert frames.told(frame, tokenizer) == (
    '; framed: <extra_id_0> </s> after, <pad> <extra_id_0> read first by the'
    ' decoder'
  )


def test_our_models_are_asked_in_the_frame_of_their_training():
  letters = Bytes(n_sentinels=2).load(b'')
  for architecture in ('decoder', 'encoder', 'encoder_decoder'):
    frame = frames.asking(architecture, letters)
    assert frame == frames.ours(architecture, letters.specials)
    assert frames.told(frame, letters) == ''
