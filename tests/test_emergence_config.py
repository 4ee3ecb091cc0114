"""The studies of emergence can tell what they ask about."""

import functools

import numpy as np
import pytest

from configs import emergence
from research.data.corruption import check_objectives
from research.data.tokenizers import Bytes
from research.evals import abilities
from research.study.plan import cells

TOKENIZER = Bytes().load(b'bytes')


@functools.cache
def planned(name):
  return cells(getattr(emergence, name)())


def shapes(name, architecture):
  return {
    (cell.config.model.d_model, cell.config.model.n_layers)
    for cell in planned(name)
    if cell.architecture == architecture
  }


@pytest.mark.parametrize('name', ['skills', 'full'])
def test_width_and_depth_can_be_told_apart(name):
  for architecture in ('decoder', 'encoder', 'encoder_decoder'):
    size = np.log([*shapes(name, architecture)])
    assert len(size) >= (6 if architecture == 'decoder' else 4)
    design = np.column_stack([np.ones(len(size)), size])
    assert np.linalg.matrix_rank(design) == 3
    # Of two depths at one width, and of two widths at one depth.
    assert len(set(size[:, 0])) < len(size) > len(set(size[:, 1]))


def test_decoders_have_three_seeds_of_each_size():
  seeds = {}
  for cell in planned('skills'):
    if cell.architecture == 'decoder':
      seeds.setdefault(cell.labels['size'], set()).add(cell.config.seed)
  assert len(seeds) >= 6
  assert all(found == {0, 1, 2} for found in seeds.values())


@pytest.mark.parametrize(
  'name', ['skills', 'quick', pytest.param('full', marks=pytest.mark.slow)]
)
def test_every_prompt_and_objective_fits_every_model(name):
  study = getattr(emergence, name)()
  how = study.evaluation
  for cfg in {cell.config for cell in planned(name)}:
    model = cfg.model
    assert model.vocab_size == TOKENIZER.vocab_size
    abilities.check(model, TOKENIZER, how.tasks, **how.asking)
    check_objectives(
      cfg.objectives,
      model.architecture,
      row_len=model.seq_len,
      seq_len=model.seq_len,
      target_len=model.target_len,
      n_sentinels=TOKENIZER.specials.n_sentinels,
    )
    assert cfg.data.corpus.skills == how.tasks  # What is tested was practised.
