"""Checkpoints: written by Orbax beside training, read only if they are whole.

checkpoints/200/state      arrays by name, as Orbax writes them
checkpoints/200/about      JSON: step, data hash, seconds, shapes
checkpoints/200/seal.json  size and CRC-32 of every file; written last
"""

from collections.abc import Callable, Iterable, Mapping
import contextlib
import dataclasses
import json
import logging
import os
from typing import Any
import zlib

from etils import epath
import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from research.config import BadInput

_SEAL = 'seal.json'
_ITEMS = ('state', 'about')
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
  """When a run is saved. The last step always is.

  Attributes:
    every: Steps from one checkpoint to the next, of which the newest `keep`
      are kept; None for none.
    keep: How many of those are kept.
    at: Steps to save at, all kept.
    log_grid: Checkpoints a factor of ten in steps, all kept; None for none.
  """

  every: int | None = 1000
  keep: int = 2
  at: tuple[int, ...] = ()
  log_grid: int | None = None

  def __post_init__(self):
    for name in ('every', 'keep', 'log_grid'):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise BadInput(f'{name}={value} must be at least 1')
    if any(step < 1 for step in self.at):
      raise BadInput(f'at={self.at} must hold steps, counted from 1')

  def lasting(self, n_steps: int) -> set[int]:
    """The steps of a run of `n_steps` whose checkpoints are never deleted."""
    steps = set(self.at)
    if self.log_grid:
      n = int(self.log_grid * np.log10(n_steps)) + 1
      steps |= {round(10 ** (i / self.log_grid)) for i in range(n)}
    return {step for step in steps if step < n_steps} | {n_steps}

  def steps(self, n_steps: int) -> set[int]:
    """All steps of a run of `n_steps` that are saved."""
    passing = range(self.every, n_steps, self.every) if self.every else ()
    return self.lasting(n_steps) | set(passing)


class Folder:
  """The checkpoints of one run."""

  def __init__(self, path: epath.Path, cfg: Checkpoints, n_steps: int):
    # Orbax wants an absolute path; a bucket's is one.
    self.path = path if '://' in str(path) else path.absolute()
    policies = ocp.checkpoint_managers
    self._options = ocp.CheckpointManagerOptions(
      preservation_policy=policies.AnyPreservationPolicy(
        [
          policies.LatestN(cfg.keep),
          policies.CustomSteps(sorted(cfg.lasting(n_steps))),
        ]
      ),
      cleanup_tmp_directories=True,
      async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
    )
    self._manager: ocp.CheckpointManager | None = None
    self._saving: int | None = None
    self.newest: int | None = None

  def steps(self) -> list[int]:
    """The steps of all finished checkpoints, in order."""
    if not self.path.exists():
      return []
    return sorted(
      int(folder.name)
      for folder in self.path.iterdir()
      if folder.name.isdigit() and (folder / _SEAL).exists()
    )

  def save(self, step: int, state: Any, about: Mapping[str, Any]) -> None:
    """Begins to write a checkpoint; waits for the one before.

    Raises:
      OSError: The disk is full, or an earlier write failed.
    """
    named = _named(state)
    shapes = {name: list(x.shape) for name, x in named.items()}
    self._make_room(named.values())
    args = ocp.args.Composite(
      state=ocp.args.StandardSave(named),
      about=ocp.args.JsonSave({**about, 'step': step, 'shapes': shapes}),
    )
    self.wait()
    self._saving = step
    self._call(lambda m: m.save(step, args=args, force=True))
    self.newest = step

  def wait(self) -> None:
    """Returns once all checkpoints are on disk.

    Raises:
      OSError: One could not be written.
    """
    if self._manager is not None:
      self._call(lambda m: m.wait_until_finished())

  def close(self) -> None:
    """Ends Orbax's threads."""
    manager, self._manager = self._manager, None
    if manager is not None:
      manager.close()

  def restore(
    self, abstract: Any, step: int | None = None
  ) -> tuple[Any, dict[str, Any]] | None:
    """The newest whole checkpoint, laid out as `abstract`; None if none is.

    Damaged checkpoints are set aside with a warning, unfinished ones removed.

    Args:
      abstract: The state's shapes, types and shardings.
      step: Which one to read; None for the newest.

    Raises:
      BadInput: It holds arrays of other names or shapes, or there is no whole
        checkpoint of `step`.
    """
    if step is None:
      step = self._newest_whole()
    elif not _is_whole(self.path / str(step)):
      raise BadInput(f'{self.path} has no whole checkpoint of step {step}')
    if step is None:
      return None
    about = self._read(step, 'about', ocp.args.JsonRestore())
    self._check_shapes(step, abstract, about.pop('shapes'))
    template = {
      name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
      for name, x in _named(abstract).items()
    }
    named = self._read(step, 'state', ocp.args.StandardRestore(template))
    self.newest = step
    return _unnamed(abstract, named), about

  def _read(self, step: int, item: str, args) -> Any:
    found = self._open().restore(step, args=ocp.args.Composite(**{item: args}))
    return found[item]

  def _open(self) -> ocp.CheckpointManager:
    if self._manager is None:
      self._manager = ocp.CheckpointManager(self.path, options=self._options)
    return self._manager

  def _call(self, work: Callable[[ocp.CheckpointManager], Any]) -> None:
    try:
      work(self._open())
    except Exception as error:
      with contextlib.suppress(Exception):
        self.close()
      for part in self.path.glob('*.*'):
        part.rmtree()
      reason = str(error).rsplit('Failed', 1)[-1].partition('\n')[0]
      raise OSError(f'no checkpoint in {self.path}: {reason}') from error

  def _make_room(self, arrays: Iterable[jax.Array]) -> None:
    """Fails where a checkpoint cannot fit, which Orbax tells by tracebacks."""
    self.path.mkdir(parents=True, exist_ok=True)
    if '://' in str(self.path) or not hasattr(os, 'posix_fallocate'):
      return
    size = sum(
      shard.data.nbytes
      for x in arrays
      for shard in x.addressable_shards
      if shard.replica_id == 0
    )
    room = self.path / f'room-{jax.process_index()}'
    with open(room, 'wb') as file:
      try:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))
      except OSError as error:
        text = f'no room for a checkpoint of {size:,} bytes: {error.strerror}'
        raise OSError(error.errno, text, str(self.path)) from None
      finally:
        room.unlink()

  def _check_shapes(self, step: int, abstract, theirs: dict) -> None:
    mine = {name: list(x.shape) for name, x in _named(abstract).items()}
    for name in sorted(mine.keys() | theirs.keys()):
      if mine.get(name) != theirs.get(name):
        raise BadInput(
          f'checkpoint {self.path / str(step)} is of another shape:'
          f' {name} is {theirs.get(name, "absent")} there,'
          f' {mine.get(name, "absent")} by the config; give the config it'
          ' was made with, or name another workdir'
        )

  def _newest_whole(self) -> int | None:
    step = self._tidy() if jax.process_index() == 0 else None
    if jax.process_count() > 1:
      found = np.int32(-1 if step is None else step)
      found = int(multihost_utils.broadcast_one_to_all(found))
      step = None if found < 0 else found
    return step

  def _tidy(self) -> int | None:
    """Clears what cannot be read out of the way; returns the newest left."""
    if not self.path.exists():
      return None
    finished = self.steps()
    for folder in self.path.iterdir():
      if folder.name.isdigit() and int(folder.name) not in finished:
        folder.rmtree()
    while finished:
      step = finished.pop()
      folder = self.path / str(step)
      if _is_whole(folder):
        return step
      aside = self.path / f'damaged-{step}'
      if aside.exists():
        aside.rmtree()
      folder.rename(aside)
      instead = finished[-1] if finished else 'the beginning'
      _log.warning(
        'checkpoint %s is damaged: set aside as %s, going on from %s',
        folder,
        aside.name,
        f'step {instead}' if finished else instead,
      )
    return None

  def _seal(self) -> None:
    """Notes what was written; Orbax calls it before the folder's last name."""
    if jax.process_index():
      return
    for folder in self.path.iterdir():
      if folder.name.partition('.')[0] == str(self._saving):
        (folder / _SEAL).write_text(json.dumps(_digests(folder)))


def _digests(folder: epath.Path) -> dict[str, list[int]]:
  """Size and CRC-32 of every file that holds a checkpoint's content."""
  found, waiting = {}, [folder / item for item in _ITEMS]
  while waiting:
    path = waiting.pop()
    if path.is_dir():
      waiting += path.iterdir()
    else:
      found[str(path.relative_to(folder))] = _digest(path)
  return found


def _digest(path: epath.Path) -> list[int]:
  size = crc = 0
  with path.open('rb') as file:
    while part := file.read(1 << 24):
      size, crc = size + len(part), zlib.crc32(part, crc)
  return [size, crc]


def _is_whole(folder: epath.Path) -> bool:
  try:
    return json.loads((folder / _SEAL).read_text()) == _digests(folder)
  except (OSError, ValueError):
    return False


def _named(state: Any) -> dict[str, Any]:
  """The arrays of `state` by dotted name, random keys as their bits."""
  return {
    _name(path): _bits(x)
    for path, x in jax.tree_util.tree_leaves_with_path(state)
  }


def _unnamed(abstract: Any, named: Mapping[str, jax.Array]) -> Any:
  def find(path, x):
    value = named[_name(path)]
    return jax.random.wrap_key_data(value) if _is_key(x) else value

  return jax.tree_util.tree_map_with_path(find, abstract)


def _name(path) -> str:
  parts = []
  for key in path:
    for kind in ('key', 'name', 'idx'):
      if hasattr(key, kind):
        parts.append(str(getattr(key, kind)))
        break
  return '.'.join(parts).removesuffix('.value')


def _bits(x):
  if not _is_key(x):
    return x
  if isinstance(x, jax.ShapeDtypeStruct):
    bits = jax.eval_shape(jax.random.key_data, x)
    return jax.ShapeDtypeStruct(bits.shape, bits.dtype, sharding=x.sharding)
  return jax.random.key_data(x)


def _is_key(x) -> bool:
  return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
