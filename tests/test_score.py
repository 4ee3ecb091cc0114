"""Scores equal the yardstick's, and one forward pass a token."""

import functools

import by_hand
import jax
import numpy as np
import pytest
import variants

from research.config import BadInput
from research.data.tokenizers import Tokenizer
from research.evals import yardstick
from research.inference import frame as frames
from research.inference.fill import fill
from research.inference.score import score
from research.models.config import Learned

LETTERS = Tokenizer(lambda texts: [], [b'%c' % c for c in b'abcdef'], 2, b'')
SPECIALS = LETTERS.specials
ARCHITECTURES = ('decoder', 'encoder', 'encoder_decoder')
PAIRS = [
  ([0, 3, 2], [1, 5]),
  ([1], [4, 4, 0, 2]),
  ([], [3]),
  ([5, 5, 5, 5, 2, 1, 0, 3, 2, 2, 1, 4], [0, 1, 2, 3, 4, 5]),
  ([2], []),
]


@functools.cache
def made(architecture: str, **changes):
  cfg = variants.config(
    architecture, vocab_size=SPECIALS.vocab_size, seq_len=32, **changes
  )
  return by_hand.perturbed(variants.build(cfg))


forward = jax.jit(lambda model, batch: model(batch))


def logits_of(model, read, source=()) -> np.ndarray:
  """The logits of one row, padded to 32."""

  def side(ids, prefix=''):
    row = np.zeros((1, 32), np.int32)
    row[0, : len(ids)] = ids
    there = (np.arange(32) < len(ids)).astype(np.int32)[None]
    index = np.arange(32, dtype=np.int32)[None]
    return {
      f'{prefix}tokens': row,
      f'{prefix}segments': there,
      f'{prefix}positions': index,
    }

  batch = side(read)
  if source:
    batch = side(source) | side(read, 'decoder_')
  return np.asarray(forward(model, batch)[0], np.float64)


def one_by_one(architecture: str, context, target):
  """Logits of each target token, by the method's own words."""
  model, s = made(architecture), SPECIALS
  for i in range(len(target)):
    if architecture == 'decoder':
      read = [s.bos, *context, *target[:i]]
      yield logits_of(model, read)[len(read) - 1]
    elif architecture == 'encoder':
      known = [s.bos, *context, *target[:i]]
      read = [*known, *[s.mask] * (len(target) - i)]
      yield logits_of(model, read)[len(known)]
    else:
      source = [s.bos, *context, s.sentinel(0)]
      read = [s.sentinel(0), *target[:i]]
      yield logits_of(model, read, source)[i]


def log_softmax(x):
  return x - np.log(np.exp(x - x.max()).sum()) - x.max()


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_ragged_pairs_score_as_one_pass_a_token(architecture):
  around = frames.ours(architecture, SPECIALS)
  found = score(made(architecture), PAIRS, around, batch_tokens=64)
  for (context, target), ours in zip(PAIRS, found, strict=True):
    assert len(ours.full) == len(ours.text) == len(ours.best) == len(target)
    every = one_by_one(architecture, context, target)
    for i, logits in enumerate(every):
      full, text = log_softmax(logits), log_softmax(logits[:6])
      np.testing.assert_allclose(ours.full[i], full[target[i]], atol=2e-5)
      np.testing.assert_allclose(ours.text[i], text[target[i]], atol=2e-5)
      assert ours.best[i] == (logits[:6].argmax() == target[i])


@pytest.mark.slow
@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_spans_score_as_by_the_yardstick(architecture):
  rng = np.random.default_rng(0)
  contexts = rng.integers(0, 6, (5, 7)).astype(np.int32)
  targets = rng.integers(0, 6, (5, 4)).astype(np.int32)
  contexts[:, 0] = SPECIALS.bos
  expected = yardstick.log_probabilities(
    made(architecture), contexts, targets, LETTERS
  )
  pairs = [(c[1:], t) for c, t in zip(contexts, targets, strict=True)]
  around = frames.ours(architecture, SPECIALS)
  found = score(made(architecture), pairs, around)
  assert np.std(expected) > 0.3
  np.testing.assert_allclose(
    np.stack([one.text for one in found]), expected, rtol=0, atol=2e-5
  )


def test_too_long_a_pair_is_refused_in_one_line():
  with pytest.raises(BadInput, match='33 ids do not fit the 32 positions'):
    score(
      made('decoder', position=Learned()),
      [([1] * 30, [2] * 3)],
      frames.ours('decoder', SPECIALS),
    )


def test_masks_are_filled_from_left_to_right_by_what_is_most_probable():
  around = frames.ours('encoder', SPECIALS)
  ids = [0, SPECIALS.mask, 3, SPECIALS.mask, 5]
  filled = fill(made('encoder'), ids, around, LETTERS, top_k=3)
  for place, guesses in zip((1, 3), filled.guesses, strict=True):
    logits = logits_of(made('encoder'), [SPECIALS.bos, *ids])[1 + place, :6]
    p = np.exp(log_softmax(logits))
    best = np.argsort(-p)[:3]
    assert [g.token for g in guesses] == best.tolist()
    assert [g.text for g in guesses] == ['abcdef'[i] for i in best]
    np.testing.assert_allclose([g.probability for g in guesses], p[best], 1e-4)
    ids[place] = int(best[0])
  assert filled.ids == ids


def test_what_cannot_be_filled_is_refused_in_one_line():
  around = frames.ours('encoder', SPECIALS)
  with pytest.raises(BadInput, match='architecture=decoder: fills no masks'):
    fill(made('decoder'), [SPECIALS.mask], around, LETTERS)
  with pytest.raises(BadInput, match='prompt: there is no mask to fill'):
    fill(made('encoder'), [1, 2], around, LETTERS)
