"""cuDNN's attention: where it is used, and what is asked of it.

Without a GPU, what stands around the kernel is run with JAX's plain one. Where
cuDNN is installed (`pip install --no-deps jax-cuda12-plugin nvidia-cudnn-cu12`
with the version of JAX that is there), models are lowered for CUDA with it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_accelerators
import variants

from research.models import dot_product, flash


def inputs(kv_heads: int, length: int = 6):
  """Queries, keys, values and a mask; one query sees nothing."""
  rng = np.random.default_rng(0)
  q = rng.normal(size=(2, length, 4, 8)).astype(np.float32)
  k, v = rng.normal(size=(2, 2, kv_heads, length, 8)).astype(np.float32)
  mask = rng.random((2, length, length)) < 0.6
  mask[0, 2] = False
  return q, k, v, mask


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('kv_heads', [4, 2, 1])
def test_the_kernel_is_asked_for_what_attend_computes(causal, kv_heads):
  q, k, v, mask = map(jnp.asarray, inputs(kv_heads))
  if causal:
    mask &= jnp.tril(jnp.ones_like(mask[0]))
  how = {'scale': 0.3, 'causal': causal}

  def summed(attend, q, k, v):
    y = attend(q, k, v, mask, **how)
    return jnp.sum(jnp.sin(y)), y

  fused = functools.partial(flash.attend, implementation='xla')
  found = [
    jax.value_and_grad(
      functools.partial(summed, attend), (0, 1, 2), has_aux=True
    )(q, k, v)
    for attend in (fused, dot_product.attend)
  ]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=2e-6), *found
  )


def test_the_kernel_is_used_where_it_fits(monkeypatch):
  monkeypatch.setattr(flash, '_here', lambda: True)

  def fits(dtype='bfloat16', t=4, s=4, h=64):
    return flash.fits(jnp.ones((1, t, 2, h), dtype), jnp.ones((1, 2, s, h)))

  assert fits() and fits('float16') and fits(t=2, h=128)
  assert not fits('float32')
  assert not fits(t=1)  # A step of decoding.
  assert not fits(s=5) and not fits(h=12) and not fits(h=256)
  monkeypatch.setattr(flash, '_here', lambda: False)
  assert not fits()


@pytest.mark.parametrize('remat', [False, True])
@pytest.mark.parametrize('architecture', variants.ARCHITECTURES)
def test_models_lower_for_cuda_with_the_kernel(architecture, remat):
  if not flash._here():
    pytest.skip('no cuDNN')
  lower = functools.partial(
    test_accelerators.lowered,
    architecture,
    d_head=8,
    seq_len=8,
    remat=remat,
  )
  text = lower('cuda')
  assert text.count('@__cudnn$fmhaScaleBiasSoftmax(')
  assert text.count('@__cudnn$fmhaScaleBiasSoftmaxBackward(')
  assert 'cudnn' not in lower('cpu')
  # What has a bias is left to XLA; cross attention has none.
  biased = lower('cuda', part='buckets').count('@__cudnn')
  assert (biased > 0) == (architecture == 'encoder_decoder')
