"""Races as lines of text."""

from collections.abc import Iterator, Sequence
import itertools
import statistics
from typing import Any

HEADS = (
  'case',
  'side',
  'ms, min',
  'median',
  'CPU ms',
  'tokens/s',
  'GFLOP/s',
  'of product',
  'MiB',
  'first s',
  'others',
  'times as fast',
)


def table(results: Sequence[dict[str, Any]]) -> str:
  """A line a side: least and median time, and what follows from the least.

  `CPU ms` is the least CPU time of a repetition, `of product` the share of
  the best matrix product of the same run, `first s` the time from the start
  of the process to the end of its first repetition, `others` the share of the
  cores' time that other processes took, `times as fast` the median of the
  rounds, least and most.
  """
  rows = [HEADS, *(row for result in results for row in _rows(result))]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return '\n'.join(
    '  '.join(
      text.ljust(width) if i < 2 else text.rjust(width)
      for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in rows
  )


def _rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
  ours, peer = result['ours'], result['peer']
  for side in (ours, *([peer] if peer else [])):
    walls = _all(side, 'seconds')
    least = min(walls)
    tokens, flops = ours.get('tokens'), ours.get('flops')
    product = result['product_flops_per_second']
    last = side['turns'][-1]
    yield (
      f'{result["suite"]} {result["case"]}',
      side.get('name', 'ours'),
      f'{1e3 * least:.4g}',
      f'{1e3 * statistics.median(walls):.4g}',
      f'{1e3 * min(_all(side, "cpu_seconds")):.4g}',
      f'{tokens / least:,.0f}' if tokens else '–',
      f'{flops / least / 1e9:.1f}' if flops else '–',
      f'{flops / least / product:.0%}' if flops and product else '–',
      f'{last["resident"] / 2**20:,.0f}' if 'resident' in last else '–',
      f'{side["first_seconds"]:.1f}',
      _share(result['foreign_load']),
      _ratio(result) if side is ours else '',
    )


def _all(side: dict[str, Any], clock: str) -> list[float]:
  return list(itertools.chain(*(turn[clock] for turn in side['turns'])))


def _share(foreign: float | None) -> str:
  return 'unknown' if foreign is None else f'{foreign:.0%}'


def _ratio(result: dict[str, Any]) -> str:
  if result['peer'] is None:
    of = result['ours'].get('of_a_step')
    if of is None:
      return '–'
    least = min(_all(result['ours'], 'cpu_seconds'))
    return f'{least / of:.2%} of a step'
  if result['ratio'] is None:
    return 'busy: not told'
  wall, cpu = (result['ratio'][c] for c in ('seconds', 'cpu_seconds'))
  said = f'{wall["median"]:.2f} [{wall["least"]:.2f}, {wall["most"]:.2f}]'
  return f'{said}, CPU {cpu["median"]:.2f}' if result['busy'] else said
