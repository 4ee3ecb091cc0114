"""The table of a family: which of its tensors are which of our parameters.

One tensor of theirs is one or more parameters of ours: a fused projection is
queries, keys and values. A `{}` in both names stands for the number of a layer,
which our stacked parameters have as their first dimension. A matrix of theirs
is [out, in], as in torch, and ours [*in, *out].
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import math

import numpy as np

from research.models import parts

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
  """One tensor of theirs.

  Attributes:
    name: Its name, with `{}` for the number of a layer.
    ours: The parameters it holds; none of them stands in another tensor.
    rows: For each parameter its outputs' indices in the tensor; None: all.
    matrix: Whether it is a matrix or its bias, not a table, norm or scalar.
    transposed: Whether a matrix lies [in, out], as GPT-2's.
    skip: Rows of a table before position 0.
  """

  name: str
  ours: tuple[str, ...]
  rows: tuple[np.ndarray, ...] | None = None
  matrix: bool = False
  transposed: bool = False
  skip: int = 0

  @property
  def layered(self) -> bool:
    return '{}' in self.name

  def shape(self, shapes: Mapping[str, Shape]) -> Shape:
    """Its shape, from the shapes of our parameters of one layer."""
    first = shapes[self.ours[0]]
    if not self.matrix:
      return (first[0] + self.skip, *first[1:])
    out = sum(
      math.prod(shapes[name]) // self._n_in(name, shapes[name])
      for name in self.ours
    )
    n_in = self._n_in(self.ours[0], first)
    if n_in == 1 and _is_bias(self.ours[0]):
      return (out,)
    return (n_in, out) if self.transposed else (out, n_in)

  def split(self, x: np.ndarray, name: str, shape: Shape) -> np.ndarray:
    """The parameter called `name`, of this shape, in the tensor `x`."""
    if not self.matrix:
      return x[self.skip :]
    x = x.T if self.transposed else x
    if self.rows is not None:
      x = x[self.rows[self.ours.index(name)]]
    return x.T.reshape(shape)

  def join(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tensor, from our parameters of one layer."""
    first = parameters[self.ours[0]]
    shapes = {name: parameters[name].shape for name in self.ours}
    if not self.matrix:
      above = np.zeros((self.skip, *first.shape[1:]), first.dtype)
      return np.concatenate([above, first])
    full = np.empty(self.shape(shapes), first.dtype)
    x = full.T if self.transposed else full
    for i, (name, shape) in enumerate(shapes.items()):
      rows = slice(None) if self.rows is None else self.rows[i]
      matrix = parameters[name].reshape(self._n_in(name, shape), -1).T
      x[rows] = matrix[:, 0] if x.ndim == 1 else matrix
    return full

  def _n_in(self, name: str, shape: Shape) -> int:
    """Inputs of a matrix; a bias counts one."""
    if _is_bias(name):
      return 1
    return math.prod(shape[: 2 if name.endswith('.out') else 1])


def _is_bias(name: str) -> bool:
  return name.endswith('bias')


def same(name: str, ours: str, skip: int = 0) -> Tensor:
  """A table or vector that is ours as it stands."""
  return Tensor(name, (ours,), skip=skip)


def norm(name: str, ours: str) -> Iterator[Tensor]:
  """Scale and shift."""
  yield same(f'{name}.weight', f'{ours}.scale')
  yield same(f'{name}.bias', f'{ours}.bias')


def linear(
  name: str,
  *ours: str,
  rows: Sequence[np.ndarray] | None = None,
  transposed: bool = False,
) -> Iterator[Tensor]:
  """A matrix and its bias, which hold one parameter of ours or several."""
  kept = None if rows is None else tuple(rows)
  biases = tuple(map(bias_name, ours))
  yield Tensor(f'{name}.weight', ours, kept, True, transposed)
  yield Tensor(f'{name}.bias', biases, kept, True)


def bias_name(ours: str) -> str:
  """The name of the bias beside a matrix of ours."""
  stem, _, last = ours.rpartition('.')
  return f'{stem}.bias' if last in ('weight', 'dense') else f'{ours}_bias'


def one_after_another(spec: parts.Attention) -> list[np.ndarray]:
  """Rows of a fused projection: all queries, then keys, then values."""
  q, k = spec.n_heads * spec.d_head, spec.n_kv_heads * spec.d_head
  return np.split(np.arange(q + 2 * k), [q, q + k])


def grouped(spec: parts.Attention) -> list[np.ndarray]:
  """Rows of a fused projection: by group, its queries, its key, its value."""
  group = spec.n_heads // spec.n_kv_heads
  shape = spec.n_kv_heads, group + 2, spec.d_head
  index = np.arange(math.prod(shape)).reshape(shape)
  queries, keys, values = np.split(index, [group, group + 1], axis=1)
  return [queries.ravel(), keys.ravel(), values.ravel()]


def interleaved(n_heads: int, d_head: int, n_rotated: int) -> np.ndarray:
  """Rows of queries or keys whose rotated pairs are neighbours.

  Our pairs lie half of the rotated dimensions apart, which is the same
  rotation of dimensions in another order.
  """
  rotated = np.arange(n_rotated).reshape(-1, 2).T.ravel()
  head = np.concatenate([rotated, np.arange(n_rotated, d_head)])
  return (np.arange(n_heads)[:, None] * d_head + head).ravel()
