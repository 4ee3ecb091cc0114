"""What a model says and what it finds likely agree, for all architectures."""

import itertools

import numpy as np
import pytest
from test_yardstick import LETTERS, NETWORKS, TINY, C, L, contexts, model_of

from research.config import BadInput
from research.evals import answering, yardstick
from research.inference import frame as frames
from research.inference.score import score

EVERY = [np.array(t) for t in itertools.product(range(TINY.n_text), repeat=L)]


def ragged(n):
  """Contexts of different lengths, some empty."""
  draw = np.random.default_rng(3)
  return [draw.integers(0, TINY.n_text, m) for m in draw.integers(0, C, n)]


def frame(name):
  return frames.asking(name, LETTERS)


def scores(name, asked, targets, **how):
  pairs = list(zip(asked, targets, strict=True))
  return score(model_of(name), pairs, frame(name), **how)


def answers(name, asked, slot, **how):
  return answering.answers(
    model_of(name), asked, slot, frame(name), LETTERS, **how
  )


@pytest.mark.parametrize('name', NETWORKS)
def test_scores_are_those_of_the_yardstick(name):
  rows = contexts(6)
  rows[:, 0] = TINY.bos
  targets = np.random.default_rng(2).integers(0, TINY.n_text, (6, L))
  expected = yardstick.log_probabilities(model_of(name), rows, targets, LETTERS)
  found = scores(name, rows[:, 1:], targets, batch_size=4)
  np.testing.assert_allclose([s.text for s in found], expected, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_texts_of_a_length_have_probability_one_in_all(name):
  (context,) = ragged(1)
  found = scores(name, [context] * len(EVERY), EVERY)
  total = np.exp([s.text.sum() for s in found]).sum()
  assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_neighbours_and_padding_change_no_score(name):
  asked = ragged(35)
  targets = [np.arange(1 + i % L) % TINY.n_text for i in range(35)]
  together = scores(name, asked, targets, slot=L, batch_size=32)
  rows = list(zip(asked, targets, together, strict=True))
  for context, target, one in rows[:3] + rows[-3:]:
    (alone,) = scores(name, [context], [target], slot=L)
    np.testing.assert_allclose(one.text, alone.text, atol=2e-5)
    assert one.text.shape == target.shape


@pytest.mark.parametrize('name', NETWORKS)
def test_an_answer_is_the_text_whose_every_token_is_best(name):
  asked = ragged(5)
  said = answers(name, asked, L)
  for context, answer in zip(asked, said, strict=True):
    found = scores(name, [context] * len(EVERY), EVERY)
    whole = [
      text.tolist()
      for text, one in zip(EVERY, found, strict=True)
      if one.best.all()
    ]
    assert whole == [answer.tolist()]


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_texts_are_drawn_as_often_as_they_are_likely(name):
  (context,) = ragged(1)
  n = 2000
  said = answers(name, [context] * n, 2, temperature=1.0, seed=1)
  pairs = [np.array(p) for p in itertools.product(range(TINY.n_text), repeat=2)]
  found = scores(name, [context] * len(pairs), pairs)
  for pair, one in zip(pairs, found, strict=True):
    p = np.exp(one.text.sum())
    share = np.mean([np.array_equal(text, pair) for text in said])
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-3


def test_seeds_draw_other_texts_and_the_same_again():
  asked = ragged(40)
  draw = [
    np.stack(answers('decoder', asked, L, temperature=1.0, seed=s))
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
    answers(name, [np.zeros(context - 1, int)], L)
