"""Prefetch: the next items of an iterator, made ahead by a thread."""

from collections.abc import Generator, Iterator
import queue
import threading
from typing import TypeVar

T = TypeVar('T')


def prefetch(items: Iterator[T], depth: int) -> Generator[T, None, None]:
  """The same items in the same order, up to `depth` of them ahead.

  An exception of `items` is raised where its item would have come. The thread
  starts with the first item asked for and has ended when the iterator is
  exhausted, closed or collected. With `depth` 0 there is no thread.
  """
  if depth == 0:
    yield from items
    return
  ready: queue.Queue = queue.Queue(maxsize=depth)
  stopped = threading.Event()

  def put(entry) -> bool:
    while not stopped.is_set():
      try:
        ready.put(entry, timeout=0.1)
        return True
      except queue.Full:
        continue
    return False

  def fill() -> None:
    try:
      for item in items:
        if not put((item, None)):
          return
      put((None, StopIteration()))
    except BaseException as error:  # passed on to the reader
      put((None, error))

  thread = threading.Thread(target=fill, name='prefetch', daemon=True)
  thread.start()
  try:
    while True:
      item, error = ready.get()
      if isinstance(error, StopIteration):
        return
      if error is not None:
        raise error
      yield item
  finally:
    stopped.set()
    while not ready.empty():
      ready.get_nowait()
    thread.join()
