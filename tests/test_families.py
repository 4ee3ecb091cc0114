"""Every family's tiny checkpoints give the logits that transformers gives."""

import functools
import pathlib
import zipfile

import jax
import numpy as np
import published_models
import pytest

from research.interop import checkpoint

ARCHIVES = pathlib.Path(__file__).parent / 'published'
FAMILIES = pytest.mark.parametrize('name', published_models.CASES)

# An encoder reads both sides of a token, so it has no cache.
GENERATORS = [
  name
  for name, case in published_models.CASES.items()
  if case.task != 'ForMaskedLM'
]


# Compiled without optimisation: most of the time would go to it.
compiled = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


@compiled
def forward(model, batch):
  return model(batch)


@functools.cache
def reference(name: str) -> dict[str, np.ndarray]:
  with np.load(ARCHIVES / f'{name}.zip') as files:
    with np.load(files.zip.open('reference.npz')) as arrays:
      return dict(arrays)


def unpack(name: str, folder: pathlib.Path) -> pathlib.Path:
  """The checkpoint called `name`, as transformers saved it, in `folder`."""
  with zipfile.ZipFile(ARCHIVES / f'{name}.zip') as packed:
    packed.extractall(folder)
  (folder / 'reference.npz').unlink()
  return folder


def batch(rows) -> dict[str, np.ndarray]:
  """Our batch of the reference's rows."""

  def side(tokens, mask, positions, prefix=''):
    return {
      f'{prefix}tokens': tokens.astype(np.int32),
      f'{prefix}segments': mask.astype(np.int32),
      f'{prefix}positions': positions.astype(np.int32),
    }

  made = side(rows['input_ids'], rows['attention_mask'], rows['position_ids'])
  if 'decoder_input_ids' in rows:
    mask = rows['decoder_attention_mask']
    where = (mask.cumsum(1) - 1).clip(0)
    made |= side(rows['decoder_input_ids'], mask, where, 'decoder_')
  return made


def load(folder: pathlib.Path):
  found = checkpoint.read(folder)
  return checkpoint.assemble(found.config, found.parameters())


@FAMILIES
def test_logits_are_those_of_transformers(name, tmp_path):
  rows = reference(name)
  model = load(unpack(name, tmp_path))
  ours = np.asarray(forward(model, batch(rows)))
  real = rows.get('decoder_attention_mask', rows['attention_mask']) == 1
  assert np.std(rows['logits'][real]) > 0.3
  np.testing.assert_allclose(ours[real], rows['logits'][real], atol=1e-4)


@compiled
def reading(model, read):
  """Logits after each token, read one at a time into a cache."""
  tokens, segments = read['tokens'], read['segments']
  if 'source' in read:
    cache = model.start(read['source'], tokens.shape[1])
  else:
    cache = model.start(*tokens.shape)

  def step(cache, token):
    logits, cache = model.extend(cache, token[0][:, None], token[1][:, None])
    return cache, logits

  _, found = jax.lax.scan(step, cache, (tokens.T, segments.T))
  return found.swapaxes(0, 1)


@pytest.mark.parametrize('name', GENERATORS)
def test_logits_read_through_a_cache_are_those_of_transformers(name, tmp_path):
  rows = reference(name)
  made = batch(rows)
  read = {key: made[key] for key in ('tokens', 'segments')}
  real = rows['attention_mask'] == 1
  if 'decoder_tokens' in made:
    read = {key: made[f'decoder_{key}'] for key in read}
    real = rows['decoder_attention_mask'] == 1
    read['source'] = {
      key: made[key] for key in ('tokens', 'segments', 'positions')
    }
  ours = np.asarray(reading(load(unpack(name, tmp_path)), read))
  np.testing.assert_allclose(ours[real], rows['logits'][real], atol=1e-4)


@FAMILIES
def test_parameters_counted_are_those_in_the_file(name, tmp_path):
  found = checkpoint.read(unpack(name, tmp_path))
  held = found.tensors.names.keys()
  size = sum(np.prod(found.tensors.shape(tensor)) for tensor in held)
  unread = sum(entry.skip for entry in found.table.values())
  assert found.config.n_params == size - unread * found.config.d_model
