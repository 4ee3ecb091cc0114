"""Trains one model.

    python -m experiments.train --config=configs.pretrain:decoder \
        --config.model.d_model=128 --workdir=runs/decoder

Called again it goes on where it was, and at once if it is done. Status: 0 done,
2 bad input, 130 Ctrl-C, 143 SIGTERM; after the last two the run is saved.
"""

from absl import flags
from tqdm import tqdm

from research import config
from research.train import loop

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run.', required=True
)


def main(cfg: loop.TrainConfig) -> None:
  """Trains, with a progress bar where stderr is a terminal."""
  with tqdm(total=cfg.n_steps, unit='step', desc='train', disable=None) as bar:

    def show(progress: loop.Progress) -> None:
      bar.update(progress.step - bar.n)
      if progress.row:
        bar.set_postfix(loss=f'{progress.row["loss"]:.4f}')

    result = loop.train(cfg, _WORKDIR.value, on_progress=show)
  print(f'{result.loss:.4f} nats a token after {result.tokens:,} tokens')


if __name__ == '__main__':
  config.run(main)
