"""Tensors in safetensors files, read and written one at a time.

The library maps a file into memory, and what it has read stays resident; here
a tensor is read when it is asked for, so a model needs its own size and one
tensor more. The format: eight bytes that say how long the header is, a JSON
header of name, dtype, shape and place, then the bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from research.config import BadInput
from research.files import json_object

SINGLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
_DTYPES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': jnp.bfloat16,
  'I64': np.int64,
  'I32': np.int32,
  'I16': np.int16,
  'I8': np.int8,
  'U8': np.uint8,
  'BOOL': np.bool_,
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_LONGEST_HEADER = 100_000_000


class Stored(NamedTuple):
  """Where a tensor lies.

  Attributes:
    path: Its file.
    dtype: Of its numbers.
    shape: Its dimensions.
    offset: Of its first byte in the file.
  """

  path: pathlib.Path
  dtype: np.dtype
  shape: tuple[int, ...]
  offset: int


class Tensors(Mapping[str, np.ndarray]):
  """The tensors of a checkpoint by name; each look-up reads the disk."""

  def __init__(self, stored: Mapping[str, Stored]):
    self.stored = stored

  def __getitem__(self, name: str) -> np.ndarray:
    at = self.stored[name]
    x = empty(at.shape, at.dtype)
    with at.path.open('rb') as file:
      file.seek(at.offset)
      file.readinto(x.reshape(-1).view(np.uint8).data)
    return x

  def __iter__(self) -> Iterator[str]:
    return iter(self.stored)

  def __len__(self) -> int:
    return len(self.stored)

  def shape(self, name: str) -> tuple[int, ...]:
    """The shape of a tensor, which is not read."""
    return self.stored[name].shape

  def dtype(self, name: str) -> np.dtype:
    """The dtype of a tensor, which is not read."""
    return self.stored[name].dtype


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
  """Memory that JAX on a CPU uses as it is: it begins at a multiple of 64."""
  n = math.prod(shape) * dtype.itemsize
  buffer = np.empty(n + 64, np.uint8)
  start = -buffer.ctypes.data % 64
  return buffer[start : start + n].view(dtype).reshape(shape)


def find(folder: pathlib.Path) -> Tensors:
  """The tensors of the checkpoint in `folder`: one file, or shards.

  Raises:
    BadInput: There is none, or a file of it is missing or damaged.
  """
  if (folder / SINGLE).is_file():
    return Tensors(_stored(folder / SINGLE))
  if not (folder / INDEX).is_file():
    raise BadInput(
      f'source={folder} has no {SINGLE} and no {INDEX}: nothing that may hold'
      ' code (.bin, .pt, .pkl) is read; save the model as safetensors'
    )
  places = _places(folder / INDEX)
  files = {name: _stored(folder / name) for name in set(places.values())}
  found = {}
  for name, file in places.items():
    if name not in files[file]:
      raise BadInput(f'{folder / file} lacks {name}, which {INDEX} puts there')
    found[name] = files[file][name]
  return Tensors(found)


def shards(folder: pathlib.Path) -> list[str]:
  """The files that a sharded checkpoint's index names; none without one.

  Raises:
    BadInput: The index is damaged.
  """
  path = folder / INDEX
  if (folder / SINGLE).is_file() or not path.is_file():
    return []
  return sorted(set(_places(path).values()))


def _places(path: pathlib.Path) -> dict[str, str]:
  """The file beside an index that holds each tensor."""
  places = json_object(path).get('weight_map')
  if not isinstance(places, dict) or not all(map(_is_name, places.values())):
    raise BadInput(
      f'{path}: weight_map names no file beside it for each tensor: fetch it'
      ' again'
    )
  return places


def _is_name(value: Any) -> bool:
  return isinstance(value, str) and pathlib.PurePath(value).name == value


def _stored(path: pathlib.Path) -> dict[str, Stored]:
  if not path.is_file():
    raise BadInput(f'{path} is missing; {INDEX} names it')
  size = path.stat().st_size
  with path.open('rb') as file:
    length = int.from_bytes(file.read(8), 'little')
    if length > min(size, _LONGEST_HEADER):
      raise BadInput(f'{path} is no safetensors file, or is cut short')
    try:
      header = json.loads(file.read(length))
      header.pop('__metadata__', None)
      return {
        name: _checked(path, name, about, 8 + length, size)
        for name, about in header.items()
      }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      if isinstance(error, BadInput):
        raise
      raise BadInput(f'{path} is no safetensors file, or is damaged') from None


def _checked(path, name: str, about: Any, start: int, size: int) -> Stored:
  if about['dtype'] not in _DTYPES:
    raise BadInput(
      f'{path}: {name} has dtype {about["dtype"]}; convert it to F32, F16 or'
      ' BF16'
    )
  dtype, shape = np.dtype(_DTYPES[about['dtype']]), tuple(about['shape'])
  begin, end = about['data_offsets']
  whole = end - begin == math.prod(shape) * dtype.itemsize
  if not whole or begin < 0 or start + end > size:
    raise BadInput(f'{path}: {name} is cut short; download the file again')
  return Stored(path, dtype, shape, start + begin)


def write(
  path: pathlib.Path,
  shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
  arrays: Iterable[np.ndarray],
) -> None:
  """Writes a safetensors file, whole or not at all.

  Args:
    path: The file.
    shapes: Shape and dtype of each tensor by name.
    arrays: The tensors, in the same order; each is written as it comes.

  Raises:
    OSError: The disk is full, or the folder cannot be written.
  """
  header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
  offset = 0
  for name, (shape, dtype) in shapes.items():
    end = offset + math.prod(shape) * dtype.itemsize
    header[name] = {
      'dtype': _NAMES[dtype],
      'shape': list(shape),
      'data_offsets': [offset, end],
    }
    offset = end
  text = json.dumps(header, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % 8)
  part = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    with part.open('wb') as file:
      file.write(len(text).to_bytes(8, 'little') + text)
      for (shape, dtype), x in zip(shapes.values(), arrays, strict=True):
        assert x.shape == shape, (x.shape, shape)
        np.ascontiguousarray(x, dtype).tofile(file)
    part.replace(path)
  finally:
    part.unlink(missing_ok=True)
