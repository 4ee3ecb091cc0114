"""What is compiled for an accelerator, as far as can be seen without one."""

import jax
import jax.numpy as jnp
import pytest
import variants

BARRIER = 'optimization_barrier'


def lowered(architecture, platform: str, **changes) -> str:
  """StableHLO of a bfloat16 model's loss and gradient."""
  changes = {'dtype': 'bfloat16', 'remat': True, **changes}
  cfg = variants.config(architecture, **changes)
  model, batch = variants.build(cfg), variants.batch(cfg)

  def loss(model):
    return jnp.mean(model(batch) ** 2)

  traced = jax.jit(jax.value_and_grad(loss)).trace(model)
  return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize('architecture', variants.ARCHITECTURES)
@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
def test_a_step_lowers_for_accelerators_without_what_only_a_cpu_needs(
  architecture, platform
):
  text = lowered(architecture, platform)
  assert 'stablehlo.dot_general' in text and 'bf16' in text
  # Rematerialisation has barriers of its own.
  assert lowered(architecture, 'cpu').count(BARRIER) > text.count(BARRIER)
