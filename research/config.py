"""Configs: frozen dataclasses, written in Python, overridable by flags.

  python -m experiments.train --config=configs.pretrain:decoder \
    --config.model.d_model=256 --config.model.norm=RMSNorm

A choice between parts is a union of configs, made by class name.
"""

from collections.abc import Iterable, Iterator, Mapping
import dataclasses
import hashlib
import importlib
import inspect
import itertools
import json
import pkgutil
from typing import Any, TypeVar

from research import fields
from research.fields import BadInput

C = TypeVar('C')


def replace(config: C, changes: Mapping[str, Any]) -> C:
  """`config` with every dotted path in `changes` set, all at once.

  Text is parsed as the field's type asks (`'none'`, `'1e6'`, `'1,2,3'`, a
  class name); any other value must already be of that type. A class name keeps
  the present field values where it is the present class and takes the
  defaults where it is not. An integer in a path is an index into a tuple.

  Raises:
    BadInput: A path, value or combination of values is not allowed.
  """
  for path in changes:
    if not all(path.split('.')):
      raise BadInput(f'{path!r} is not a dotted path of field names')
  return _changed(config, type(config), changes, '')


def grid(config: C, axes: Mapping[str, Iterable[Any]]) -> Iterator[C]:
  """Every combination of the values along `axes`; the last path goes fastest.

  Raises:
    BadInput: As `replace`.
  """
  for path, values in axes.items():
    if isinstance(values, str):
      raise BadInput(f'grid: {path}={values!r} must be a sequence of values')
  for values in itertools.product(*axes.values()):
    yield replace(config, dict(zip(axes, values, strict=True)))


def to_dict(config: Any) -> dict[str, Any]:
  """`config` as JSON data: class name under 'type', tuples as lists."""
  return _plain(config, type(config), '')


def from_dict(kind: Any, data: Any) -> Any:
  """The config of type `kind` (a class or a union) that `to_dict` wrote.

  Fields that `data` lacks take their defaults.

  Raises:
    BadInput: A field is unknown, or a value not of the field's type.
  """
  return fields.check(data, kind, '')


def fingerprint(config: Any) -> str:
  """12 hexadecimal digits, the same for equal configs in any process.

  They begin the SHA-256 of the canonical JSON of `to_dict`, without the fields
  declared with `dataclasses.field(metadata={'fingerprint': False})`.
  """
  data = _plain(config, type(config), '', whole=False)
  text = json.dumps(data, sort_keys=True, separators=(',', ':'))
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def load(name: str | None) -> Any:
  """The config that `name`, a MODULE:FUNCTION, returns.

  Raises:
    BadInput: There is no such module or function, or it returns no config.
  """
  flag = f'--config={name or ""}'
  module_name, _, function_name = (name or '').partition(':')
  if not all(map(str.isidentifier, [*module_name.split('.'), function_name])):
    raise BadInput(f'{flag}: give MODULE:FUNCTION')
  try:
    module = importlib.import_module(module_name)
  except ImportError as e:
    raise BadInput(f'{flag}: {e}{_module_hint(module_name, e)}') from None
  function = getattr(module, function_name, None)
  if not callable(function):
    hint = fields.nearest(function_name, _functions(module))
    raise BadInput(f'{flag}: no function {function_name!r}; {hint}')
  try:
    inspect.signature(function).bind()
  except TypeError as e:
    raise BadInput(f'{flag}: {function_name} is no config: {e}') from None
  config = function()
  if not dataclasses.is_dataclass(config):
    raise BadInput(f'{flag} returns {config!r}, which is no config')
  return config


def _module_hint(name: str, error: ImportError) -> str:
  """Which module was meant, if it is `name` itself that is not there."""
  package, _, _ = name.rpartition('.')
  if error.name != name or not package:
    return ''
  paths = getattr(importlib.import_module(package), '__path__', [])
  modules = [f'{package}.{m.name}' for m in pkgutil.iter_modules(paths)]
  return f'; {fields.nearest(name, modules)}' if modules else ''


def _functions(module: Any) -> list[str]:
  found = inspect.getmembers(module, inspect.isfunction)
  return [name for name, f in found if f.__module__ == module.__name__]


# Changing a config.


def _changed(
  current: Any, kind: Any, changes: Mapping[str, Any], path: str
) -> Any:
  """`current` (a value, or a class yet to be built) after `changes`."""
  inner: dict[str, dict[str, Any]] = {}
  for name, value in changes.items():
    head, _, rest = name.partition('.')
    if head:
      inner.setdefault(head, {})[rest] = value
    elif isinstance(value, str):
      current = fields.parse(value, kind, current, path)
    else:
      current = fields.check(value, kind, path)
  if isinstance(current, tuple):
    return _changed_tuple(current, kind, inner, path)
  if dataclasses.is_dataclass(current):
    return _changed_config(current, inner, path)
  if inner:
    raise BadInput(
      f'{path} is {current!r} and has no field {next(iter(inner))!r};'
      f' set {path} itself to {fields.describe(kind)}'
    )
  return current


def _changed_tuple(current: tuple, kind: Any, inner: Mapping, path: str) -> Any:
  indices = [str(i) for i in range(len(current))]
  for name in inner:
    if name not in indices:
      raise BadInput(
        f'{path}.{name}: {path} has length {len(current)}, counted from 0;'
        f' set all of them with {path}=A,B'
      )
  kinds = fields.items(kind, len(current))
  return tuple(
    _changed(item, item_kind, inner.get(i, {}), f'{path}.{i}')
    for i, item, item_kind in zip(indices, current, kinds, strict=True)
  )


def _changed_config(current: Any, inner: Mapping, path: str) -> Any:
  cls = current if isinstance(current, type) else type(current)
  if current is not cls and not inner:
    return current
  kinds = fields.fields(cls)
  values = {n: getattr(current, n) for n in kinds if current is not cls}
  for name, changes in inner.items():
    where = f'{path}.{name}'.removeprefix('.')
    if name not in kinds:
      raise BadInput(
        f'{where}: {cls.__name__} has no field {name!r}; {_hint(current, name)}'
      )
    now = values.get(name, fields.default(cls, name))
    values[name] = _changed(now, kinds[name], changes, where)
  return fields.build(cls, values, path)


def _hint(current: Any, name: str) -> str:
  """Where in `current` a field called like `name` may be found."""
  paths = list(_paths(current))
  deeper = [p for p in paths if p.endswith(f'.{name}')]
  return (
    f'did you mean {deeper[0]!r}?'
    if deeper
    else fields.nearest(name, [p for p in paths if '.' not in p])
  )


def _paths(config: Any) -> Iterator[str]:
  cls = config if isinstance(config, type) else type(config)
  for name in fields.fields(cls):
    yield name
    value = getattr(config, name, None)
    if dataclasses.is_dataclass(value):
      yield from (f'{name}.{path}' for path in _paths(value))


# Writing a config.


def _plain(value: Any, kind: Any, path: str, whole: bool = True) -> Any:
  """`value` as JSON data; a whole number in a float field is a float."""
  if isinstance(value, tuple):
    kinds = fields.items(kind, len(value))
    pairs = enumerate(zip(value, kinds, strict=True))
    return [_plain(v, k, f'{path}.{i}', whole) for i, (v, k) in pairs]
  value = fields.check(value, kind, path)
  if not dataclasses.is_dataclass(value):
    return value
  left_out = {
    f.name
    for f in dataclasses.fields(value)
    if not (whole or f.metadata.get('fingerprint', True))
  }
  kinds = fields.fields(type(value))
  return {'type': type(value).__name__} | {
    name: _plain(
      getattr(value, name), kind, f'{path}.{name}'.removeprefix('.'), whole
    )
    for name, kind in kinds.items()
    if name not in left_out
  }
