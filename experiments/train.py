"""Trains one model.

    python -m experiments.train --config=configs.pretrain:decoder \
        --config.model.d_model=128 --workdir=runs/decoder

Called again it goes on where it was, and at once if it is done. Status: 0 done,
2 bad input, 130 Ctrl-C, 143 SIGTERM; after the last two the run is saved.

On several hosts, each with the same command and its own index:

    … --coordinator=HOST:PORT --processes=2 --process=0    (or auto)
"""

from absl import flags
import jax
from tqdm import tqdm

from research import command, sharding
from research.train import loop, process

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run.', required=True
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'HOST:PORT of process 0, or auto; none for one process.'
)
_PROCESSES = flags.DEFINE_integer('processes', 1, 'How many train together.')
_PROCESS = flags.DEFINE_integer('process', 0, 'Which of them this one is.')


def main(cfg: loop.TrainConfig) -> None:
  """Trains, with a progress bar where stderr is a terminal."""
  process.prepare()
  if _COORDINATOR.value:
    sharding.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  silent = jax.process_index() > 0
  with tqdm(total=cfg.n_steps, unit='step', disable=silent or None) as bar:

    def show(progress: loop.Progress) -> None:
      bar.update(progress.step - bar.n)
      if progress.row:
        bar.set_postfix(loss=f'{progress.row["loss"]:.4f}', refresh=False)

    result = loop.train(cfg, _WORKDIR.value, on_progress=show)
  if not silent:
    print(f'{result.loss:.4f} nats a token after {result.tokens:,} tokens')


if __name__ == '__main__':
  command.run(main)
