"""Which documents are held out: a function of a document's own hash."""

import hashlib


def fraction(key: str) -> float:
  """`key` hashed to a number in [0, 1), the same on every machine."""
  digest = hashlib.blake2b(key.encode('utf-8'), digest_size=8).digest()
  return int.from_bytes(digest, 'big') / 2**64


def in_validation(key: str, share: float) -> bool:
  """Whether what `key` names is held out when `share` of documents is.

  A key held out at one share is held out at every larger one. For scripture
  the key is book and chapter (`Gen 1`), so that a verse file in two
  languages can be split as the corpus is: see `chapter`.
  """
  return fraction(key) < share


def chapter(reference: str) -> str:
  """Book and chapter of a verse: `Gen 1:3` gives `Gen 1`."""
  return reference.rpartition(':')[0]
