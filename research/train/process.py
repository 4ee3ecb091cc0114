"""What is not done twice: compiling a program, getting memory for a step."""

import ctypes
import gc
import hashlib
import pathlib
import platform
from typing import Any
import warnings

import jax

from research import provenance
from research.data import cache

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def prepare() -> None:
  """Has this process keep what it would make anew; call it before JAX works.

  Every program that JAX compiles is kept on disk, and those kept are used. A
  program is what was compiled, byte for byte, so numbers do not change. They
  lie in the user's cache folder (`research.data.cache`), apart for each kind of
  processor and number of usable cores: code for one may be wrong or slow on
  another. JAX's own variables come first: JAX_COMPILATION_CACHE_DIR names
  another folder, JAX_ENABLE_COMPILATION_CACHE=false keeps nothing. Where the
  folder is full or damaged, JAX compiles anew, and no one is told.

  Memory that is freed stays with the process. What was imported is left out of
  later garbage collections: these took a tenth of tracing a step.
  """
  _keep_programs()
  _keep_memory()
  gc.freeze()


def _keep_programs() -> None:
  warnings.filterwarnings(
    'ignore', 'Error (reading|writing) persistent compilation cache'
  )
  settings: Any = jax.config  # whose attributes no type declares
  if not settings.jax_enable_compilation_cache:
    return
  if settings.jax_compilation_cache_dir is None:
    folder = cache.default_folder() / 'compiled' / _kind()
    jax.config.update('jax_compilation_cache_dir', str(folder))
  # By default JAX keeps only what took a second to compile.
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)


def _keep_memory() -> None:
  """On glibc; elsewhere nothing changes.

  A step frees what it computed with, and glibc hands large blocks back to the
  kernel, which gives them out again zeroed, page by page: a tenth of a step.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError, TypeError):  # another C library
    return
  for option, value in (
    (_M_MMAP_MAX, 0),
    (_M_ARENA_MAX, 1),
    (_M_TRIM_THRESHOLD, 2**31 - 1),
  ):
    mallopt(option, value)


def _kind() -> str:
  """Names the processor's instructions and the cores that are usable."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:  # not Linux
    lines = []
  told = {x for x in lines if x.startswith(('model name', 'flags', 'Features'))}
  text = '\n'.join([platform.machine(), platform.processor(), *sorted(told)])
  digest = hashlib.sha256(text.encode()).hexdigest()[:12]
  return f'{digest}-{provenance.cores()}'
