"""Prefetching changes when items are made, and nothing else."""

import gc
import threading
import time

import pytest

from research.data.prefetch import prefetch

DEPTHS = pytest.mark.parametrize('depth', [0, 1, 4])


def threads():
  return [t for t in threading.enumerate() if t.name == 'prefetch']


def until(condition, seconds=10):
  """Waits for `condition`, which other threads bring about."""
  end = time.monotonic() + seconds
  while not condition() and time.monotonic() < end:
    time.sleep(0.01)
  return condition()


def counted(made, n=1000):
  for i in range(n):
    made.append(i)
    yield i


@DEPTHS
def test_items_come_in_order_and_the_thread_ends(depth):
  assert list(prefetch(iter(range(50)), depth)) == list(range(50))
  assert not threads()


@DEPTHS
def test_no_more_than_the_depth_is_made_ahead(depth):
  made = []
  items = prefetch(counted(made), depth)
  assert not made and not threads()
  assert [next(items) for _ in range(3)] == [0, 1, 2]
  # The thread holds one item more, which it waits to hand over.
  most = 3 + depth + (depth > 0)
  assert until(lambda: len(made) == most)
  time.sleep(0.05)
  assert len(made) == most
  items.close()
  assert not threads()


@DEPTHS
@pytest.mark.parametrize('forget', [False, True])
def test_the_thread_ends_when_the_reader_does(depth, forget):
  items = prefetch(counted([]), depth)
  next(items)
  assert len(threads()) == (depth > 0)
  if forget:
    del items
    gc.collect()
  else:
    items.close()
  assert not threads()


@DEPTHS
@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, MemoryError])
def test_an_exception_comes_where_its_item_would_have(depth, error):
  def items():
    yield 1
    yield 2
    raise error('as told')

  got = prefetch(items(), depth)
  assert [next(got), next(got)] == [1, 2]
  with pytest.raises(error, match='as told'):
    next(got)
  assert not threads()
  assert list(got) == []
