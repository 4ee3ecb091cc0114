"""The peer of inference: CTranslate2, with our weights (`contest.py`).

It converts from a model that transformers reads. Needs ctranslate2,
transformers and torch in the peer's Python.
"""

import os
import platform
import tempfile
from typing import Any

from research.benchmark import contest, inputs
from research.benchmark.contest import Task


def build(order: dict[str, Any]) -> Task:
  """The task that `order` names."""
  import ctranslate2  # pyright: ignore[reportMissingImports]

  with tempfile.TemporaryDirectory() as place:
    folder = os.path.join(place, 'converted')
    _vocabulary(order)
    from ctranslate2 import converters  # pyright: ignore[reportMissingImports]

    converters.TransformersConverter(order['folder']).convert(folder)
    generator = ctranslate2.Generator(
      folder,
      device='cuda' if order['gpu'] else 'cpu',
      compute_type=order['dtype'],
      inter_threads=1,
      intra_threads=order['threads'],
    )
  facts = {
    'device': generator.device,
    'versions': {
      'python': platform.python_version(),
      'ctranslate2': ctranslate2.__version__,
    },
  }
  makers = {'score': _score, 'decode': _decode}
  return Task(makers[order['suite']](generator, order), facts)


def _vocabulary(order) -> None:
  """Writes a tokenizer whose tokens are numbers; the converter wants one."""
  import tokenizers  # pyright: ignore[reportMissingImports]
  import transformers  # pyright: ignore[reportMissingImports]

  words = {str(i): i for i in range(order['vocab'])}
  model = tokenizers.models.WordLevel(words, unk_token='0')
  transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokenizers.Tokenizer(model),
    bos_token='0',
    eos_token='0',
    unk_token='0',
  ).save_pretrained(order['folder'])


def _score(generator, order):
  """Log-probabilities of every token."""
  drawn = inputs.language(order)
  rows = [
    [str(i) for i in (*tokens, targets[-1])]
    for tokens, targets in zip(drawn['tokens'], drawn['targets'], strict=True)
  ]
  # It takes no row longer than the positions there are.
  rows = [row[: order['length']] for row in rows]

  def run():
    found = generator.score_batch(rows, max_batch_size=order['batch'])
    logs = [x for one in found for x in one.log_probs]
    return -sum(logs) / len(logs)

  return run


def _decode(generator, order):
  """The most probable tokens after each prompt."""
  rows = [[str(i) for i in row] for row in inputs.prompts(order)]

  def run():
    found = generator.generate_batch(
      rows,
      max_length=order['n_new'],
      min_length=order['n_new'],
      beam_size=1,
      sampling_topk=1,
      include_prompt_in_result=False,
    )
    assert all(len(one.sequences_ids[0]) == order['n_new'] for one in found)

  return run


if __name__ == '__main__':
  contest.serve(build)
