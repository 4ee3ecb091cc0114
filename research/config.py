"""Configs: frozen dataclasses, written in Python, overridable by flags.

  python -m experiments.train --config=configs.pretrain:decoder \
    --config.model.d_model=256 --config.model.norm=RMSNorm

A field holds None, bool, int, float, str, a Literal, a config, a union of
these, or a tuple of them. A choice between parts is a union of configs and is
made by class name.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import decimal
import difflib
import functools
import hashlib
import importlib
import inspect
import itertools
import json
import math
import numbers
import sys
import types
import typing
from typing import Any, NoReturn, TypeVar

from absl import app, flags

C = TypeVar('C')

_CONFIG = flags.DEFINE_string(
  'config', None, 'MODULE:FUNCTION that returns the config.'
)


class BadInput(ValueError):
  """Input that its giver can mend; says field, value and remedy in a line."""


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


def to_dict(config) -> dict[str, Any]:
  """`config` as JSON data: class name under 'type', tuples as lists."""
  return _plain(config, type(config))


def from_dict(kind, data) -> Any:
  """The config of type `kind` (a class or a union) that `to_dict` wrote.

  Fields that `data` lacks take their defaults.

  Raises:
    BadInput: A field is unknown, or a value not of the field's type.
  """
  return _checked(data, kind, '')


def fingerprint(config) -> str:
  """12 hexadecimal digits that are the same for equal configs, always.

  The SHA-256 of the canonical JSON of `to_dict`, without the fields declared
  with `dataclasses.field(metadata={'fingerprint': False})`.
  """
  data = _plain(config, type(config), whole=False)
  text = json.dumps(data, sort_keys=True, separators=(',', ':'))
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def run(main: Callable[[Any], Any], default: str | None = None) -> NoReturn:
  """Calls `main(config)` with the config that the command line asks for.

  Bad flags, and BadInput or OSError from `main`, end the program with one line
  on stderr and status 2; Ctrl-C with one line and status 130.

  Args:
    main: Takes the config; other absl flags are there as usual.
    default: MODULE:FUNCTION read when `--config` is not given.
  """
  changes = {}

  def parse(argv):
    with _one_line():
      rest, found = _split(argv)
      changes.update(found)
      return _parse_flags(rest)

  def call(_):
    with _one_line():
      main(replace(load(_CONFIG.value or default), changes))

  app.run(call, flags_parser=parse)


def load(name: str | None) -> Any:
  """The config that `name`, a MODULE:FUNCTION, returns.

  Raises:
    BadInput: There is no such module or function, or it returns no config.
  """
  module_name, _, function_name = (name or '').partition(':')
  if not (module_name and function_name):
    raise BadInput(f'--config={name or ""}: give MODULE:FUNCTION')
  try:
    module = importlib.import_module(module_name)
  except ImportError as e:
    raise BadInput(f'--config={name}: {e}') from None
  function = getattr(module, function_name, None)
  if not callable(function):
    found = [n for n, f in vars(module).items() if inspect.isfunction(f)]
    raise BadInput(
      f'--config={name}: {module_name} has no function {function_name!r};'
      f' {_nearest(function_name, found)}'
    )
  config = function()
  if not dataclasses.is_dataclass(config):
    raise BadInput(f'--config={name} returns {config!r}, which is no config')
  return config


# Reading the command line.


class _one_line:  # noqa: N801
  """Ends the program with one line on what the user can mend."""

  def __enter__(self):
    return self

  def __exit__(self, _, error, trace):
    if isinstance(error, KeyboardInterrupt):
      self._end('interrupted', 130)
    if isinstance(error, BadInput | OSError | flags.Error):
      self._end(str(error) or type(error).__name__, 2)

  def _end(self, message: str, status: int) -> NoReturn:
    print('error:', ' '.join(message.split()), file=sys.stderr)
    sys.exit(status)


def _split(argv: list[str]) -> tuple[list[str], dict[str, str]]:
  """The arguments that are absl's, and the changes to the config."""
  rest, changes = [], {}
  for argument in argv:
    flag = '--' + argument.lstrip('-')
    if not (argument.startswith('-') and flag.startswith('--config.')):
      rest.append(argument)
      continue
    path, equals, value = flag.removeprefix('--config.').partition('=')
    if not equals:
      raise BadInput(f'{argument} has no value: write {flag}=VALUE')
    changes[path] = value
  return rest, changes


def _parse_flags(argv: list[str]) -> list[str]:
  try:
    rest = flags.FLAGS(argv)
  except flags.UnrecognizedFlagError as e:
    name = e.flagname.partition('.')[0]
    close = _nearest(name, list(flags.FLAGS), 'see --help')
    raise BadInput(f'unknown flag --{e.flagname}; {close}') from None
  if rest[1:]:
    raise BadInput(f'{rest[1]!r} is no flag: write --NAME=VALUE')
  return rest


def _nearest(name: str, names: Iterable[str], otherwise: str = '') -> str:
  names = [n for n in names if not n.startswith('_')]
  close = difflib.get_close_matches(name, names, n=1)
  if close:
    return f'did you mean {close[0]!r}?'
  return otherwise or f'there are: {", ".join(names) or "none"}'


# Changing a config.


def _changed(current, kind, changes: Mapping[str, Any], path: str):
  """`current` (a value, or a class yet to be built) after `changes`."""
  inner: dict[str, dict[str, Any]] = {}
  for name, value in changes.items():
    head, _, rest = name.partition('.')
    if head:
      inner.setdefault(head, {})[rest] = value
    elif isinstance(value, str):
      current = _parsed(value, kind, current, path)
    else:
      current = _checked(value, kind, path)
  if isinstance(current, tuple):
    return _changed_tuple(current, kind, inner, path)
  if dataclasses.is_dataclass(current):
    return _changed_config(current, inner, path)
  if inner:
    raise BadInput(
      f'{path} is {current!r} and has no field {next(iter(inner))!r};'
      f' set {path} itself: {_allowed(kind)}'
    )
  return current


def _changed_tuple(current: tuple, kind, inner, path: str) -> tuple:
  indices = [str(i) for i in range(len(current))]
  for name in inner:
    if name not in indices:
      raise BadInput(
        f'{path}.{name}: {path} has {len(current)} items,'
        f' counted from 0; set all of them with {path}=A,B,…'
      )
  kinds = _item_kinds(kind, len(current))
  return tuple(
    _changed(item, item_kind, inner.get(i, {}), f'{path}.{i}')
    for i, item, item_kind in zip(indices, current, kinds, strict=True)
  )


def _changed_config(current, inner, path: str):
  built = isinstance(current, type)
  cls = current if built else type(current)
  if not built and not inner:
    return current
  kinds = _fields(cls)
  values = {} if built else {n: getattr(current, n) for n in kinds}
  for name, changes in inner.items():
    if name not in kinds:
      raise _unknown(cls, name, path)
    values[name] = _changed(
      values.get(name, _default(cls, name)),
      kinds[name],
      changes,
      f'{path}.{name}'.removeprefix('.'),
    )
  return _built(cls, values, path)


def _built(cls, values: dict[str, Any], path: str):
  where = f'{path}: ' if path else ''
  for name in _fields(cls):
    if name not in values and _default(cls, name) is dataclasses.MISSING:
      raise BadInput(f'{where}{cls.__name__} needs a value for {name!r}')
  try:
    return cls(**values)
  except BadInput as e:
    raise BadInput(f'{where}{e}') from None


def _unknown(cls, name: str, path: str) -> BadInput:
  where = f'{path}.{name}'.removeprefix('.')
  close = _nearest(name, _fields(cls))
  return BadInput(f'{where}: {cls.__name__} has no field {name!r}; {close}')


@functools.cache
def _fields(cls) -> dict[str, Any]:
  """Each field that can be set, with its type."""
  hints = typing.get_type_hints(cls)
  return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def _default(cls, name: str):
  field = next(f for f in dataclasses.fields(cls) if f.name == name)
  if field.default_factory is not dataclasses.MISSING:
    return field.default_factory()
  return field.default


# Types of fields.


def _members(kind) -> tuple:
  """The alternatives of a union, or the type itself."""
  if typing.get_origin(kind) in (typing.Union, types.UnionType):
    return typing.get_args(kind)
  return (kind,)


def _item_kinds(kind, n: int) -> tuple:
  """The type of each item of an `n`-tuple of type `kind`."""
  for member in _members(kind):
    args = typing.get_args(member)
    if typing.get_origin(member) is tuple:
      if args[1:] == (...,):
        return args[:1] * n
      if len(args) == n:
        return args
  raise _Refused


class _Refused(Exception):
  """A value is not of a type; another alternative may take it."""


def _checked(value, kind, path: str):
  """`value` as one of type `kind`; lists are tuples, dicts are configs."""
  return _first(_checked_as, value, _members(kind), kind, path)


def _parsed(text: str, kind, current, path: str):
  """`text` as a value of type `kind`, or as the class of a config."""
  last = sorted(
    _members(kind), key=lambda k: (k is str, typing.get_origin(k) is tuple)
  )
  parse = functools.partial(_parsed_as, current)
  return _first(parse, text, last, kind, path)


def _first(read, value, members, kind, path: str):
  for member in members:
    try:
      return read(value, member, path)
    except _Refused:
      continue
  shown = repr(value)
  shown = shown if len(shown) <= 80 else shown[:77] + '…'
  raise BadInput(f'{path or "config"}={shown}: {_allowed(kind, value)}')


def _checked_as(value, kind, path: str):
  if dataclasses.is_dataclass(kind):
    if isinstance(value, dict) and value.get('type') == kind.__name__:  # pyright: ignore
      return _config_from(kind, value, path)
    matches = isinstance(value, kind)  # pyright: ignore
  elif typing.get_origin(kind) is typing.Literal:
    matches = (type(value), value) in [(type(a), a) for a in kind.__args__]
  elif typing.get_origin(kind) is tuple:
    if not isinstance(value, tuple | list):
      raise _Refused
    kinds = _item_kinds(kind, len(value))
    return tuple(
      _checked(v, k, f'{path}.{i}')
      for i, (v, k) in enumerate(zip(value, kinds, strict=True))
    )
  elif kind in (int, float):
    number = numbers.Integral if kind is int else numbers.Real
    if not isinstance(value, number) or isinstance(value, bool):
      raise _Refused
    value = kind(value)
    matches = math.isfinite(value)
  elif kind in (bool, str, types.NoneType):
    matches = isinstance(value, kind)
  else:
    raise TypeError(f'{path}: a config has no fields of type {kind}')
  if not matches:
    raise _Refused
  return value


def _config_from(kind, data: dict[str, Any], path: str):
  kinds, values = _fields(kind), {}
  for name, value in data.items():
    if name == 'type':
      continue
    if name not in kinds:
      raise _unknown(kind, name, path)
    where = f'{path}.{name}'.removeprefix('.')
    values[name] = _checked(value, kinds[name], where)
  return _built(kind, values, path)


def _parsed_as(current, text: str, kind, path: str):
  if dataclasses.is_dataclass(kind):
    if text == kind.__name__:  # pyright: ignore
      return current if type(current) is kind else kind
  elif typing.get_origin(kind) is typing.Literal:
    for value in kind.__args__:
      if text == _word(value):
        return value
  elif typing.get_origin(kind) is tuple:
    parts = text.removesuffix(',').split(',') if text else []
    kinds = _item_kinds(kind, len(parts))
    present = (current if isinstance(current, tuple) else ()) + (None,) * 99
    return tuple(
      _parsed(part.strip(), k, now, f'{path}.{i}')
      for i, (part, k, now) in enumerate(zip(parts, kinds, present))  # noqa: B905
    )
  elif kind is str:
    return text
  elif kind in (bool, types.NoneType):
    words = {'true': True, 'false': False} if kind is bool else {'none': None}
    if text.lower() in words:
      return words[text.lower()]
  elif kind in (int, float):
    return _checked_as(_number(text, kind), kind, path)
  else:
    raise TypeError(f'{path}: a config has no fields of type {kind}')
  raise _Refused


def _number(text: str, kind):
  """`text` as a number; '1e6' and '1_000_000' are whole."""
  try:
    exact = decimal.Decimal(text)
    if kind is float:
      return float(text)
  except (decimal.InvalidOperation, ValueError):
    raise _Refused from None
  whole = exact.is_finite() and exact.adjusted() < 30 and exact == int(exact)
  return int(exact) if whole else None


def _word(value) -> str:
  """How a value is written on the command line."""
  return str(value).lower() if value in (None, True, False) else str(value)


def _allowed(kind, value=None) -> str:
  """What a field takes, and what the nearest to `value` is."""
  names, others = [], []
  for member in _members(kind):
    if dataclasses.is_dataclass(member):
      names.append(member.__name__)  # pyright: ignore
    elif typing.get_origin(member) is typing.Literal:
      names += map(_word, member.__args__)
    elif typing.get_origin(member) is tuple:
      item = typing.get_args(member)[0]
      others.append(f'a comma-separated list ({_allowed(item)})')
    else:
      others.append(_WORDS[member])
  allowed = [f'one of {", ".join(names)}'] if names else []
  text = ' or '.join(['expected ' + ', '.join(allowed + others[:1])][:1])
  text = 'expected ' + ' or '.join(allowed + others)
  if names and isinstance(value, str):
    close = difflib.get_close_matches(value, names, n=1)
    text += f'; did you mean {close[0]!r}?' if close else ''
  return text


_WORDS = {
  bool: 'true or false',
  int: 'a whole number',
  float: 'a finite number',
  str: 'text',
  types.NoneType: 'none',
}


# Writing a config.


def _plain(value, kind, whole: bool = True):
  """`value` as JSON data; a whole number in a float field is a float."""
  if dataclasses.is_dataclass(value):
    cls = type(value)
    kept = {
      f.name
      for f in dataclasses.fields(value)
      if whole or f.metadata.get('fingerprint', True)
    }
    return {'type': cls.__name__} | {
      name: _plain(getattr(value, name), kind, whole)
      for name, kind in _fields(cls).items()
      if name in kept
    }
  if isinstance(value, tuple):
    kinds = _item_kinds(kind, len(value))
    return [_plain(v, k, whole) for v, k in zip(value, kinds, strict=True)]
  return _checked(value, kind, '')
