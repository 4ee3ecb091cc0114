"""Exports a trained model as a checkpoint that transformers reads.

    python -m experiments.export_weights --workdir=RUN_OR_IMPORTED --out=DIR

Writes config.json, model.safetensors and, where the tokenizer is one of the
library's, tokenizer.json and tokenizer_config.json: our bos, mask and sentinels
are special tokens there. An imported model's chat template comes along; one
without a tokenizer is exported without. DIR is new or empty, and is written
whole or not at all.
"""

import pathlib

from absl import flags

from research import command, files
from research.data import pipeline
from research.interop import exporting
from research.train import trained

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of a run or of an imported model.', required=True
)
_OUT = flags.DEFINE_string('out', None, 'Folder to write.', required=True)


def main() -> None:
  """Exports the newest checkpoint of the run."""
  out = pathlib.Path(_OUT.value)
  files.check_empty(out)  # before a large model is read
  model, data, template = trained.without_text(_WORKDIR.value)
  tokenizer = None if data is None else pipeline.tokenizer(data)
  kind = exporting.write(out, model, tokenizer, template)
  print(
    f'{kind.model_types[0]}: {", ".join(sorted(p.name for p in out.iterdir()))}'
  )


if __name__ == '__main__':
  command.without_config(main)
