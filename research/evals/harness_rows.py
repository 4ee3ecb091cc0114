"""What lm-eval found, as rows of our table."""

from collections.abc import Iterator, Mapping
import hashlib
import importlib.metadata
import json
from typing import Any

from research.inference import frame as frames

Row = dict[str, Any]


def rows(found: Mapping[str, Any], model: Any) -> list[Row]:
  """One row a task or group, metric and filter.

  Args:
    found: What `lm_eval.simple_evaluate` returns, samples included.
    model: The `harness.Model` that was asked.
  """
  return [row for task in found['results'] for row in _rows(task, found, model)]


def _rows(task: str, found: Mapping[str, Any], model: Any) -> Iterator[Row]:
  results = found['results'][task]
  parts = list(_parts(task, found))
  counts = found['n-samples']
  for key, value in results.items():
    metric, comma, name = key.partition(',')
    if not comma or metric.endswith('_stderr'):
      continue
    stderr = results.get(f'{metric}_stderr,{name}')
    yield {
      'task': task,
      'domain': 'all',
      'metric': metric if name == 'none' else f'{metric} ({name})',
      'value': float(value),
      'stderr': stderr if isinstance(stderr, float) else None,
      'shots': found['n-shot'].get(task, 0),
      'n': sum(counts[part]['effective'] for part in parts),
      'rule': _rule(task, found, model),
      'prompt_hash': prompt_hash({p: found['samples'][p] for p in parts}),
    }


def _parts(task: str, found: Mapping[str, Any]) -> Iterator[str]:
  """The tasks that were asked: of a group its own, at any depth."""
  if task in found['samples']:
    yield task
    return
  for part in found['group_subtasks'][task]:
    yield from _parts(part, found)


def _rule(task: str, found: Mapping[str, Any], model: Any) -> str:
  bos = 'bos before every text' if model.frame.before else 'no bos'
  if model.template:
    asked = 'a chat template'
  elif model.ids.specials.own is None:
    asked = 'no chat template'
  else:
    asked = 'no chat template, names of specials spelled in letters'
  return (
    f'lm-eval {importlib.metadata.version("lm_eval")}, version'
    f' {found["versions"].get(task)} of the task,'
    f' {found["n-shot"].get(task, 0)} shots, {asked}, {bos}, windows of'
    f' {model.max_length} tokens without overlap'
    f'{frames.told(model.frame, model.ids)}{model.ids.caveat}'
  )


def prompt_hash(samples: Mapping[str, Any]) -> str:
  """16 hex digits of all that was asked, in order.

  Args:
    samples: Of each task: its items, as the harness logs them.
  """
  told = [
    [task, s['doc_id'], s['arguments'], s['target_hash']]
    for task, some in samples.items()
    for s in some
  ]
  text = json.dumps(told, default=str)
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
