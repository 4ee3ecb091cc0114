"""Evaluates a trained run: perplexity by domain, the yardstick, and tasks.

    python -m experiments.evaluate --workdir=RUN_OR_IMPORTED \
        [--config.n_spans=256 \
         --config.tasks=Addition,Copy --config.tasks.0.digits=3 \
         --config.shots=0,1,4 --config.prompting=plain,chain_of_thought \
         --config.corpus=TextFolder --config.corpus.path=FOLDER]

With a corpus, all of it is what is held out, whatever the model was trained on;
`--config.n_tokens` says how much of it is read. The rows are printed as a table
and kept in RUN/evaluations, one file for each way of evaluating; what the model
answered, item by item, in RUN/answers, and is not asked again. A run of the
quickstart takes 10 s, most of it compilation that another like it is spared.
"""

from absl import flags
from etils import epath

from research import command, config, provenance
from research.study import listing, store
from research.study.evaluation import Evaluation, check, evaluate, text
from research.train import process, trained

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run.', required=True
)


def main(how: Evaluation) -> None:
  """Evaluates the newest checkpoint of the run."""
  process.prepare()
  workdir = epath.Path(_WORKDIR.value)
  found = trained.load(workdir)
  cfg, dataset = found.model.cfg, text(found.data, how)
  check(cfg, dataset, how)
  kept = store.answers(workdir, found.step or 0)
  measured = evaluate(found.model, dataset, how, kept)
  rows = [
    {
      **found.about,
      'skill_share': found.data.skill_share,
      'tokenizer_hash': dataset.tokenizer.hash,
      'data_hash': dataset.hash,
      **provenance.provenance(),
      **row,
    }
    for row in measured.rows
  ]
  path = workdir / 'evaluations' / f'{config.fingerprint(how)}.jsonl'
  store.write_rows(path, rows)
  print(listing.measures(rows))
  print(f'rows: {path}')


if __name__ == '__main__':
  command.run(main, default='configs.evaluation:default')
