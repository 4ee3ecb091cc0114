"""A trained model by its folder, whether we trained it or imported it."""

import os
import pathlib
from typing import Any, NamedTuple

from research import config
from research.config import BadInput
from research.data.pipeline import DataConfig
from research.interop import imported
from research.sharding import Parallelism
from research.train import loop


class Trained(NamedTuple):
  """A model to evaluate, or to write with.

  Attributes:
    run: The name of its folder.
    model: The network.
    data: What it is evaluated on, by its own tokenizer; an imported model
      reads the embedded corpus.
    fingerprint: Of the run's config, or of the imported weights.
    step: Training steps; None where that is not known.
    seed: Of a run of ours.
    template: Of conversations, if an imported model has one.
  """

  run: str
  model: Any
  data: DataConfig
  fingerprint: str
  step: int | None
  seed: int | None
  template: str | None = None

  @property
  def about(self) -> dict[str, Any]:
    """Columns of its rows: where it comes from, and how large it is."""
    cfg = self.model.cfg
    return {
      'run': self.run,
      'config': self.fingerprint,
      'step': self.step,
      'seed': self.seed,
      'architecture': cfg.architecture,
      'params': cfg.n_params,
      'params_non_embedding': cfg.n_params_non_embedding,
    }


def load(
  workdir: str | os.PathLike[str],
  step: int | None = None,
  parallelism: Parallelism | None = None,
) -> Trained:
  """The model in `workdir`: of a run's checkpoint, or imported.

  Args:
    workdir: The run's folder, or what `experiments.import_weights` wrote.
    step: Of a run's checkpoint; None for the newest.
    parallelism: Where a run's state is laid out; None as it was trained.

  Raises:
    BadInput: The folder holds neither, the run has no such checkpoint, or the
      imported model has no tokenizer.
  """
  folder = pathlib.Path(workdir)
  name = folder.resolve().name
  if not (folder / imported.MODEL).is_file():
    cfg, state = loop.restore(workdir, step, parallelism)
    made = config.fingerprint(cfg), int(state.step), cfg.seed
    return Trained(name, state.model, cfg.data, *made)
  found = imported.read(folder)
  if step not in (None, found.step):
    raise BadInput(f'step={step}: {workdir} is of step {found.step}')
  if found.tokenizer is None:
    raise BadInput(
      f'workdir={workdir}: this model was imported without its tokenizer; put'
      ' tokenizer.json beside its weights and import it again'
    )
  data = DataConfig(tokenizer=found.tokenizer)
  made = found.hash[:12], found.step, None, found.template
  return Trained(name, found.model(), data, *made)


def without_text(
  workdir: str | os.PathLike[str],
) -> tuple[Any, DataConfig | None, str | None]:
  """The newest model in `workdir`, its data and its template.

  There are no data where it was imported without its tokenizer.

  Raises:
    BadInput: The folder holds no model.
  """
  folder = pathlib.Path(workdir)
  if (folder / imported.MODEL).is_file():
    found = imported.read(folder)
    if found.tokenizer is None:
      return found.model(), None, found.template
  whole = load(workdir)
  return whole.model, whole.data, whole.template
