"""The most FLOP/s that devices can do, the divisor of MFU."""

import functools
import time

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

# Dense bfloat16 peak of one device, FLOP/s, as its maker states it.
STATED = {
  'NVIDIA A100': 312e12,
  'NVIDIA H100 PCIe': 756e12,
  'NVIDIA H100': 989e12,
  'NVIDIA H200': 989e12,
  'TPU v3': 61.5e12,  # a core, which is a device there
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5p': 459e12,
  'TPU v5': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
}


def stated(kind: str) -> float | None:
  """FLOP/s of a device of this kind, None if unknown."""
  names = [name for name in STATED if kind.startswith(name)]
  return STATED[max(names, key=len)] if names else None


@functools.cache
def measured() -> float:
  """FLOP/s of a float32 product: what a CPU, which states no peak, can do.

  On the default device with the cores this process may use. Takes about .2 s,
  once a process.
  """
  return product()


def product(
  size: int = 1024, tries: int = 8, dtype: DTypeLike = 'float32'
) -> float:
  """FLOP/s of the best of a few products of `size`-square matrices, now."""
  multiply = jax.jit(jnp.dot)
  x = jnp.ones((size, size), dtype)
  multiply(x, x).block_until_ready()
  seconds = []
  for _ in range(tries):
    begun = time.perf_counter()
    multiply(x, x).block_until_ready()
    seconds.append(time.perf_counter() - begun)
  return 2 * size**3 / min(seconds)


def peak(n_devices: int) -> float | None:
  """FLOP/s of `n_devices` of the default kind; None if it is not known.

  CPU devices share the cores, so their number changes nothing.
  """
  if jax.default_backend() == 'cpu':
    return measured()
  one = stated(jax.devices()[0].device_kind)
  return one and one * n_devices
