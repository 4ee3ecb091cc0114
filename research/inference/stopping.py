"""Stop strings as an automaton over tokens, so that decoding need not pause.

A stop string may begin within one token and end within another. Each token
moves the automaton by all its bytes, so a table [state, token] is enough to
see, on the device, that a stop string is complete.
"""

import collections
from collections.abc import Iterator, Sequence
import functools

from jaxtyping import Int
import numpy as np

from research.data.tokenizer_file import library
from research.data.tokenizers import Tokenizer

_STEP = 16
"""States are filled up to a multiple: similar stops share a program."""


@functools.lru_cache(maxsize=16)
def of(
  stops: tuple[str, ...], tokenizer: Tokenizer, vocab_size: int
) -> Int[np.ndarray, 's v']:
  """The automaton of some stop strings over a model's ids."""
  pieces = [
    tokenizer.decode_bytes([i]) if i < tokenizer.vocab_size else b''
    for i in range(vocab_size)
  ]
  for i, name in _specials(stops, tokenizer):
    pieces[i] = name
  return automaton([stop.encode() for stop in stops], pieces)


def _specials(
  stops: Sequence[str], tokenizer: Tokenizer
) -> Iterator[tuple[int, bytes]]:
  """Ids that stand for no text, but whose whole name is a stop string."""
  if tokenizer.specials.own is None:
    return
  for name in stops:
    i = library(tokenizer).token_to_id(name)
    if i is not None and not tokenizer.decode_bytes([i]):
      yield i, name.encode()


def automaton(
  stops: Sequence[bytes], pieces: Sequence[bytes]
) -> Int[np.ndarray, 's v']:
  """The state after each token in each state; it begins in 0.

  The last state is the one in which some stop string has been completed; it
  is never left. (Aho & Corasick 1975, with all ends merged into one.)

  Args:
    stops: Strings, none of them empty.
    pieces: The bytes of each token.
  """
  goto = _byte_table(stops)
  width = max(map(len, pieces))
  text = np.zeros((len(pieces), width), np.uint8)
  for row, piece in zip(text, pieces, strict=True):
    row[: len(piece)] = np.frombuffer(piece, np.uint8)
  lengths = np.array([len(piece) for piece in pieces])
  state = np.tile(np.arange(len(goto))[:, None], (1, len(pieces)))
  for i in range(width):
    longer = np.flatnonzero(lengths > i)
    state[:, longer] = goto[state[:, longer], text[longer, i]]
  return state.astype(np.int32)


def _byte_table(stops: Sequence[bytes]) -> np.ndarray:
  """The state after each byte in each state, [s, 256]."""
  children: list[dict[int, int]] = [{}]
  ends = set()
  for stop in stops:
    state = 0
    for byte in stop:
      if byte not in children[state]:
        children[state][byte] = len(children)
        children.append({})
      state = children[state][byte]
    ends.add(state)
  size = -(-(len(children) + 1) // _STEP) * _STEP
  goto, fallback = np.zeros((size, 256), np.int64), [0] * len(children)
  queue = collections.deque([0])
  while queue:  # by depth, so that what a state falls back to is known
    state = queue.popleft()
    if fallback[state] in ends:
      ends.add(state)
    goto[state] = goto[fallback[state]] if state else 0
    for byte, child in children[state].items():
      fallback[child] = int(goto[state, byte])
      goto[state, byte] = child
      queue.append(child)
  goto[np.isin(goto, sorted(ends))] = size - 1
  goto[size - 1] = size - 1
  return goto


def cut(text: bytes, stops: Sequence[bytes], start: int = 0) -> bytes:
  """`text` up to where the first stop string ends it, sought from `start`.

  What is completed first ends the text, even within another stop string.
  """
  found = [
    (at + len(stop), at)
    for stop in stops
    if (at := text.find(stop, start)) >= 0
  ]
  return text[: min(found)[1]] if found else text
