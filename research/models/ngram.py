"""Modified Kneser-Ney: the n-gram language model that came before networks.

Chen and Goodman, An Empirical Study of Smoothing Techniques for Language
Modeling (1998), interpolated form with three discounts an order. A k-gram is
one unsigned integer, its tokens being digits in base `vocab_size + 1`, the last
token least significant: sorted keys are then grouped by context, and the
suffixes of an order are its keys modulo a power of the base.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from research.config import BadInput

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
_BLOCK = 1 << 22


class Order(NamedTuple):
  """What is stored of the k-grams of one length k.

  Attributes:
    grams: Sorted keys of the k-grams seen.
    counts: How often each occurs (longest order), or in how many contexts.
    contexts: Sorted keys of the contexts, k - 1 tokens each.
    totals: Sum of `counts` in each context.
    backoffs: Share of the probability that each context leaves to order k - 1.
    discounts: What is taken off a count of one, of two, of three or more.
  """

  grams: np.ndarray
  counts: np.ndarray
  contexts: np.ndarray
  totals: np.ndarray
  backoffs: np.ndarray
  discounts: tuple[float, float, float]


class NGram:
  """Token probabilities from the `order - 1` tokens before.

  A context never reaches past the separator `bos` that begins its document; a
  separator is itself predicted, from the end of the document before it. The
  shortest order is interpolated with the uniform distribution over all ids.

  Attributes:
    order: Length of the longest k-gram.
    vocab_size: Number of token ids, special ones included.
    bos: Id that begins each document, or None.
    n_tokens: Number of tokens that were counted.
    orders: One table for each length, shortest first.
  """

  architecture = 'ngram'

  def __init__(self, order: int, vocab_size: int):
    if order < 1 or vocab_size < 1:
      raise BadInput(
        f'order={order}, vocab_size={vocab_size}: both must be at least 1'
      )
    if (vocab_size + 1) ** order > 2**64:
      raise BadInput(
        f'order={order}: does not fit 64-bit keys with'
        f' vocab_size={vocab_size}; lower the order'
      )
    self.order = order
    self.vocab_size = vocab_size
    self.bos: int | None = None
    self.n_tokens = 0
    self.orders: tuple[Order, ...] = ()

  @property
  def n_params(self) -> int:
    """Number of stored counts: distinct k-grams, summed over k = 1 … order."""
    return sum(len(order.grams) for order in self.orders)

  def fit(
    self,
    tokens: np.ndarray,
    bos: int | None = None,
    max_tokens: int | None = 20_000_000,
  ) -> 'NGram':
    """Counts `tokens` [t] (a prefix of `max_tokens`) and returns the model.

    The embedded corpus in bytes (20.5 M tokens) takes 1.4 s and 0.4 GB at order
    6 on one core of an AVX-512 machine.
    """
    tokens = np.asarray(tokens)[:max_tokens]
    if not len(tokens):
      raise BadInput('tokens: an n-gram model needs at least one token')
    _check_ids(tokens, self.vocab_size)
    self.bos = bos
    self.n_tokens = len(tokens)
    grams, counts = _count(self._keys(tokens))
    orders = [self._table(self.order, grams, counts)]
    for k in range(self.order - 1, 0, -1):
      grams, counts = self._shorten(k, grams, counts)
      orders.insert(0, self._table(k, grams, counts))
    self.orders = tuple(orders)
    return self

  def log_probabilities(
    self, tokens: np.ndarray, n_text: int | None = None
  ) -> np.ndarray:
    """Natural log-probability of each of `tokens` [..., t] given those before.

    Rows are independent. With `n_text` the ids from there on are removed and
    the rest renormalised: each position is a distribution over text alone.
    """
    tokens = np.asarray(tokens)
    _check_ids(tokens, self.vocab_size)
    keys = self._keys(tokens).ravel()
    targets = tokens.reshape(-1, 1)
    if n_text is not None:
      special = np.arange(n_text, self.vocab_size)
      special = np.broadcast_to(special, (len(targets), len(special)))
      targets = np.concatenate([targets, special], axis=1)
    p = self._probabilities(keys // self._base, targets)
    total = 1.0 - p[:, 1:].sum(axis=1)
    with np.errstate(divide='ignore'):
      return np.log(p[:, 0] / total).reshape(tokens.shape)

  def distribution(self, context: Sequence[int] | np.ndarray) -> np.ndarray:
    """Probabilities [vocab_size] of what follows the tokens `context` [t]."""
    tokens = np.append(np.asarray(context, np.int64), 0)
    context_key = self._keys(tokens)[-1:] // self._base
    return self._probabilities(context_key, np.arange(self.vocab_size)[None])[0]

  @property
  def _base(self) -> np.uint64:
    return np.uint64(self.vocab_size + 1)

  def _keys(self, tokens: np.ndarray) -> np.ndarray:
    """The k-gram that ends at each token; digit `vocab_size` where none is."""
    keys = np.empty(tokens.shape, np.uint64)
    for start in range(0, tokens.shape[-1], _BLOCK):
      block = slice(start, min(start + _BLOCK, tokens.shape[-1]))
      keys[..., block] = self._block_keys(tokens, block)
    return keys

  def _block_keys(self, tokens: np.ndarray, block: slice) -> np.ndarray:
    key = tokens[..., block].astype(np.uint64)
    known = np.ones(key.shape, bool)
    absent = np.uint64(self.vocab_size)
    for lag in range(1, self.order):
      before = np.full(key.shape, absent)
      skip = max(lag - block.start, 0)
      if skip < key.shape[-1]:
        part = tokens[..., block.start + skip - lag : block.stop - lag]
        before[..., skip:] = np.where(known[..., skip:], part, absent)
      key += before * self._base**lag
      known &= before != absent
      if self.bos is not None:
        known &= before != np.uint64(self.bos)
    return key

  def _shorten(self, k: int, grams: np.ndarray, counts: np.ndarray):
    """The k-grams that end the (k+1)-grams, and the contexts each occurs in.

    A k-gram before which there is nothing (it begins a document) keeps its
    number of occurrences, as no context could tell them apart.
    """
    power = self._base**k
    first = len(grams) - _n_from(grams, self.vocab_size * int(power))
    alone, occurrences = grams[first:] % power, counts[first:]
    suffixes, contexts = _count(grams % power)
    contexts[np.searchsorted(suffixes, alone)] += occurrences - 1
    return suffixes, contexts

  def _table(self, k: int, grams: np.ndarray, counts: np.ndarray) -> Order:
    absent = self.vocab_size * int(self._base ** (k - 1))
    known = len(grams) - _n_from(grams, absent)
    grams, counts = grams[:known], counts[:known]
    discounts = kneser_ney_discounts(np.bincount(np.minimum(counts, 5))[1:5])
    contexts = grams // self._base
    starts = np.flatnonzero(_is_first(contexts))
    totals = np.add.reduceat(counts, starts) if known else counts
    taken = np.asarray(discounts)[np.minimum(counts, 3) - 1]
    taken = np.add.reduceat(taken, starts) if known else taken
    return Order(
      grams, counts, contexts[starts], totals, taken / totals, discounts
    )

  def _probabilities(
    self, contexts: np.ndarray, targets: np.ndarray
  ) -> np.ndarray:
    """Probability of each target [n, m] after the full-length context [n]."""
    p = np.full(targets.shape, 1.0 / self.vocab_size)
    targets = targets.astype(np.uint64)
    for k, order in enumerate(self.orders, start=1):
      context = contexts % self._base ** (k - 1)
      at, seen = _find(order.contexts, context)
      rows = np.flatnonzero(seen)
      at = at[rows]
      gram, hit = _find(
        order.grams, context[rows, None] * self._base + targets[rows]
      )
      counts = np.where(hit, order.counts[gram], 0)
      taken = np.asarray((0.0, *order.discounts))[np.minimum(counts, 3)]
      p[rows] *= order.backoffs[at, None]
      p[rows] += (counts - taken) / order.totals[at, None]
    return p


def kneser_ney_discounts(n: np.ndarray) -> tuple[float, float, float]:
  """Discounts D1, D2, D3+ from counts of counts, Chen and Goodman (1998).

  With Y = n1 / (n1 + 2 n2): D_i = i - (i + 1) Y n_{i+1} / n_i. Where a count of
  counts is nought or a D_i leaves [0, i] (short orders over few ids have no
  rare k-grams) the three are FALLBACK_DISCOUNTS, as in KenLM.

  Args:
    n: Number of k-grams that occur once, twice, three and four times; missing
      entries count as nought.
  """
  n = np.append(n, np.zeros(4))[:4].astype(float)
  if not n.all():
    return FALLBACK_DISCOUNTS
  y = n[0] / (n[0] + 2 * n[1])
  d1, d2, d3 = (i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3))
  if not (0 <= d1 <= 1 and 0 <= d2 <= 2 and 0 <= d3 <= 3):
    return FALLBACK_DISCOUNTS
  return float(d1), float(d2), float(d3)


def _check_ids(tokens: np.ndarray, vocab_size: int) -> None:
  if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocab_size:
    raise BadInput(
      f'tokens: ids {tokens.min()} to {tokens.max()} do not fit'
      f' vocab_size={vocab_size}; use the tokenizer the model was made for'
    )


def _is_first(x: np.ndarray) -> np.ndarray:
  """Where a sorted array begins a run of equal values."""
  first = np.ones(len(x), bool)
  np.not_equal(x[1:], x[:-1], out=first[1:])
  return first


def _count(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Distinct `keys`, sorted, and how often each occurs; sorts in place."""
  keys.sort()
  starts = np.flatnonzero(_is_first(keys))
  return keys[starts], np.diff(starts, append=len(keys))


def _n_from(keys: np.ndarray, least: int) -> int:
  """How many of the sorted `keys` are at least `least`."""
  return len(keys) - int(np.searchsorted(keys, np.uint64(least)))


def _find(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """An index into sorted `table` for each key, and whether it is there."""
  if not len(table):
    return np.zeros(keys.shape, np.intp), np.zeros(keys.shape, bool)
  at = np.minimum(np.searchsorted(table, keys), len(table) - 1)
  return at, table[at] == keys
