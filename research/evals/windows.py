"""Windows: the rows of held-out tokens that native validation reads."""

from typing import NamedTuple

import numpy as np

from research.data.tokenizers import Tokenizer


class Windows(NamedTuple):
  """Rows of one domain's validation tokens.

  Attributes:
    index: Position of each token in the domain, [r, window + 1].
    tokens: Token ids, bos beyond the domain's end, [r, window + 1].
    scored: Which of the tokens after a row's first are text, [r, window].
  """

  index: np.ndarray
  tokens: np.ndarray
  scored: np.ndarray


def windows(
  tokens: np.ndarray,
  tokenizer: Tokenizer,
  window: int,
  n_tokens: int,
  *,
  fill: bool = True,
) -> Windows:
  """Rows of a domain: all of them, or an even spread of `n_tokens` tokens.

  The rows overlap in one token, the first's target being the next's context,
  so that all rows together predict each token but the first once. What is left
  over at the end fills part of a row if `fill`, or if there is no whole one.
  """
  whole = (len(tokens) - 1) // window
  n_rows = -(-(len(tokens) - 1) // window) if fill else max(whole, 1)
  wanted = max(n_tokens // window, 1)
  first = np.arange(n_rows)
  if n_rows > wanted:
    first = (np.arange(wanted) * 2 + 1) * whole // (2 * wanted)
  index = first[:, None] * window + np.arange(window + 1)
  inside = index < len(tokens)
  index = np.minimum(index, len(tokens) - 1)
  rows = np.where(inside, tokens[index], tokenizer.bos).astype(np.int32)
  follows = rows[:, 1:]
  text = (follows < tokenizer.n_text) & (follows != tokenizer.bos)
  scored = inside[:, 1:] & text
  return Windows(index, rows, scored)
