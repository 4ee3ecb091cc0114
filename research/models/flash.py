"""Attention by cuDNN's fused kernel, which keeps no scores in memory.

Dimensions as in `dot_product.py`. `jax.nn.dot_product_attention` has the kernel
for NVIDIA GPUs; elsewhere `dot_product.attend` is what is compiled.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# What JAX asks of cuDNN's kernel and its gradient under a mask.
_LARGEST_HEAD, _MULTIPLE_OF_HEAD, _MULTIPLE_OF_LENGTH = 128, 8, 2


def fits(q: Float[Array, 'b t n h'], k: Float[Array, 'b k s h']) -> bool:
  """Whether cuDNN is here and has a kernel for such queries and keys.

  It has none for float32, nor one with the gradient of a bias that each row
  has a mask beside: those stay with `dot_product.attend`.
  """
  (_, t, _, h), s = q.shape, k.shape[2]
  return (
    q.dtype in (jnp.bfloat16, jnp.float16)
    and h <= _LARGEST_HEAD
    and h % _MULTIPLE_OF_HEAD == 0
    and t % _MULTIPLE_OF_LENGTH == s % _MULTIPLE_OF_LENGTH == 0
    and _here()
  )


def attend(
  q: Float[Array, 'b t n h'],
  k: Float[Array, 'b k s h'],
  v: Float[Array, 'b k s h'],
  mask: Bool[Array, '#b t s'],
  *,
  scale: float,
  causal: bool,
  implementation: Literal['cudnn', 'xla'] = 'cudnn',
) -> Float[Array, 'b t n h']:
  """`dot_product.attend` without bias and dropout; arguments as there.

  Blocks that `causal` hides are skipped. `implementation` is that of JAX's
  function.
  """
  y = jax.nn.dot_product_attention(
    q,
    k.swapaxes(1, 2),
    v.swapaxes(1, 2),
    mask=mask[:, None],
    scale=scale,
    is_causal=causal,
    implementation=implementation,
  )
  seeing = jnp.any(mask, axis=-1)[..., None, None]
  return jnp.where(seeing, y, 0)


@functools.cache
def _here() -> bool:
  """Whether this JAX knows of a cuDNN."""
  x = jax.ShapeDtypeStruct((1, 2, 1, 8), jnp.bfloat16)
  ask = functools.partial(jax.nn.dot_product_attention, implementation='cudnn')
  try:
    jax.eval_shape(ask, x, x, x)
  except RuntimeError:
    return False
  return True
