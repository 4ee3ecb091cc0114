"""Published suites as studies: Pythia, eight sizes by training step; BERT; T5.

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

BERT and T5 are here with their last step alone, in the names of the hub, which
could not be reached when this was written: what is there may not be what its
authors describe, and is refused with a line then.
"""

from collections.abc import Mapping
from typing import Any

from research.interop.families.bert import BERT
from research.interop.families.gpt import GPT_NEOX
from research.interop.families.t5 import T5
from research.interop.family import Family, Settings
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
# Devlin et al. 2019, section 3: layers, width, heads.
BERTS = {'base': (12, 768, 12), 'large': (24, 1024, 16)}
# Raffel et al. 2020, section 3.7: layers of each stack, width, inner width,
# heads and their width.
T5S = {
  'small': (6, 512, 2048, 8, 64),
  'base': (12, 768, 3072, 12, 64),
  'large': (24, 1024, 4096, 16, 64),
  '3b': (24, 1024, 16_384, 32, 128),
  '11b': (24, 1024, 65_536, 128, 128),
}


def pythia() -> StudyConfig:
  """The suite on the Pile (not deduplicated), which it reads once."""
  said = {
    name: {**_shape(*shape), 'vocab_size': vocabulary, 'rotary_pct': 0.25}
    for name, (*shape, vocabulary) in PYTHIA.items()
  }
  return _study(
    'How do bits per byte fall with size and training in Pythia?',
    Suite(
      name='Pythia',
      source='EleutherAI/pythia-{size}@step{step}',
      sizes=_sizes(GPT_NEOX, said),
      steps=(1000, 4000, 16_000, 64_000, 143_000),
      tokens_per_step=2_097_152,
      once=True,
    ),
  )


def bert() -> StudyConfig:
  """BERT, uncased: a million steps of 256 rows (Devlin et al. 2019, A.2).

  Nine tenths of the steps have rows of 128 tokens, the others of 512; FLOPs
  take all for rows of 512, which makes them 4 % more.
  """
  said = {name: _shape(*shape) for name, shape in BERTS.items()}
  head = 'cls.predictions.transform.dense.weight'
  return _study(
    'How do bits per byte fall with size in BERT?',
    Suite(
      name='BERT',
      source='google-bert/bert-{size}-uncased',
      sizes=_sizes(BERT, said, head),
      steps=(1_000_000,),
      tokens_per_step=(9 * 256 * 128 + 256 * 512) // 10,
    ),
  )


def t5() -> StudyConfig:
  """T5 1.0: a million steps of 2,048 rows (Raffel et al. 2020, section 3.7).

  A row is 512 tokens, counted as they are; a target is 114 (section 3.1.4). The
  published ones were trained on tasks beside C4.
  """
  said = {
    name: {
      'num_layers': layers,
      'd_model': width,
      'd_ff': inner,
      'num_heads': heads,
      'd_kv': head,
    }
    for name, (layers, width, inner, heads, head) in T5S.items()
  }
  return _study(
    'How do bits per byte fall with size in T5?',
    Suite(
      name='T5',
      source='google-t5/t5-{size}',
      sizes=_sizes(T5, said),
      steps=(1_000_000,),
      tokens_per_step=2048 * 512,
      target_len=114,
    ),
  )


def _shape(layers: int, width: int, heads: int) -> dict[str, int]:
  return {
    'num_hidden_layers': layers,
    'hidden_size': width,
    'num_attention_heads': heads,
    'intermediate_size': 4 * width,
  }


def _sizes(
  family: Family, said: Mapping[str, Mapping[str, Any]], *tensors: str
) -> tuple[Size, ...]:
  """Sizes by the fields that their `config.json` has beside the defaults."""
  return tuple(
    Size(name=name, model=family.read(Settings(fields), tensors))
    for name, fields in said.items()
  )


def _study(question: str, suite: Suite) -> StudyConfig:
  return StudyConfig(
    title=suite.name,
    question=question,
    designs=(suite,),
    # One row at a time: logits of 50 thousand ids are what takes memory.
    evaluation=Evaluation(batch_size=1),
  )
