"""A published model takes its own size in memory and little more."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file
import small_corpus
import small_tokenizers

from research import config
from research.interop import checkpoint
from research.interop.families.gpt import GPT_NEOX
from research.interop.family import Settings
from research.study import published
from research.study.evaluation import Evaluation

pytestmark = pytest.mark.slow
SHARDS = 3
SAID = {
  'model_type': 'gpt_neox',
  'num_hidden_layers': 6,
  'hidden_size': 1024,
  'num_attention_heads': 16,
  'intermediate_size': 4096,
  'vocab_size': 4096,
  'max_position_embeddings': 256,
  'bos_token_id': 1,
  'eos_token_id': 2,
}
MODEL = GPT_NEOX.read(Settings(SAID), ())
SIZE = 4 * MODEL.n_params  # 336 MB
HOW = Evaluation(
  n_tokens=512, n_spans=2, span_length=4, context=16, batch_size=2
)

# The peak of a process's own memory: getrusage also knows that of the process
# which started it.
PEAK = """
import pathlib, re, sys
import jax
jax.numpy.zeros(1).block_until_ready()
def peak():
  told = pathlib.Path('/proc/self/status').read_text()
  return 1024 * int(re.search(r'VmHWM:\\s+(\\d+) kB', told)[1])
"""
IMPORT = """
from research.interop import imported, source
before = peak()
found = source.read(sys.argv[1])
imported.write(pathlib.Path(sys.argv[2]), found, 'a test')
print(peak() - before)
"""
LOAD = """
from research.interop import imported
before = peak()
model = imported.read(pathlib.Path(sys.argv[1])).model()
print(peak() - before)
"""
EVALUATE = """
import json
from etils import epath
from research import config
from research.data import pipeline
from research.study import published
from research.study.evaluation import Evaluation, evaluate
cfg = config.from_dict(published.Published, json.loads(sys.argv[1]))
how = config.from_dict(Evaluation, json.loads(sys.argv[2]))
before = peak()
found = published.read(cfg, epath.Path(sys.argv[3]), how)
evaluate(found.model, pipeline.prepare(found.data), how)
print(peak() - before)
"""


def measured(script: str, *arguments) -> int:
  """Bytes that a process took at most, beyond what it took when it began."""
  done = subprocess.run(
    [sys.executable, '-c', PEAK + script, *map(str, arguments)],
    capture_output=True,
    text=True,
    env={'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': '.', 'PATH': '/usr/bin:/bin'},
    cwd=pathlib.Path(__file__).parents[1],
  )
  assert done.returncode == 0, done.stderr
  return int(done.stdout.split()[-1])


@pytest.fixture(scope='module')
def theirs(tmp_path_factory) -> pathlib.Path:
  """A random Pythia of 84 million parameters, in shards."""
  folder = tmp_path_factory.mktemp('theirs') / 'step1000'
  folder.mkdir()
  (folder / 'config.json').write_text(json.dumps(SAID))
  (folder / 'tokenizer.json').write_text(small_tokenizers.llama())
  rng = np.random.default_rng(0)
  table = GPT_NEOX.table(MODEL, checkpoint.shapes(MODEL))
  names = list(checkpoint.expected(MODEL, table).items())
  places = {}
  for i in range(SHARDS):
    part = names[i * len(names) // SHARDS : (i + 1) * len(names) // SHARDS]
    file = f'model-{i}.safetensors'
    save_file(
      {
        name: rng.standard_normal(shape, np.float32) / 32
        for name, (shape, *_) in part
      },
      folder / file,
    )
    places |= dict.fromkeys((name for name, _ in part), file)
  index = {'weight_map': places}
  (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
  return folder


def test_importing_and_loading_take_less_than_a_third_more(theirs, tmp_path):
  first = measured(IMPORT, theirs, tmp_path / 'ours')
  second = measured(LOAD, tmp_path / 'ours')
  print(f'of {SIZE:,}: import {first / SIZE:.2f}, load {second / SIZE:.2f}')
  assert first < 1.3 * SIZE
  assert SIZE < second < 1.3 * SIZE


def test_a_suite_takes_the_memory_that_its_plan_says(theirs, tmp_path):
  cfg = published.Published(
    source=str(theirs),
    model=MODEL,
    step=1000,
    tokens_per_step=2048,
    data=small_corpus.config(tmp_path),
  )
  said = published.memory(cfg, HOW)
  told = json.dumps(config.to_dict(cfg)), json.dumps(config.to_dict(HOW))
  took = measured(EVALUATE, *told, tmp_path)
  print(f'said {said:,}, took {took:,}: {took / said:.2f}')
  assert 0.8 * said < took < said
