"""Imports a published checkpoint: reads it once, checks it, keeps it as ours.

    python -m experiments.import_weights --source=DIR_OR_HUB_ID --out=DIR

A source is a folder with config.json and safetensors, a GGUF file, or the name
of a model on the hub, [ORG/]NAME or [ORG/]NAME@REVISION: what the hub's own
cache has is taken from there, the rest is downloaded, as whom HF_TOKEN names.
What is written is read by `experiments.evaluate`, `experiments.generate` and
`experiments.export_weights` wherever a run's folder is.
"""

import pathlib

from absl import flags

from research import command
from research.interop import imported, source

_SOURCE = flags.DEFINE_string(
  'source', None, 'Folder, GGUF file or [ORG/]NAME[@REVISION].', required=True
)
_OUT = flags.DEFINE_string('out', None, 'Folder to write.', required=True)


def main() -> None:
  """Imports, and says what it was."""
  found = source.read(_SOURCE.value)
  out = pathlib.Path(_OUT.value)
  model, said = imported.write(out, found, _SOURCE.value)
  cfg = model.config
  print(
    f'{found.settings["model_type"]}, {cfg.architecture}, {cfg.n_params:,}'
    f' parameters, hash {model.hash}; {said}'
  )


if __name__ == '__main__':
  command.without_config(main)
