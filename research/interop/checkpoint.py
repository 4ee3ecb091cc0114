"""A published checkpoint on disk, seen as a choice of parts and parameters.

Everything that could be wrong with it is looked for before a number is read.
"""

from collections.abc import Collection, Iterator, Mapping
import functools
import pathlib
import re
from typing import Any, NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from research.config import BadInput
from research.fields import nearest
from research.files import json_object
from research.interop import tensors
from research.interop.families import alibi, bert, gpt, llama, t5
from research.interop.family import Family, Settings
from research.interop.table import Shape, Tensor
from research.models import transformer
from research.models.config import ModelConfig

FAMILIES = (
  llama.LLAMA,
  gpt.GPT2,
  gpt.GPT_NEOX,
  gpt.GPT_J,
  gpt.OPT,
  alibi.BLOOM,
  alibi.FALCON,
  alibi.MPT,
  t5.T5,
  bert.BERT,
  bert.ROBERTA,
  bert.DISTILBERT,
)
CONFIG = 'config.json'
GENERATION = 'generation_config.json'
TEMPLATE = 'chat_template.jinja'
ENDS = 'generation_config.eos_token_id'
"""The setting that has what a model's own way of generating ends at."""
BESIDE = 'tokenizer.json', 'tokenizer_config.json', GENERATION, TEMPLATE
"""Files that a checkpoint may have beside its config and its weights."""


class Checkpoint(NamedTuple):
  """A published checkpoint.

  Attributes:
    folder: Where it lies.
    settings: Its `config.json`.
    config: The same as a choice of parts.
    tensors: Its tensors by the names of the table.
    table: Which of them are which parameters.
    tokenizer: Its `tokenizer.json`, if it has one.
    template: Of conversations, in Jinja, if it has one.
  """

  folder: pathlib.Path
  settings: Mapping[str, Any]
  config: ModelConfig
  tensors: 'Renamed'
  table: Mapping[str, Tensor]
  tokenizer: bytes | None = None
  template: str | None = None

  @property
  def places(self) -> dict[str, Tensor]:
    """The entry that holds each parameter, `{}` for the number of a layer."""
    return {name: entry for entry in self.table.values() for name in entry.ours}

  def dtype(self, name: str) -> np.dtype:
    """What holds all that a parameter is stored as, in whichever layer."""
    entry = self.places[name.replace('.blocks.', '.blocks.{}.')]
    return self._dtype(entry, shapes(self.config)[name])

  def _dtype(self, entry: Tensor, shape: Shape) -> np.dtype:
    layers = range(shape[0] if entry.layered else 1)
    names = [entry.name.format(i) for i in layers]
    # numpy has no dtype above both float16 and bfloat16; JAX has float32.
    return functools.reduce(
      jnp.promote_types, set(map(self.tensors.dtype, names))
    )

  def parameters(self) -> Iterator[tuple[str, np.ndarray]]:
    """Each parameter of the model, in the model's order, read from disk."""
    places = self.places
    for name, shape in shapes(self.config).items():
      template = name.replace('.blocks.', '.blocks.{}.')
      yield name, self._read(places[template], template, shape)

  def _read(self, entry: Tensor, ours: str, shape: Shape) -> np.ndarray:
    if not entry.layered:
      return entry.split(self.tensors[entry.name], ours, shape)
    stacked = tensors.empty(shape, self._dtype(entry, shape))
    for i in range(shape[0]):
      x = self.tensors[entry.name.format(i)]
      stacked[i] = entry.split(x, ours, shape[1:])
    return stacked


class Renamed(NamedTuple):
  """The tensors of a file by the names that a family's table has for them."""

  tensors: Any
  names: Mapping[str, str]

  def __getitem__(self, name: str) -> np.ndarray:
    return self.tensors[self.names[name]]

  def shape(self, name: str) -> Shape:
    """The shape of a tensor, which is not read."""
    return self.tensors.shape(self.names[name])

  def dtype(self, name: str) -> np.dtype:
    """The dtype of a tensor, which is not read."""
    return self.tensors.dtype(self.names[name])


def read(folder: pathlib.Path) -> Checkpoint:
  """The checkpoint in `folder`, checked.

  Raises:
    BadInput: There is none, a file of it is damaged, its architecture is
      unknown, or a tensor is missing, surplus or of another shape than
      `config.json` says.
  """
  path = folder / CONFIG
  if not path.is_file():
    raise BadInput(f'source={folder} has no {CONFIG}: name a checkpoint folder')
  data = json_object(path)
  generation = folder / GENERATION
  if generation.is_file():
    data[ENDS] = json_object(generation).get('eos_token_id')
  found = checked(folder, data, family(data), tensors.find(folder))
  tokenizer = folder / 'tokenizer.json'
  return found._replace(
    tokenizer=tokenizer.read_bytes() if tokenizer.is_file() else None,
    template=_template(folder),
  )


def _template(folder: pathlib.Path) -> str | None:
  """The chat template: a file of its own, or as older checkpoints have it."""
  file = folder / TEMPLATE
  if file.is_file():
    try:
      return file.read_text(encoding='utf-8')
    except UnicodeDecodeError:
      raise BadInput(f'{file} is not UTF-8: fetch it again') from None
  path = folder / 'tokenizer_config.json'
  told = json_object(path) if path.is_file() else {}
  template = told.get('chat_template')
  if isinstance(template, list):  # several, by name
    named = [one for one in template if isinstance(one, dict)]
    template = next(
      (one.get('template') for one in named if one.get('name') == 'default'),
      None,
    )
  if template is not None and not isinstance(template, str):
    raise BadInput(
      f'{path}: chat_template is neither text nor a list of texts by name'
    )
  return template


def family(data: Mapping[str, Any]) -> Family:
  """The family that a `config.json` names.

  Raises:
    BadInput: It is not one of ours.
  """
  kind = data.get('model_type')
  for one in FAMILIES:
    if kind in one.model_types:
      return one
  known = [name for one in FAMILIES for name in one.model_types]
  hint = nearest(str(kind), known)
  raise BadInput(
    f'config.json: model_type={kind!r} is no family we know; {hint}'
  )


def checked(
  folder: pathlib.Path, data: Mapping[str, Any], kind: Family, found: Any
) -> Checkpoint:
  """The checkpoint made of `config.json`'s data and the tensors found.

  Raises:
    BadInput: A tensor is missing, surplus or of another shape.
  """
  names = _names(kind, found)
  cfg = kind.read(Settings(data), names.keys())
  table = kind.table(cfg, shapes(cfg))
  implied = expected(cfg, table)
  names = _meant(names, kind.aliases, implied)
  renamed = Renamed(found, names)
  for name in implied:
    if name not in names:
      raise BadInput(f'{folder}: tensor {name} is missing; {CONFIG} implies it')
  tied = {e.name for e in kind.tensors(cfg) if e.ours == ('head.weight',)}
  for name in names:
    if name in implied or (cfg.tied_head and name in tied):
      continue
    if not any(re.fullmatch(pattern, name) for pattern in kind.ignored):
      raise BadInput(
        f'{folder}: tensor {name} is surplus: {CONFIG} leaves no place for it'
      )
  for name, (shape, *_) in implied.items():
    if renamed.shape(name) != shape:
      raise BadInput(
        f'{folder}: tensor {name} has shape {renamed.shape(name)};'
        f' {CONFIG} implies {shape}'
      )
  return Checkpoint(folder, data, cfg, renamed, table)


def _names(kind: Family, found: Mapping[str, Any]) -> dict[str, str]:
  """What is in the file, by the names of the family's table."""
  bare = not any(name.startswith(kind.prefix) for name in found)
  names = {}
  for name in found:
    plain = re.sub(r'\.gamma$', '.weight', re.sub(r'\.beta$', '.bias', name))
    plain = kind.prefix + plain if bare else plain
    names[plain] = name
  return names


def _meant(
  names: Mapping[str, str], aliases: Mapping[str, str], implied: Collection[str]
) -> dict[str, str]:
  """Of two names of a tensor the implied one, whichever the file has."""
  kept = dict(names)
  for alias, name in aliases.items():
    meant, other = (alias, name) if alias in implied else (name, alias)
    if other in kept:
      kept.setdefault(meant, kept[other])
      del kept[other]
  return kept


def expected(
  cfg: ModelConfig, table: Mapping[str, Tensor]
) -> dict[str, tuple[Shape, Tensor, int | None]]:
  """Shape, entry and layer of each tensor of theirs that the config implies."""
  ours, depth = {}, {}
  for name, shape in shapes(cfg).items():
    template = name.replace('.blocks.', '.blocks.{}.')
    layered = template != name
    ours[template] = shape[1:] if layered else shape
    depth[template] = shape[0] if layered else None
  found = {}
  for name, entry in table.items():
    shape, n = entry.shape(ours), depth[entry.ours[0]]
    if n is None:
      found[name] = shape, entry, None
    else:
      found |= {name.format(i): (shape, entry, i) for i in range(n)}
  return found


def shapes(cfg: ModelConfig) -> dict[str, Shape]:
  """The shape of each parameter of the model, in its order."""
  return {name: x.shape for name, x in named(_abstract(cfg))}


@functools.lru_cache(maxsize=16)
def _abstract(cfg: ModelConfig):
  return jax.eval_shape(lambda: transformer.build(cfg, nnx.Rngs(0)))


def named(model: Any) -> list[tuple[str, Any]]:
  """The leaves of a model by dotted name."""
  leaves = jax.tree_util.tree_leaves_with_path(model)
  return [
    (
      jax.tree_util.keystr(path, simple=True, separator='.')[: -len('.value')],
      x,
    )
    for path, x in leaves
  ]


def assemble(
  cfg: ModelConfig, parameters: Iterator[tuple[str, np.ndarray]]
) -> transformer.Model:
  """The model with these parameters, in float32, one at a time.

  On a CPU the arrays are not copied once more.
  """
  abstract = _abstract(cfg)
  arrays = []
  for (ours, _), (name, x) in zip(named(abstract), parameters, strict=True):
    assert ours == name, (ours, name)
    arrays.append(jax.device_put(_aligned(x), may_alias=True))
  return jax.tree.unflatten(jax.tree.structure(abstract), arrays)


def _aligned(x: np.ndarray) -> np.ndarray:
  """`x` in float32, where JAX can use the memory as it is."""
  if x.dtype == np.float32 and x.flags.c_contiguous and not x.ctypes.data % 64:
    return x
  y = tensors.empty(x.shape, np.dtype(np.float32))
  y[...] = x
  return y
