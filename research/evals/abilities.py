"""Abilities: tasks asked of a model in several ways, as rows of results."""

from collections.abc import Iterator, Sequence
import functools
import hashlib
from typing import Any

from research import files
from research.data.tokenizers import Tokenizer
from research.evals import answering, metrics, outputs
from research.evals.prompts import Posed, Prompting, Task, pose
from research.inference import frame as frames

Row = dict[str, Any]


def evaluate(
  model: Any,
  tokenizer: Tokenizer,
  tasks: Sequence[Task],
  *,
  shots: Sequence[int] = (0,),
  prompting: Sequence[Prompting] = ('plain',),
  n_items: int = 200,
  n_samples: int = 0,
  seed: int = 0,
  batch_size: int = 32,
  folder: files.Path | None = None,
) -> Iterator[Row]:
  """Rows (task, metric, value, stderr, n, chance, …) of every task.

  Every task is asked with each number of shots and in each way; the items are
  the same in all. Further columns: `shots`, `prompting`, `prompt_hash`,
  `answer_length` (mean, in tokens, the end included) and `rule`.

  Args:
    model: A network with `cfg`.
    tokenizer: The model's.
    tasks: What is asked.
    shots: Numbers of solved items before a question.
    prompting: Ways to ask.
    n_items: Items a task.
    n_samples: Answers drawn for each item.
    seed: Of items, shots and drawn answers.
    batch_size: Rows a forward pass.
    folder: Where outputs are kept, or were kept before: those are read, and
      the model is not asked again. None keeps none.

  Raises:
    BadInput: A task cannot be read, has too few items, or does not fit.
  """
  for posed in _all(tasks, shots, prompting, n_items, seed):
    found = _outputs(
      model, posed, tokenizer, n_samples, seed, batch_size, folder
    )
    yield from rows(posed, found)


def check(
  cfg: Any,
  tokenizer: Tokenizer,
  tasks: Sequence[Task],
  *,
  shots: Sequence[int],
  prompting: Sequence[Prompting],
  n_items: int,
  seed: int,
) -> None:
  """Refuses what `evaluate` would refuse; asks nothing.

  Raises:
    BadInput: As `evaluate`.
  """
  asked = tuple(tasks), tuple(shots), tuple(prompting), n_items, seed
  frame = frames.asking(cfg.architecture, tokenizer)
  for name, need in _needs(tokenizer, *asked):
    if need.thought:
      answering.check(cfg, frame, need.context, need.thought, name)
    answering.check(cfg, frame, need.context + need.thought, need.slot, name)


def rows(posed: Posed, found: Sequence[outputs.Output]) -> Iterator[Row]:
  """The rows that follow from stored outputs."""
  length = sum(len(output['log_p']) for output in found) / len(found)
  for measure in metrics.measures(found, posed.guess, posed.prose):
    yield {
      'task': posed.task,
      'domain': 'all',
      'prompting': posed.prompting,
      'shots': posed.shots,
      'prompt_hash': posed.hash,
      'answer_length': length,
      **measure.row(),
    }


def _all(tasks, shots, prompting, n_items: int, seed: int) -> Iterator[Posed]:
  for task in tasks:
    for way in prompting:
      for k in shots:
        posed = _posed(task, way, k, n_items, seed)
        if posed is not None:
          yield posed


@functools.lru_cache(maxsize=8)
def _needs(tokenizer: Tokenizer, *asked) -> list[tuple[str, outputs.Need]]:
  return [
    (posed.task, outputs.need(posed, tokenizer)) for posed in _all(*asked)
  ]


_posed = functools.lru_cache(maxsize=256)(pose)


def _outputs(
  model,
  posed: Posed,
  tokenizer: Tokenizer,
  n_samples: int,
  seed: int,
  batch_size: int,
  folder: files.Path | None,
) -> list[outputs.Output]:
  ask = functools.partial(
    outputs.outputs,
    model,
    posed,
    tokenizer,
    n_samples=n_samples,
    seed=seed,
    batch_size=batch_size,
  )
  if folder is None:
    return ask()
  name = outputs.name(posed.task, posed.prompting, posed.shots, posed.hash)
  if tokenizer.specials.own is not None:
    # Another reading of the tokenizer would put other ids around a prompt.
    frame = frames.asking(model.cfg.architecture, tokenizer)
    name += '-' + hashlib.sha256(repr(frame).encode()).hexdigest()[:8]
  path = folder / f'{name}-{n_samples}-{seed}.jsonl.xz'
  if not path.exists():
    outputs.write(path, ask())
  return outputs.read(path)
