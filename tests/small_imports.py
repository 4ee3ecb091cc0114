"""Tiny models with tokenizers that change text, as others publish them."""

import json
import pathlib

from family_parts import PARTS
import jax
import numpy as np
import small_tokenizers
import variants

from research.interop import exporting, imported, source

SIZES = {'llama': 424, 't5': 136, 'bert': 200}
"""Ids of the models, a few more than those of the tokenizers but BERT's."""


def filled(cfg, scale: float = 0.25):
  """A random model of `cfg`, made without compiling anything."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: (rng.normal(size=x.shape) * scale).astype(x.dtype),
    variants.shapes(cfg),
  )


def write(kind: str, folder: pathlib.Path, scale: float = 0.25) -> pathlib.Path:
  """The folder of a tiny model, imported from `folder`/theirs."""
  architecture, parts = PARTS[kind]
  cfg = variants.config(
    architecture, vocab_size=SIZES[kind], seq_len=32, n_layers=1, **parts
  )
  theirs = folder / 'theirs'
  exporting.write(theirs, filled(cfg, scale))
  file = getattr(small_tokenizers, kind)()
  (theirs / 'tokenizer.json').write_text(file)
  told = json.loads((theirs / 'config.json').read_text())
  ids = {'bos_token_id': 1, 'eos_token_id': 2}
  if kind == 't5':
    ids = {'decoder_start_token_id': 0, 'eos_token_id': 1, 'pad_token_id': 0}
  (theirs / 'config.json').write_text(json.dumps(told | ids))
  _, said = imported.write(folder / 'ours', source.read(str(theirs)), kind)
  assert said == 'its tokenizer changes text'
  return folder / 'ours'
