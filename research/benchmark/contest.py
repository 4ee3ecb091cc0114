"""A side of a race: a process that builds a task, then repeats it when asked.

Both sides speak JSON lines on stdin and stdout. This file and `inputs.py` are
read by the peers' Python, too: numpy and the standard library alone.
"""

from collections.abc import Callable
import json
import os
import sys
import time
from typing import Any, NamedTuple


class Task(NamedTuple):
  """What a side does.

  Attributes:
    run: One repetition, finished when it returns; gives a number that both
      sides must agree on (a loss, a log-probability), or None.
    facts: What there is to know of it: `params`, `device`, `versions`; on our
      side `tokens` and `flops` of a repetition, too.
    between: Called after each repetition, untimed.
    product: Gives the FLOP/s of a matrix product, here and now.
  """

  run: Callable[[], float | None]
  facts: dict[str, Any]
  between: Callable[[], None] = lambda: None
  product: Callable[[], float] | None = None


def serve(build: Callable[[dict[str, Any]], Task]) -> None:
  """Builds the task that the first line orders; repeats it until stdin ends.

  The first repetition is made at once. An import that fails is told in the
  reply, as `error`.
  """
  # What libraries print must not end up among the replies.
  replies = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)

  def reply(**said):
    replies.write(json.dumps(said) + '\n')
    replies.flush()

  order = json.loads(sys.stdin.readline())
  try:
    task = build(order)
  except ImportError as error:
    reply(error=f'{sys.executable} has no {error.name}')
    return
  value = task.run()
  # Of the whole process, imports and compilation included.
  spent = time.process_time()
  task.between()
  reply(value=value, cpu_seconds=spent, **task.facts)
  for line in sys.stdin:
    asked = json.loads(line)
    if asked['do'] == 'product':
      assert task.product is not None
      reply(flops_per_second=task.product())
    else:
      reply(**repeat(task, asked['times']))


def repeat(task: Task, times: int) -> dict[str, Any]:
  """Wall and CPU seconds of each of some repetitions, and memory in bytes."""
  walls, cpus = [], []
  for _ in range(times):
    wall, cpu = time.perf_counter(), time.process_time()
    task.run()
    walls.append(time.perf_counter() - wall)
    cpus.append(time.process_time() - cpu)
    task.between()
  return {'seconds': walls, 'cpu_seconds': cpus, **_memory()}


def _memory() -> dict[str, int]:
  """Resident memory now and at most, in bytes; nothing where unknown."""
  try:
    with open('/proc/self/status') as file:
      lines = dict(line.split(':', 1) for line in file)
  except OSError:  # not Linux
    return {}
  names = {'resident': 'VmRSS', 'most_resident': 'VmHWM'}
  return {k: int(lines[v].split()[0]) * 1024 for k, v in names.items()}
