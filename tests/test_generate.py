"""Generation equals choosing a token, reading everything anew, and so on."""

import functools
import json

import by_hand
import jax
import numpy as np
import pytest
import small_imports
import variants

from research.config import BadInput
from research.data.tokenizers import Tokenizer
from research.inference import frame as frames
from research.inference import stopping
from research.inference.generate import Generation, generate
from research.inference.text import Text, shown
from research.interop import exporting, imported, source
from research.models.config import Learned
from research.study import loaded

PIECES = [b'a', b'b', b'ab', b'ba', b'bb', b'c', b'aca', 'é'.encode()[:1]]
VOCABULARY = Tokenizer(lambda texts: [], PIECES, 3, b'pieces')
PROMPTS = [[0, 3, 2], [1, 1, 4, 0, 5], [6]]


@functools.cache
def made(architecture: str, **changes):
  cfg = variants.config(
    architecture,
    'grouped',
    vocab_size=VOCABULARY.vocab_size,
    seq_len=32,
    **changes,
  )
  return by_hand.perturbed(variants.build(cfg))


def frame(architecture: str) -> frames.Frame:
  return frames.ours(architecture, VOCABULARY.specials)


def written(architecture='decoder', prompts=PROMPTS, **how) -> list[list[Text]]:
  return generate(
    made(architecture),
    prompts,
    Generation(**{'max_tokens': 12} | how),
    frame=frame(architecture),
    tokenizer=VOCABULARY,
  )


forward = jax.jit(lambda model, batch: model(batch))


def next_logits(architecture: str, prompt, tokens) -> np.ndarray:
  """By the uncached path, in rows padded to one width."""
  around = frame(architecture)

  def side(ids, prefix=''):
    row = np.zeros((1, 32), np.int32)
    row[0, : len(ids)] = ids
    there = (np.arange(32) < len(ids)).astype(np.int32)[None]
    index = np.arange(32, dtype=np.int32)[None]
    names = 'tokens', 'segments', 'positions'
    return {
      prefix + name: x
      for name, x in zip(names, (row, there, index), strict=True)
    }

  read = around.around(prompt)
  if architecture == 'decoder':
    batch, n = side([*read, *tokens]), len(read) + len(tokens)
  else:
    target = [*around.start, *tokens]
    batch, n = side(read) | side(target, 'decoder_'), len(target)
  logits = forward(made(architecture), batch)
  return np.asarray(logits[0, n - 1], np.float64)


def greedy(architecture: str, prompt, n: int, penalty=1.0, presence=0.0):
  """The most probable token, then the next, with its log-probabilities."""
  around, tokens, log_probs = frame(architecture), [], []
  paired = architecture == 'encoder_decoder'
  first = around.start if paired else around.around(prompt)
  for _ in range(n):
    logits = next_logits(architecture, prompt, tokens)
    log_p = logits - np.log(np.exp(logits).sum())
    for i in range(len(logits)):
      if i in first or i in tokens:
        logits[i] *= 1 / penalty if logits[i] > 0 else penalty
      logits[i] -= presence * (i in tokens)
      if i >= around.n_text and i not in around.ends:
        logits[i] = -np.inf
    tokens.append(int(logits.argmax()))
    log_probs.append(log_p[tokens[-1]])
    if tokens[-1] in around.ends:
      break
  return tokens, log_probs


@pytest.mark.parametrize('architecture', ['decoder', 'encoder_decoder'])
def test_greedy_text_is_that_of_the_uncached_path(architecture):
  texts = written(architecture, temperature=0.0)
  for prompt, (text,) in zip(PROMPTS, texts, strict=True):
    tokens, log_probs = greedy(architecture, prompt, 12)
    np.testing.assert_array_equal(text.tokens, tokens)
    np.testing.assert_allclose(text.log_probs, log_probs, rtol=0, atol=2e-5)


@pytest.mark.parametrize('architecture', ['decoder', 'encoder_decoder'])
def test_penalties_count_what_the_writing_stack_has_read(architecture):
  how = {'temperature': 0.0, 'repetition_penalty': 1.5, 'presence_penalty': 0.6}
  texts = written(architecture, **how)
  assert texts[0][0].tokens.tolist() != greedy(architecture, PROMPTS[0], 12)[0]
  for prompt, (text,) in zip(PROMPTS, texts, strict=True):
    tokens, _ = greedy(architecture, prompt, 12, 1.5, 0.6)
    np.testing.assert_array_equal(text.tokens, tokens)


@pytest.mark.parity
@pytest.mark.parametrize('kind', ['llama', 't5'])
def test_transformers_writes_the_same_under_a_repetition_penalty(
  kind, tmp_path
):
  torch = pytest.importorskip('torch', reason='pip install -e .[parity]')
  transformers = pytest.importorskip('transformers')
  found = loaded.load(small_imports.write(kind, tmp_path))
  name = 'Seq2SeqLM' if kind == 't5' else 'CausalLM'
  theirs = getattr(transformers, f'AutoModelFor{name}').from_pretrained(
    tmp_path / 'theirs'
  )
  prompts = [found.tokenizer.encode(p) for p in ('the whale', 'a ship, a sea')]
  how = Generation(max_tokens=12, temperature=0.0, repetition_penalty=1.7)
  texts = generate(
    found.model, prompts, how, frame=found.frame, tokenizer=found.tokenizer
  )
  for prompt, (text,) in zip(prompts, texts, strict=True):
    read = torch.tensor([found.frame.around(prompt)])
    said = (
      theirs.eval()
      .generate(
        read,
        attention_mask=torch.ones_like(read),
        max_new_tokens=12,
        do_sample=False,
        repetition_penalty=1.7,
        # Ids that pad the table and stand for nothing.
        suppress_tokens=list(
          range(found.frame.n_text, small_imports.SIZES[kind])
        ),
      )[0]
      .tolist()
    )
    skipped = len(found.frame.start) or read.shape[1]
    assert text.tokens.tolist() == said[skipped:]


def test_any_of_several_ends_is_one(tmp_path):
  found = loaded.load(small_imports.write('llama', tmp_path))
  prompt = found.tokenizer.encode('the whale')
  how = Generation(max_tokens=12, temperature=0.0)

  def write(found):
    names = {'frame': found.frame, 'tokenizer': found.tokenizer}
    return generate(found.model, [prompt], how, **names)[0][0]

  free = write(found)
  ends = {'eos_token_id': [2, int(free.tokens[3])]}
  path = tmp_path / 'theirs' / 'generation_config.json'
  path.write_text(json.dumps(ends))
  imported.write(tmp_path / 'more', source.read(str(tmp_path / 'theirs')), '')
  again = loaded.load(tmp_path / 'more')
  assert again.frame.ends == tuple(ends['eos_token_id'])
  cut = write(again)
  first = free.tokens.tolist().index(ends['eos_token_id'][1])
  assert cut.finish == 'end' and len(cut.tokens) <= first + 1 < 12
  exporting.write(tmp_path / 'out', again.model, again.tokenizer)
  out = tmp_path / 'out' / 'generation_config.json'
  assert json.loads(out.read_text()) == ends


def ended(text: Text, stops, start=0) -> tuple[list[int], bytes]:
  """The tokens up to the first that completes a stop, and the bytes before."""
  skipped = len(VOCABULARY.decode_bytes(text.tokens[:start]))
  for n in range(start + 1, len(text.tokens) + 1):
    said = VOCABULARY.decode_bytes(text.tokens[:n])[skipped:]
    ends = [said.find(s) + len(s) for s in stops if s in said]
    if ends:
      first = min(
        (said.find(s) + len(s), said.find(s)) for s in stops if s in said
      )[1]
      return text.tokens[:n].tolist(), said[:first]
  return text.tokens.tolist(), VOCABULARY.decode_bytes(text.tokens)[skipped:]


@pytest.mark.parametrize(
  ('stops', 'start'),
  [(('bab',), 0), (('cc', 'bba', 'abb'), 0), (('ca', 'bc', 'ac'), 4)],
)
def test_a_stop_string_ends_a_text_also_across_token_borders(stops, start):
  how = {'num_return': 8, 'temperature': 1.5, 'seed': 4}
  free, stopped = written(**how), written(**how, stop=stops, min_tokens=start)
  coded, across = [s.encode() for s in stops], 0
  for before, after in zip(sum(free, []), sum(stopped, []), strict=True):
    if before.finish == 'end' and len(before.tokens) <= start:
      continue  # There it may not end, and another token was drawn.
    tokens, said = ended(before, coded, start)
    np.testing.assert_array_equal(after.tokens, tokens)
    head = VOCABULARY.decode_bytes(after.tokens[:start])
    assert after.text == (head + said).decode(errors='replace')
    if after.finish == 'stop':
      last = VOCABULARY.decode_bytes(after.tokens[-1:])
      across += not any(s in last for s in coded)
  assert across > 0


def test_the_automaton_finds_what_a_search_of_the_bytes_finds():
  rng = np.random.default_rng(0)
  for _ in range(200):
    stops = [
      bytes(rng.choice([97, 98], rng.integers(1, 5)).tolist())
      for _ in range(rng.integers(1, 4))
    ]
    table, state = stopping.automaton(stops, PIECES), 0
    said = b''
    for token in rng.integers(0, len(PIECES), 12):
      state = table[state, token]
      said += PIECES[token]
      found = any(stop in said for stop in stops)
      assert (state == len(table) - 1) == found


def test_no_end_is_written_before_min_tokens():
  how = {'num_return': 8, 'temperature': 2.0, 'seed': 1}
  around = frame('decoder')
  free, held = written(**how), written(**how, min_tokens=9)
  assert min(len(t.tokens) for t in sum(free, [])) < 9
  for text in sum(held, []):
    assert not set(text.tokens[:9].tolist()) & set(around.ends)
    assert (text.finish == 'end') == (text.tokens[-1] in around.ends)


@pytest.mark.slow
def test_a_text_depends_on_its_seed_and_place_alone():
  how = {'num_return': 2, 'seed': 5}
  first = written(**how)
  alone = generate(
    made('decoder'),
    PROMPTS,
    Generation(max_tokens=12, **how),
    frame=frame('decoder'),
    tokenizer=VOCABULARY,
    batch_size=1,
  )
  other = written(num_return=2, seed=6)

  def tokens(texts):
    return [t.tokens.tolist() for t in sum(texts, [])]

  assert tokens(first) == tokens(alone) != tokens(other)
  assert all(a.tokens.tolist() != b.tokens.tolist() for a, b in first)


def test_no_program_is_compiled_for_a_length_or_a_parameter(monkeypatch):
  model, traced = made('decoder'), []
  extend = type(model).extend

  def counted(self, cache, tokens, segments, layers):
    traced.append(tokens.shape)
    return extend(self, cache, tokens, segments, layers)

  monkeypatch.setattr(type(model), 'extend', counted)
  for n, temperature in ((3, 0.5), (6, 0.7), (9, 1.1)):
    written(
      prompts=[[1] * n],
      temperature=temperature,
      top_p=temperature / 2,
      max_tokens=n,
      seed=n,
      stop=('c' * n,),
    )
    assert len(traced) == 2  # Prompts are read by one, and written on by one.


def test_what_is_shown_while_writing_stays():
  heard = []
  texts = generate(
    made('decoder'),
    PROMPTS[:2],
    Generation(max_tokens=12, min_tokens=12, seed=2),
    frame=frame('decoder'),
    tokenizer=VOCABULARY,
    listen=lambda texts: heard.append([shown(t, ()) for t in texts]),
  )
  assert len(heard) > 1 and heard[0] != heard[-1]
  for now in heard:
    for part, (whole,) in zip(now, texts, strict=True):
      assert whole.text.startswith(part)
  unsure = Text('so ab', np.zeros(3, int), np.zeros(3), 'length')
  assert shown(unsure, ('abc', 'x')) == 'so '
  assert shown(unsure._replace(finish='stop'), ('abc',)) == 'so ab'


@pytest.mark.parametrize(
  ('how', 'says'),
  [
    ({'max_tokens': 0}, 'max_tokens=0: choose at least 1'),
    ({'max_tokens': 10**12}, 'max_tokens=1000000000000: choose at most'),
    ({'seed': 2**32}, 'seed=4294967296: choose 0 or more'),
    ({'seed': -1}, 'seed=-1: choose 0 or more'),
    ({'min_tokens': 99}, 'min_tokens=99 is more than max_tokens=64: lower it'),
    ({'stop': ('',)}, 'stop: an empty string'),
    ({'num_return': 0}, 'num_return=0: choose at least 1'),
    ({'num_return': 2, 'temperature': 0.0}, 'num_return=2: at temperature=0'),
  ],
)
def test_what_cannot_be_written_is_refused_in_one_line(how, says):
  with pytest.raises(BadInput, match=says):
    Generation(**how)


def test_models_without_a_cache_or_positions_are_refused_in_one_line():
  def ask(model, n):
    generate(
      model,
      [[1] * n],
      Generation(max_tokens=8),
      frame=frame('decoder'),
      tokenizer=VOCABULARY,
    )

  with pytest.raises(BadInput, match='architecture=encoder: writes no text'):
    ask(made('encoder'), 3)
  with pytest.raises(BadInput, match='max_tokens=8: a prompt of 26 ids'):
    ask(made('decoder', position=Learned()), 25)
