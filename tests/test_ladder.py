"""One dial makes a size, by a rule that is stated."""

import pytest

from research.config import BadInput
from research.models.config import ModelConfig
from research.scaling.ladder import Ladder, PowerLaw, model_flops


def ladder(**changes):
  base = ModelConfig(vocab_size=50257, seq_len=1024)
  return Ladder(base=base, **changes)


def test_dial_12_has_the_shape_of_gpt_2_small():
  model = ladder().size(12)
  assert (model.d_model, model.n_layers, model.n_heads) == (768, 12, 12)


def test_sizes_grow_with_the_dial():
  counts = [ladder().size(dial).n_params for dial in range(1, 30)]
  assert counts == sorted(set(counts))


def test_heads_always_divide_the_width():
  odd = ladder(width=24, d_head=16)
  for dial in range(1, 12):
    assert odd.size(dial).d_model % odd.size(dial).n_heads == 0


def test_a_power_law_passes_its_anchor_and_keeps_its_slope():
  rule = PowerLaw(value=2.0, at=1e4, exponent=-0.5)
  assert rule(1e4) == 2.0
  assert rule(4e4) == pytest.approx(1.0)


def test_steps_spend_the_budget():
  rungs = ladder()
  model = rungs.size(2)
  steps = rungs.steps(model, 1e13)
  spent = steps * rungs.sequences(model) * model_flops(model)
  half_a_step = rungs.sequences(model) * model_flops(model) / 2
  assert abs(spent - 1e13) <= half_a_step


@pytest.mark.parametrize('wished, given', [(0.3, 1), (5, 4), (6, 8), (16, 16)])
def test_batches_are_powers_of_two(wished, given):
  rungs = ladder(batch_size=PowerLaw(value=wished))
  assert rungs.sequences(rungs.size(2)) == given


def test_bad_rules_are_named():
  with pytest.raises(BadInput, match='width=0'):
    ladder(width=0)
  with pytest.raises(BadInput, match='dial=0'):
    ladder().size(0)
  with pytest.raises(BadInput, match='warmup_share=1'):
    ladder(warmup_share=1.0)
