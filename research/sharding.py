"""Where arrays live: from named dimensions to devices.

A parameter names its dimensions (`axes=('embed', 'mlp')`); a rule says which
mesh axis, if any, a name is split over. Nothing else in the code knows about
devices. Mesh axes: `data` splits the batch, `fsdp` the batch and the
parameters, `tensor` the parameters alone.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import math
import os
from typing import Any, Literal

from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from research.config import BadInput

Rules = tuple[tuple[str, str], ...]

FSDP: Rules = (('embed', 'fsdp'),)
FSDP_AND_TENSOR: Rules = (
  ('embed', 'fsdp'),
  ('heads', 'tensor'),
  ('kv_heads', 'tensor'),
  ('mlp', 'tensor'),
  ('vocab', 'tensor'),
)
AXES = ('data', 'fsdp', 'tensor')
BATCH = ('data', 'fsdp')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parallelism:
  """How one step is spread over devices.

  Attributes:
    compile: `jit` over a mesh, or `pmap`: plain data parallelism.
    data: Parts of the batch whose devices hold the same parameters; None for
      as many as the devices allow.
    fsdp: Parts of the batch whose devices each hold a part of the parameters.
    tensor: Parts of a matrix product.
    rules: Pairs of a dimension's name and the mesh axis it is split over.
  """

  compile: Literal['jit', 'pmap'] = 'jit'
  data: int | None = 1
  fsdp: int = 1
  tensor: int = 1
  rules: tuple[tuple[str, str], ...] = FSDP_AND_TENSOR

  def __post_init__(self):
    for name in AXES:
      size = getattr(self, name)
      if size is not None and size < 1:
        raise BadInput(f'{name}={size} must be at least 1')
    if self.compile == 'pmap' and self.fsdp * self.tensor > 1:
      raise BadInput(
        f'compile=pmap is data parallelism alone: set fsdp={self.fsdp} and'
        f' tensor={self.tensor} to 1, or compile=jit'
      )
    for name, axis in self.rules:
      if axis not in AXES:
        raise BadInput(
          f'rules: {name} goes to {axis!r}; the mesh has {", ".join(AXES)}'
        )

  @property
  def single(self) -> bool:
    """Whether one device is all it asks for."""
    return self.data == self.fsdp == self.tensor == 1


def memory() -> int:
  """Bytes of a device's memory; of the machine's, where devices share it."""
  told = jax.devices()[0].memory_stats() or {}
  return told.get('bytes_limit', host_memory())


def host_memory() -> int:
  """Bytes of the machine's memory; asks no device."""
  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def join(coordinator: str, n_processes: int, index: int) -> None:
  """Makes this process one of several that train together.

  To be called before any other use of JAX.

  Args:
    coordinator: `HOST:PORT` of process 0, or `auto` where the cluster tells
      (Slurm, TPU pods), which tells the rest, too.
    n_processes: How many there are.
    index: Which of them this one is.
  """
  if coordinator == 'auto':
    jax.distributed.initialize()
  else:
    jax.distributed.initialize(coordinator, n_processes, index)


def mesh(cfg: Parallelism) -> Mesh:
  """The devices of `cfg`, as a mesh with axes data, fsdp and tensor.

  Raises:
    BadInput: There are fewer devices than asked for, or more processes than
      the layout has room for.
  """
  devices = jax.devices()
  rest = cfg.fsdp * cfg.tensor
  data = cfg.data or max(len(devices) // rest, 1)
  n = data * rest
  layout = f'data={data}, fsdp={cfg.fsdp}, tensor={cfg.tensor}'
  if n > len(devices):
    raise BadInput(
      f'parallelism: {layout} asks for {n} devices, there are {len(devices)};'
      ' ask for fewer'
    )
  if jax.process_count() > 1 and cfg.compile == 'pmap':
    raise BadInput('compile=pmap trains in one process: use compile=jit')
  if jax.process_count() > 1 and n != len(devices):
    raise BadInput(
      f'parallelism: {layout} uses {n} of {len(devices)} devices; with'
      f' {jax.process_count()} processes it must use all'
    )
  return jax.make_mesh(
    (data, cfg.fsdp, cfg.tensor),
    AXES,
    axis_types=(jax.sharding.AxisType.Auto,) * 3,
    devices=devices[:n],
  )


def batch_parts(mesh: Mesh) -> int:
  """The number of parts a batch is split into."""
  return math.prod(mesh.shape[axis] for axis in BATCH)


def batch_spec(before: int = 0) -> PartitionSpec:
  """How a batch is split: its rows, after `before` other dimensions."""
  return PartitionSpec(*(None,) * before, BATCH)


def shardings(tree: Any, params: Any, mesh: Mesh, rules: Rules) -> Any:
  """The sharding of every array of `tree`.

  An array is split as the parameter of `params` that has its shape and whose
  path its own path ends with; so are parameters themselves and the moments
  that an optimizer keeps of them. All other arrays are replicated: counters,
  keys, factored moments. A dimension that its mesh axis does not divide stays
  whole.

  Args:
    tree: A model, an optimizer state, or a whole training state.
    params: The parameters, `nnx.Variable`s that carry `axes`.
    mesh: Devices.
    rules: Pairs of a dimension's name and a mesh axis.
  """
  specs = dict(_specs(params, mesh, dict(rules)))

  def one(path, x):
    for start in range(len(path)):
      spec = specs.get((path[start:], x.shape))
      if spec is not None:
        return NamedSharding(mesh, spec)
    return NamedSharding(mesh, PartitionSpec())

  return jax.tree_util.tree_map_with_path(one, tree)


def replicate(tree: Any, mesh: Mesh) -> Any:
  """`tree` once a device, stacked along a new first dimension, as pmap reads.

  Leaves may live anywhere; the result is split over all of `mesh`.
  """
  n = mesh.devices.size
  split = NamedSharding(mesh, PartitionSpec(AXES))

  def stack(x):
    return jnp.broadcast_to(x, (n, *x.shape))

  return jax.jit(lambda t: jax.tree.map(stack, t), out_shardings=split)(tree)


def unreplicate(tree: Any) -> Any:
  """The first device's copy of a tree that `replicate` made."""
  return jax.tree.map(lambda x: x[0], tree)


def place(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
  """A batch, whole in every process, as arrays split over the mesh's devices.

  Where one process has all devices the rows stay as they are: a compiled step
  places them itself, at less cost.
  """
  if jax.process_count() == 1:
    return dict(batch)
  split = NamedSharding(mesh, batch_spec())
  return {
    name: jax.make_array_from_callback(rows.shape, split, rows.__getitem__)
    for name, rows in batch.items()
  }


def _specs(params, mesh, rules) -> Iterator[tuple[Any, PartitionSpec]]:
  """A spec for every (path, shape) of a parameter."""
  for path, variable in jax.tree_util.tree_leaves_with_path(
    params, is_leaf=lambda x: isinstance(x, nnx.Variable)
  ):
    axes = getattr(variable, 'axes', ())
    for rest, x in jax.tree_util.tree_leaves_with_path(variable):
      names = (None,) * (x.ndim - len(axes)) + tuple(axes)
      yield (path + rest, x.shape), _spec(x.shape, names, mesh, rules)


def _spec(shape, names, mesh, rules) -> PartitionSpec:
  """Each mesh axis splits at most one dimension, the first it is named for."""
  spec = []
  for size, name in zip(shape, names, strict=True):
    axis = rules.get(name)
    fits = axis and axis not in spec and size % mesh.shape[axis] == 0
    spec.append(axis if fits else None)
  while spec and spec[-1] is None:
    spec.pop()
  return PartitionSpec(*spec)
