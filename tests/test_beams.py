"""Beam search finds what a search through all texts finds."""

import functools
import itertools

import by_hand
import jax
import numpy as np
import pytest
import variants

from research.config import BadInput
from research.data.specials import Specials
from research.data.tokenizers import Tokenizer
from research.inference import frame as frames
from research.inference.beams import BeamSearch, search
from research.inference.generate import Generation, generate

VOCABULARY = Tokenizer(lambda texts: [], [b'a', b'b', b'c'], 3, b'abc')
FRAME = frames.ours('encoder_decoder', Specials(n_text=3, n_sentinels=3))
LONGEST = 3
PROMPTS = [[0, 2, 1, 1], [2]]


@functools.cache
def made(architecture='encoder_decoder'):
  cfg = variants.config(architecture, 'buckets', vocab_size=8)
  return by_hand.perturbed(variants.build(cfg), seed=1)


@functools.cache
def log_probabilities(place: int) -> dict[tuple[int, ...], np.ndarray]:
  """log p of each token after each text, read in one uncached pass."""
  texts = [
    text
    for n in range(LONGEST)
    for text in itertools.product(range(3), repeat=n)
  ]
  n, source = len(texts), FRAME.around(PROMPTS[place])

  def side(rows, width, prefix=''):
    tokens, segments = np.zeros((2, n, width), np.int32)
    for i, row in enumerate(rows):
      tokens[i, : len(row)], segments[i, : len(row)] = row, 1
    positions = np.tile(np.arange(width, dtype=np.int32), (n, 1))
    names = f'{prefix}tokens', f'{prefix}segments', f'{prefix}positions'
    return dict(zip(names, (tokens, segments, positions), strict=True))

  targets = [[*FRAME.start, *text] for text in texts]
  batch = side([source] * n, 8) | side(targets, LONGEST, 'decoder_')
  log_p = np.asarray(jax.nn.log_softmax(made()(batch)), np.float64)
  return {text: log_p[i, len(text)] for i, text in enumerate(texts)}


def total(place: int, text) -> float:
  log_p = log_probabilities(place)
  return sum(log_p[text[:i]][token] for i, token in enumerate(text))


def every_text(penalty: float, least: int, place: int):
  """Every finished text with its score, best first."""
  texts = [
    (*text, end)
    for n in range(least, LONGEST)
    for text in itertools.product(range(3), repeat=n)
    for end in FRAME.ends
  ]
  texts += itertools.product(range(3), repeat=LONGEST)
  scored = [(total(place, t) / len(t) ** penalty, t) for t in texts]
  return sorted(scored, reverse=True)


def found(**how):
  return search(
    made(),
    PROMPTS,
    BeamSearch(max_tokens=LONGEST, **how),
    frame=FRAME,
    tokenizer=VOCABULARY,
  )


@pytest.mark.parametrize(('penalty', 'least'), [(0.0, 0), (1.0, 0), (0.6, 2)])
def test_enough_beams_find_the_best_of_all_texts(penalty, least):
  how = {'length_penalty': penalty, 'min_tokens': least}
  texts = found(n_beams=9, num_return=9, **how)
  for place in range(2):
    expected = every_text(penalty, least, place)[:9]
    assert [tuple(t.tokens.tolist()) for t in texts[place]] == [
      text for _, text in expected
    ]
    for text, (score, _) in zip(texts[place], expected, strict=True):
      ours = text.log_probs.sum() / len(text.tokens) ** penalty
      np.testing.assert_allclose(ours, score, rtol=0, atol=1e-5)


def few_beams(k: int, penalty: float, place: int):
  """The search as its docstring tells it, a list at a time."""
  alive, finished = [((), 0.0)], []
  for n in range(1, LONGEST + 1):
    log_p = log_probabilities(place)
    grown = [((*t, i), s + log_p[t][i]) for t, s in alive for i in range(3)]
    finished += [
      ((*t, end), (s + log_p[t][end]) / n**penalty)
      for t, s in alive
      for end in FRAME.ends
    ]
    alive = sorted(grown, key=lambda x: -x[1])[:k]
  finished += [(t, s / LONGEST**penalty) for t, s in alive]
  return [t for t, _ in sorted(finished, key=lambda x: -x[1])[:k]]


@pytest.mark.parametrize('penalty', [0.0, 1.0])
def test_few_beams_find_what_a_plain_search_with_as_many_finds(penalty):
  texts = found(n_beams=2, num_return=2, length_penalty=penalty)
  for place in range(2):
    assert [tuple(t.tokens.tolist()) for t in texts[place]] == few_beams(
      2, penalty, place
    )


@pytest.mark.parametrize('architecture', ['decoder', 'encoder_decoder'])
def test_one_beam_that_may_not_end_writes_what_greedy_choice_writes(
  architecture,
):
  rules = {'max_tokens': 6, 'min_tokens': 6}
  around = frames.ours(architecture, VOCABULARY.specials)
  asked = {'frame': around, 'tokenizer': VOCABULARY}
  for prompts in (PROMPTS[:1], PROMPTS):
    sought = search(
      made(architecture), prompts, BeamSearch(n_beams=1, **rules), **asked
    )
    greedy = generate(
      made(architecture), prompts, Generation(temperature=0.0, **rules), **asked
    )
    for (one,), (other,) in zip(sought, greedy, strict=True):
      np.testing.assert_array_equal(one.tokens, other.tokens)


@pytest.mark.parametrize(
  ('how', 'says'),
  [
    ({'n_beams': 0}, 'n_beams=0: choose at least 1'),
    ({'num_return': 5}, 'num_return=5 is more than n_beams=4: lower it'),
    ({'n_beams': 10**12}, 'n_beams=1000000000000: choose at most'),
    ({'length_penalty': 100.0}, 'length_penalty=100.0: float32 does not'),
    ({'length_penalty': -1.0}, 'length_penalty=-1.0: choose 0 or'),
  ],
)
def test_what_cannot_be_sought_is_refused_in_one_line(how, says):
  with pytest.raises(BadInput, match=says):
    BeamSearch(**how)
