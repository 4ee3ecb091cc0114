"""A corpus of random words, which is tokenised in milliseconds."""

import json
import random

from research.data.corpora import JSONL
from research.data.pipeline import DataConfig


def records(n=60, seed=0):
  """Documents of random words, some not ASCII, in two domains."""
  draw = random.Random(seed)
  for i in range(n):
    words = [''.join(draw.choices('abcdeé—', k=4)) for _ in range(20)]
    yield {'domain': ('novel', 'speech')[i % 2], 'text': ' \n'.join(words)}


def config(folder, lines=None, **changes) -> DataConfig:
  """Reads `lines`, or `records()`, from a file in `folder`; caches there."""
  path = folder / 'corpus.jsonl'
  lines = records() if lines is None else lines
  path.write_text('\n'.join(map(json.dumps, lines)))
  fields = {'validation_share': 0.15, 'cache_dir': str(folder / 'cache')}
  return DataConfig(corpus=JSONL(path=str(path)), **(fields | changes))
