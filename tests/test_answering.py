"""What a model says and what it finds likely agree, for all architectures."""

import itertools

import numpy as np
import pytest
from test_yardstick import NETWORKS, TINY, C, L, contexts, model_of

from research.config import BadInput
from research.data.tokenizers import Tokenizer
from research.evals import answering, yardstick

TOKENIZER = Tokenizer(list, [b'a', b'b', b'c'], TINY.n_sentinels, b'')
EVERY = [np.array(t) for t in itertools.product(range(TINY.n_text), repeat=L)]


def ragged(n):
  """Contexts of different lengths, each beginning with bos."""
  draw = np.random.default_rng(3)
  lengths = draw.integers(1, C + 1, n)
  return [
    np.array([TINY.bos, *draw.integers(0, TINY.n_text, length - 1)])
    for length in lengths
  ]


@pytest.mark.parametrize('name', NETWORKS)
def test_scores_are_those_of_the_yardstick(name):
  model, rows = model_of(name), contexts(6)
  targets = np.random.default_rng(2).integers(0, TINY.n_text, (6, L))
  expected = yardstick.log_probabilities(model, rows, targets, TINY)
  found = answering.scores(model, list(rows), list(targets), TINY)
  np.testing.assert_allclose([s.log_p for s in found], expected, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_texts_of_a_length_have_probability_one_in_all(name):
  model, (context,) = model_of(name), ragged(1)
  found = answering.scores(model, [context] * len(EVERY), EVERY, TINY)
  total = np.exp([s.log_p.sum() for s in found]).sum()
  assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_neighbours_and_padding_change_no_score(name):
  model, asked = model_of(name), ragged(35)
  targets = [np.arange(1 + i % L) % TINY.n_text for i in range(35)]
  together = answering.scores(model, asked, targets, TINY)
  rows = list(zip(asked, targets, together, strict=True))
  for context, target, score in rows[:3] + rows[-3:]:
    (alone,) = answering.scores(model, [context], [target], TINY, slot=L)
    np.testing.assert_allclose(score.log_p, alone.log_p, atol=2e-5)
    assert score.log_p.shape == target.shape


@pytest.mark.parametrize('name', NETWORKS)
def test_an_answer_is_the_text_whose_every_token_is_best(name):
  model, asked = model_of(name), ragged(5)
  said = answering.answers(model, asked, L, TOKENIZER)
  for context, answer in zip(asked, said, strict=True):
    found = answering.scores(model, [context] * len(EVERY), EVERY, TINY)
    whole = [
      text.tolist()
      for text, score in zip(EVERY, found, strict=True)
      if score.best.all()
    ]
    assert whole == [answer.tolist()]


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_texts_are_drawn_as_often_as_they_are_likely(name):
  model, (context,) = model_of(name), ragged(1)
  n = 2000
  said = answering.answers(
    model, [context] * n, 2, TOKENIZER, temperature=1.0, seed=1
  )
  pairs = [np.array(p) for p in itertools.product(range(TINY.n_text), repeat=2)]
  found = answering.scores(model, [context] * len(pairs), pairs, TINY)
  for pair, score in zip(pairs, found, strict=True):
    p = np.exp(score.log_p.sum())
    share = np.mean([np.array_equal(text, pair) for text in said])
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-3


def test_seeds_draw_other_texts_and_the_same_again():
  model, asked = model_of('decoder'), ragged(40)
  draw = [
    np.stack(
      answering.answers(model, asked, L, TOKENIZER, temperature=1.0, seed=s)
    )
    for s in (0, 0, 1)
  ]
  assert np.array_equal(draw[0], draw[1])
  assert not np.array_equal(draw[0], draw[2])


@pytest.mark.parametrize(
  ('name', 'context', 'message'),
  [
    ('decoder', C + 3, 'a prompt of 8 tokens and 3 for its answer'),
    ('encoder_decoder', C + L + 2, 'a prompt of 10 tokens and 1 for'),
  ],
)
def test_a_prompt_that_does_not_fit_is_refused(name, context, message):
  with pytest.raises(BadInput, match=message):
    answering.answers(model_of(name), [np.zeros(context, int)], L, TOKENIZER)
