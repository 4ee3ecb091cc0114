"""A Markov language: text whose entropy rate is known in closed form."""

from collections.abc import Iterator
import dataclasses
import functools
import hashlib

from jaxtyping import Float
import numpy as np

from research.config import BadInput
from research.data.documents import Document

_TABLE, _TEXT = 0, 1  # disjoint stretches of Philox's counter
_CHUNK = 1024  # documents drawn side by side
_MOST_STATES = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Markov:
  """A stationary Markov source over characters, drawn from a seed.

  The next character depends on the last `order`, by a table of weights
  (-ln u)^`sharpness` / place^`skew`: u is uniform, drawn for every context, and
  place is the character's in the alphabet, so that with a skew some characters,
  and so some contexts, are rare, as in a language. Every document is a piece of
  the stationary process, so no predictor of the true context does better than
  `entropy_rate` a character, on average, and the table itself does as well.

  What a model is measured on has this floor only where it sees `order`
  characters of the document. The yardstick's targets do, with a context that
  is longer than `order`, since its first token may be bos. The first targets
  of a document and of a validation window do not; their floor is the
  `conditional_entropy` of what they see.

  Attributes:
    order: Characters that the next one depends on.
    alphabet: The characters, each one byte.
    sharpness: How much contexts differ; at 0 they do not.
    skew: How much rarer the alphabet's last characters are than its first.
    n_documents: How many there are; more leave the first ones as they are.
    length: Characters of each.
    seed: Of table and text.
  """

  order: int = 2
  alphabet: str = ' aeinost'
  sharpness: float = 2.0
  skew: float = 0.0
  n_documents: int = 1024
  length: int = 4096
  seed: int = 0

  def __post_init__(self):
    for name in ('order', 'n_documents', 'length'):
      if getattr(self, name) < 1:
        raise BadInput(f'{name}={getattr(self, name)} must be at least 1')
    if self.seed < 0:
      raise BadInput(f'seed={self.seed} must not be negative')
    for name in ('sharpness', 'skew'):
      if not 0 <= getattr(self, name) <= 20:
        raise BadInput(f'{name}={getattr(self, name)} must be from 0 to 20')
    if (
      not self.alphabet.isascii()
      or len(set(self.alphabet)) < 2
      or (len(set(self.alphabet)) < len(self.alphabet))
    ):
      raise BadInput(
        f'alphabet={self.alphabet!r} must be two ASCII characters or more, each'
        ' once'
      )
    if self.n_states > _MOST_STATES:
      raise BadInput(
        f'order={self.order} over {len(self.alphabet)} characters makes'
        f' {self.n_states} contexts, more than {_MOST_STATES}; lower one'
      )

  @property
  def n_states(self) -> int:
    """Contexts: strings of `order` characters."""
    return len(self.alphabet) ** self.order

  @property
  def entropy_rate(self) -> float:
    """Nats a character, that is, a byte: divide by ln 2 for bits.

    Σ_s π(s) H(p(·|s)) over contexts s, where π is the stationary distribution
    (Cover and Thomas 2006, theorem 4.2.4).
    """
    return self.conditional_entropy(self.order)

  def conditional_entropy(self, context: int) -> float:
    """Nats a character that remain, the last `context` ones being known."""
    a, known = len(self.alphabet), min(context, self.order)
    joint = stationary(self)[:, None] * table(self)
    joint = joint.reshape(-1, a**known, a).sum(axis=0)
    given = joint / joint.sum(axis=1, keepdims=True)
    return float(-np.sum(joint * np.log(np.where(joint > 0, given, 1))))

  def documents(self) -> Iterator[Document]:
    """Pieces of the process, each begun in its stationary distribution."""
    letters = np.frombuffer(self.alphabet.encode('ascii'), np.uint8)
    for first in range(0, self.n_documents, _CHUNK):
      drawn = letters[_draw(self, first // _CHUNK)]
      for i, row in enumerate(drawn[: self.n_documents - first], first):
        text = row.tobytes().decode('ascii')
        yield Document(domain='markov', title=str(i), text=text)

  def content(self) -> str:
    """Hash of what decides the documents."""
    return hashlib.blake2b(repr(self).encode(), digest_size=16).hexdigest()


@functools.lru_cache(maxsize=4)
def table(source: Markov) -> Float[np.ndarray, 's a']:
  """p(next character | context); context s spells `order` digits base a."""
  shape = source.n_states, len(source.alphabet)
  weights = -np.log(_uniform(source.seed, 0, _TABLE, shape))
  weights **= source.sharpness
  weights /= np.arange(1, shape[1] + 1) ** source.skew
  return weights / weights.sum(axis=1, keepdims=True)


@functools.lru_cache(maxsize=4)
def stationary(source: Markov) -> Float[np.ndarray, ' s']:
  """The distribution π of contexts that a step leaves as it is: π P = π.

  Unique, since every character follows every context with a probability above
  0. One of the equations follows from the others; Σ π = 1 takes its place.
  """
  s, a = source.n_states, len(source.alphabet)
  state = np.repeat(np.arange(s), a)
  after = state * a % s + np.tile(np.arange(a), s)
  equations = -np.eye(s)
  np.add.at(equations, (after, state), table(source).ravel())
  equations[-1] = 1
  return np.linalg.solve(equations, np.eye(s)[-1])


def _draw(source: Markov, chunk: int) -> np.ndarray:
  """Characters' indices of a chunk of documents, [_CHUNK, length]."""
  s, a, k = source.n_states, len(source.alphabet), source.order
  shape = source.length + 1, _CHUNK
  u = _uniform(source.seed, 1 + chunk, _TEXT, shape)
  state = np.searchsorted(np.cumsum(stationary(source))[:-1], u[0])
  first = [state // a ** (k - 1 - i) % a for i in range(k)]
  steps = np.cumsum(table(source), axis=1)[:, :-1]
  rest = []
  for uniform in u[1 : source.length - k + 1]:
    following = (steps[state] < uniform[:, None]).sum(axis=1)
    state = (state * a + following) % s
    rest.append(following)
  return np.stack([*first, *rest], axis=1)[:, : source.length]


def _uniform(
  seed: int, index: int, purpose: int, shape: tuple[int, int]
) -> np.ndarray:
  """Numbers in (0, 1) from raw Philox output, of no version of samplers."""
  bits = np.random.Philox(key=[seed, index], counter=[0, 0, 0, purpose])
  raw = bits.random_raw(shape[0] * shape[1]).reshape(shape)
  return ((raw >> np.uint64(12)) + 0.5) / 2.0**52
