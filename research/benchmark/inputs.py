"""The tokens that both sides read: drawn alike, from the same seed."""

from typing import Any

import numpy as np


def language(order: dict[str, Any]) -> dict[str, np.ndarray]:
  """A batch of random tokens: `tokens`, `targets` and `weights` [b, t].

  A decoder predicts each next token. An encoder predicts 15 % of those it
  reads. An encoder-decoder reads `tokens` [b, s] and predicts each of its
  `targets` [b, t] from those before, beginning with id 0.
  """
  draw = np.random.default_rng(0)
  vocab, batch = order['vocab'], order['batch']

  def ids(length):
    return draw.integers(1, vocab, (batch, length), dtype=np.int32)

  match order['architecture']:
    case 'decoder':
      both = ids(order['length'] + 1)
      tokens, targets = both[:, :-1], both[:, 1:]
      weights = np.ones(targets.shape, np.float32)
    case 'encoder':
      tokens = targets = ids(order['length'])
      weights = (draw.random(tokens.shape) < 0.15).astype(np.float32)
    case _:
      tokens, targets = ids(order['length']), ids(order['target_length'])
      weights = np.ones(targets.shape, np.float32)
  return {'tokens': tokens, 'targets': targets, 'weights': weights}


def prompts(order: dict[str, Any]) -> np.ndarray:
  """Random prompts, [b, t]."""
  draw = np.random.default_rng(1)
  shape = order['batch'], order['prompt']
  return draw.integers(1, order['n_text'], shape, dtype=np.int32)
