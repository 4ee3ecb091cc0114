"""Shapes tried on a device: compiled by some processes, stepped by others.

The text is a small stand-in, so that nothing is fetched or tokenised.
"""

import dataclasses
import json
import pathlib
import tempfile
import time
from typing import Any, NamedTuple

from etils import epath
import jax
import numpy as np

from research import files, sharding
from research.data.markov import Markov
from research.data.pipeline import DataConfig
from research.data.tokenizers import Bytes
from research.study import store
from research.train import loop
from research.train.checkpoints import Checkpoints
from research.train.config import TrainConfig
from research.train.metrics import Logging
from research.train.peak import peak

TRIAL = 0.25
"""Seconds of steps of a trial, at the rate that the study states."""

ROUNDS = 3
"""Trials of each shape, some time apart: a shared machine has slow seconds."""

LEAST = 10
"""Steps of a trial: the first is not timed, and one alone tells little."""

STATE = 16
"""Bytes a parameter: itself, its gradient and two moments."""

TEXT = Markov(n_documents=64)


class Compilation(NamedTuple):
  """What an executor does with a shape first: compiles what a run will.

  Steps are timed when nothing is compiled any more, by other processes.

  Attributes:
    folder: Where the findings go, a file a shape.
    flops_per_second: At which the steps of a trial must fit in.
    deadline: Time (`time.time`) after which nothing is compiled any more.
  """

  folder: pathlib.Path
  flops_per_second: float
  deadline: float

  def __call__(self, what: tuple[int, TrainConfig], report: Any) -> None:
    i, cfg = what
    ends = time.time() + LEAST * cfg.flops_per_step / _rate(self)
    if ends > self.deadline or state(cfg) > sharding.memory():
      return
    memory = loop.memory(_stand_in(cfg, LEAST))
    files.write_whole(self.folder / f'{i}.json', json.dumps({'memory': memory}))


class Trial(NamedTuple):
  """What an executor does with a compiled shape: steps it, `ROUNDS` times.

  Attributes:
    folder: As of `Compilation`; what each trial took is added there.
    flops_per_second: The rate that decides how many steps are made.
  """

  folder: pathlib.Path
  flops_per_second: float

  def __call__(self, what: tuple[int, TrainConfig], report: Any) -> None:
    i, cfg = what
    n_steps = int(TRIAL * _rate(self) / cfg.flops_per_step)
    cfg = _stand_in(cfg, int(np.clip(n_steps, LEAST, 1000)))
    with tempfile.TemporaryDirectory() as workdir:
      outcome = loop.rehearse(cfg, workdir)
      curve = store.curve(epath.Path(workdir))
    # The first steps wait for text, and others for what else the device does.
    pace = float(np.nanmedian(curve['tokens_per_second'].to_numpy(float)))
    seconds = cfg.tokens_per_step / pace
    stepping = outcome.compile_seconds + (cfg.n_steps - 1) * seconds
    path = self.folder / f'{i}.json'
    cost = json.loads(path.read_text())
    cost.setdefault('seconds', []).append(seconds)
    cost.setdefault('save', []).append(max(outcome.seconds - stepping, 0.0))
    files.write_whole(path, json.dumps(cost))


def found(folder: pathlib.Path) -> dict[str, dict[str, float | None]]:
  """What each tried shape takes, by its index: medians of its trials."""
  costs = {p.stem: json.loads(p.read_text()) for p in folder.iterdir()}
  return {
    i: {name: value and float(np.median(value)) for name, value in cost.items()}
    for i, cost in costs.items()
  }


def _rate(work: Compilation | Trial) -> float:
  return min(work.flops_per_second, peak(jax.device_count()) or np.inf)


def _stand_in(cfg: TrainConfig, n_steps: int) -> TrainConfig:
  """`n_steps` of the same shape, on a text that is made on the spot."""
  tokenizer = Bytes(n_sentinels=cfg.data.tokenizer.n_sentinels)
  return dataclasses.replace(
    cfg,
    data=DataConfig(corpus=TEXT, tokenizer=tokenizer, validation_share=0),
    n_steps=n_steps,
    warmup_steps=1,
    checkpoints=Checkpoints(every=None),
    logging=Logging(every=max(n_steps // 20, 1)),
  )


def state(cfg: TrainConfig) -> float:
  """Bytes of parameters, gradients and moments on a device."""
  parts = cfg.parallelism.fsdp * cfg.parallelism.tensor
  return STATE * cfg.model.n_params / parts
