"""Published suites as studies: Pythia, eight sizes by training step.

python -m experiments.study --config=configs.published:pythia --workdir=… \
  [--config.designs.0.source='/data/pythia-{size}/step{step}'] \
  [--config.designs.0.steps=1000,143000] [--mode=plan]

Another suite is a `Suite` like this one; its sources may be what
`experiments.import_weights` wrote, and the parts of one of these are
`research.interop.imported.read(FOLDER).config`. The plan says what memory each
takes (12B: 51 GiB by estimate). Checkpoints are read from the disk or
downloaded; what is not to be had or does not fit is skipped. Steps before the
last are of a run whose learning rate had not fallen yet, so a law fitted to
them is not one of finished models.
"""

from research.interop.families.gpt import GPT_NEOX
from research.interop.family import Settings
from research.models.config import ModelConfig
from research.study.evaluation import Evaluation
from research.study.plan import Size, StudyConfig, Suite

# Biderman et al. 2023, table 1: layers, width, heads; and rows of the embedding
# that padding for their tensor parallelism left.
PYTHIA = {
  '70m': (6, 512, 8, 50304),
  '160m': (12, 768, 12, 50304),
  '410m': (24, 1024, 16, 50304),
  '1b': (16, 2048, 8, 50304),
  '1.4b': (24, 2048, 16, 50304),
  '2.8b': (32, 2560, 32, 50304),
  '6.9b': (32, 4096, 32, 50432),
  '12b': (36, 5120, 40, 50688),
}


def pythia() -> StudyConfig:
  """The suite on the Pile (not deduplicated), which it reads once."""
  return StudyConfig(
    title='Pythia',
    question='How do bits per byte fall with size and training in Pythia?',
    designs=(
      Suite(
        name='Pythia',
        source='EleutherAI/pythia-{size}@step{step}',
        sizes=tuple(Size(name=name, model=size(name)) for name in PYTHIA),
        steps=(1000, 4000, 16_000, 64_000, 143_000),
        tokens_per_step=2_097_152,
      ),
    ),
    # One row at a time: logits of 50 thousand ids are what takes memory.
    evaluation=Evaluation(batch_size=1),
  )


def size(name: str) -> ModelConfig:
  """The parts of one size, as its config.json says them."""
  layers, width, heads, vocabulary = PYTHIA[name]
  said = {
    'num_hidden_layers': layers,
    'hidden_size': width,
    'num_attention_heads': heads,
    'intermediate_size': 4 * width,
    'vocab_size': vocabulary,
    'rotary_pct': 0.25,
  }
  return GPT_NEOX.read(Settings(said), ())
