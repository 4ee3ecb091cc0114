"""What else computes on the cores that a benchmark runs on, from /proc."""

from collections.abc import Iterable, Sequence
import os
import time
from typing import NamedTuple

QUIET = 0.05
"""Share of the cores' time that others may take; above, a machine is busy."""


class Mark(NamedTuple):
  """A moment.

  Attributes:
    seconds: Of the clock.
    busy: Seconds that the cores have computed since they started.
    own: Of these, those of the processes of ours.
  """

  seconds: float
  busy: float
  own: float


def mark(cores: Sequence[int], pids: Iterable[int]) -> Mark | None:
  """This moment; None where there is no /proc.

  Args:
    cores: Those that are counted, all of them for the processes' time, too.
    pids: The processes whose time is ours, ended ones apart.
  """
  try:
    with open('/proc/stat') as file:
      busy = busy_seconds(file.read(), cores)
    own = sum(_spent(pid) for pid in pids)
  except OSError:
    return None
  return Mark(time.perf_counter(), busy, own)


def foreign(
  first: Mark | None, last: Mark | None, n_cores: int
) -> float | None:
  """Share of the cores' time between two moments that others took."""
  if first is None or last is None or last.seconds <= first.seconds:
    return None
  others = (last.busy - first.busy) - (last.own - first.own)
  return max(0.0, others / (n_cores * (last.seconds - first.seconds)))


def busy_seconds(stat: str, cores: Sequence[int]) -> float:
  """Seconds that some cores were not idle, by the text of /proc/stat.

  Time that a hypervisor gave to others (`steal`) is not idle, either.
  """
  wanted = {f'cpu{core}' for core in cores}
  total = 0
  for line in stat.splitlines():
    name, *fields = line.split()
    if name in wanted:
      user, nice, system, _, _, interrupts, soft, steal = map(int, fields[:8])
      total += user + nice + system + interrupts + soft + steal
  return total / os.sysconf('SC_CLK_TCK')


def _spent(pid: int) -> float:
  """CPU seconds of all threads of a process."""
  with open(f'/proc/{pid}/stat') as file:
    fields = file.read().rpartition(')')[2].split()
  return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
