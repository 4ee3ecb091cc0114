"""Pieces: the bytes that an entry of a vocabulary file stands for."""

import functools


@functools.cache
def _byte_of() -> dict[str, int]:
  """The byte that each character of a byte-level vocabulary stands for.

  GPT-2's table: printable Latin-1 stands for itself, the rest follow from 256.
  """
  printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
  others = [byte for byte in range(256) if byte not in printable]
  return {chr(byte): byte for byte in printable} | {
    chr(256 + i): byte for i, byte in enumerate(others)
  }


def byte_level(piece: str) -> bytes:
  """The bytes of a byte-level piece: a character each."""
  return bytes(_byte_of()[character] for character in piece)


def word_piece(piece: str, inside: str) -> bytes:
  """The bytes of a WordPiece: a space before all that do not go on a word."""
  within = piece.removeprefix(inside)
  return (f' {piece}' if within == piece else within).encode('utf-8')


def marked(piece: str) -> bytes:
  """The bytes of a sentencepiece: `<0x0A>` is a byte, U+2581 a space."""
  if len(piece) == 6 and piece.startswith('<0x') and piece.endswith('>'):
    return bytes([int(piece[3:5], 16)])
  return piece.replace('\u2581', ' ').encode('utf-8')
