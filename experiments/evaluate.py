"""Evaluates a trained run: perplexity by domain, and the shared yardstick.

    python -m experiments.evaluate --workdir=RUN [--config.n_spans=256]

The rows are printed as a table and kept in RUN/evaluations, one file for each
way of evaluating. A run of the quickstart takes 10 s, most of it compilation.
"""

from absl import flags
from etils import epath

from research import config
from research.data import pipeline
from research.study import listing, store
from research.study.evaluation import Evaluation, evaluate
from research.train import loop

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run.', required=True
)


def main(how: Evaluation) -> None:
  """Evaluates the newest checkpoint of the run."""
  workdir = epath.Path(_WORKDIR.value)
  cfg, state = loop.restore(workdir)
  measured = evaluate(state.model, pipeline.prepare(cfg.data), how)
  rows = [
    {'config': config.fingerprint(cfg), 'step': int(state.step), **row}
    for row in measured.rows
  ]
  path = workdir / 'evaluations' / f'{config.fingerprint(how)}.jsonl'
  store.write_rows(path, rows)
  print(listing.measures(rows))
  print(f'rows: {path}')


if __name__ == '__main__':
  config.run(main, default='configs.evaluation:default')
