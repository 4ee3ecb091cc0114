"""Commands: absl flags, the fields of a config among them, and how they end."""

from collections.abc import Callable, Iterator
import contextlib
import errno
import logging
import os
import re
import select
import signal
import sys
from typing import Any, NoReturn

from absl import app, flags

from research import config, fields
from research.fields import BadInput

_CONFIG = flags.DEFINE_string(
  'config', None, 'MODULE:FUNCTION that returns the config.'
)


def run(main: Callable[[Any], Any], default: str | None = None) -> None:
  """Calls `main(config)` with the config that the command line asks for.

  Bad flags, and BadInput or OSError from `main`, end the program with one line
  on stderr and status 2; Ctrl-C with one line and status 130; a reader of what
  it prints that went away with none and status 141, as shells know it.

  Args:
    main: Takes the config; other absl flags are there as usual.
    default: MODULE:FUNCTION read when `--config` is not given.
  """
  changes = {}

  def split(argv):
    rest, found = _split(argv)
    changes.update(found)
    return rest

  _run(
    lambda: main(
      config.replace(config.load(_CONFIG.value or default), changes)
    ),
    split,
  )


def without_config(main: Callable[[], None]) -> None:
  """Calls `main()` for a command of flags without a config; ends as `run`."""
  _run(main, list)


def _run(main: Callable[[], None], split: Callable[[list], list]) -> None:
  """Calls `main` once absl has parsed the arguments that `split` leaves it."""

  def parse(argv):
    with _one_line():
      rest = _parse_flags(split(argv))
    if flags.FLAGS['verbosity'].using_default_value:
      flags.FLAGS.verbosity = -1  # Warnings; by default absl hides them.
      # Orbax speaks through absl's logger and warns of a slow disk.
      logging.getLogger('absl').setLevel(logging.ERROR)
    return rest

  def call(_):
    with _one_line():
      main()
      sys.stdout.flush()  # Here it may fail, at the interpreter's end not.

  app.run(call, flags_parser=parse)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
  """Ends the program with one line when its user can mend what is wrong."""
  try:
    yield
  except KeyboardInterrupt:
    _end('interrupted', 130)
  except BadInput as e:
    _end(str(e), 2)
  except OSError as e:
    if isinstance(e, BrokenPipeError) and _unread():
      sys.exit(128 + signal.SIGPIPE)
    full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = '; make room, then give the same command again' if full else ''
    _end(f'{str(e) or type(e).__name__}{remedy}', 2)


def _unread() -> bool:
  """Whether nobody reads what is printed any more; it then goes nowhere."""
  printed, pipe = sys.stdout.fileno(), select.poll()
  pipe.register(printed, 0)
  if not any(event & select.POLLERR for _, event in pipe.poll(0)):
    return False
  os.dup2(os.open(os.devnull, os.O_WRONLY), printed)
  return True


def _end(message: str, status: int) -> NoReturn:
  print('error:', ' '.join(message.split()), file=sys.stderr)
  sys.exit(status)


def _split(argv: list[str]) -> tuple[list[str], dict[str, str]]:
  """The arguments that are absl's, and the changes to the config."""
  rest, changes = [], {}
  for argument in argv:
    flag = f'--{argument.lstrip("-")}'
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
    name, _, _ = e.flagname.partition('.')
    hint = fields.nearest(name, flags.FLAGS, 'see --help')
    raise BadInput(f'unknown flag --{e.flagname}; {hint}') from None
  except flags.Error as e:
    unset = re.match(r'flag --(\w+)=None:', str(e))
    needs = unset and f'--{unset[1]} is needed: write --{unset[1]}=VALUE'
    raise BadInput(needs or str(e)) from None
  if rest[1:]:
    raise BadInput(f'{rest[1]!r} is no flag: write --NAME=VALUE')
  return rest
