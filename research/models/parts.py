"""The parts a transformer is assembled from, as plain numbers: no JAX here.

A part is a frozen specification that knows how many parameters it has and how
many FLOPs its matrix products take, so a study can be planned, and a law
plotted, where JAX is not installed. `research.models.layers`, `.attention` and
`.positions` build modules from them.

FLOPs are those of one sequence: 2·m·k·n for an [m, k] @ [k, n] product.
"""

import dataclasses
from typing import Literal

from research.config import BadInput

Activation = Literal['gelu', 'gelu_tanh', 'relu', 'silu', 'relu2']
Residual = Literal['pre', 'pre_normed', 'post', 'parallel', 'parallel_shared']


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerNorm:
  """Layer normalisation (Ba et al. 2016).

  Attributes:
    eps: Added to the variance.
    bias: Whether a shift is learned beside the scale.
  """

  eps: float = 1e-5
  bias: bool = True

  def n_params(self, d_model: int) -> int:
    return d_model * (1 + self.bias)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMSNorm:
  """Division by the root mean square (Zhang & Sennrich 2019).

  Attributes:
    eps: Added to the mean square.
  """

  eps: float = 1e-6

  def n_params(self, d_model: int) -> int:
    return d_model


Norm = LayerNorm | RMSNorm


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoPosition:
  """No positions at all: order is known only through the causal mask."""

  def n_params(self, length: int, d_model: int, n_heads: int) -> int:
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sinusoidal:
  """Fixed sines and cosines added to the embeddings (Vaswani et al. 2017).

  Attributes:
    base: The longest wavelength is 2π·base.
  """

  base: float = 10_000.0

  def n_params(self, length: int, d_model: int, n_heads: int) -> int:
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned:
  """One learned vector a position, added to the embeddings."""

  def n_params(self, length: int, d_model: int, n_heads: int) -> int:
    return length * d_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotary:
  """Rotation of queries and keys (Su et al. 2021), in half-split layout.

  Attributes:
    fraction: Share of each head's dimensions that are rotated.
    base: The longest wavelength is about 2π·base.
    stretch: Divides positions, for contexts longer than the model was first
      trained on (Chen et al. 2023).
  """

  fraction: float = 1.0
  base: float = 10_000.0
  stretch: float = 1.0

  def __post_init__(self):
    if not 0 < self.fraction <= 1:
      raise BadInput(
        f'position.fraction={self.fraction}: choose a share in (0, 1]'
      )
    if self.stretch <= 0:
      raise BadInput(
        f'position.stretch={self.stretch}: choose a positive number'
      )

  def n_rotated(self, d_head: int) -> int:
    """Dimensions of a head that are rotated; even."""
    return int(d_head * self.fraction) // 2 * 2

  def n_params(self, length: int, d_model: int, n_heads: int) -> int:
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ALiBi:
  """A penalty on scores, linear in distance (Press et al. 2022).

  Attributes:
    max_exponent: The last of n heads has slope 2^-max_exponent, where n is a
      power of two (MPT's storywriter: 16).
    scale: Factor on the penalty (Falcon: d_head^-0.5).
    rounded: Whether slopes and their products with each position have the
      eight bits of bfloat16, as in Falcon: then far positions share a penalty.
  """

  max_exponent: float = 8.0
  scale: float = 1.0
  rounded: bool = False

  def __post_init__(self):
    if self.max_exponent <= 0:
      raise BadInput(
        f'position.max_exponent={self.max_exponent}: choose a positive number'
      )

  def n_params(self, length: int, d_model: int, n_heads: int) -> int:
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelativeBuckets:
  """A learned bias a head and bucket of distance (T5: Raffel et al. 2020).

  One table serves every layer of a stack. Encoders use half of the buckets for
  each direction, decoders all of them for the past.

  Attributes:
    n_buckets: Rows of the table; even.
    max_distance: Distances from here on share the last bucket.
  """

  n_buckets: int = 32
  max_distance: int = 128

  def __post_init__(self):
    if self.n_buckets < 4 or self.n_buckets % 4:
      raise BadInput(
        f'position.n_buckets={self.n_buckets}: choose a multiple of 4'
      )
    if self.max_distance <= self.n_buckets // 2:
      raise BadInput(
        f'position.max_distance={self.max_distance}: choose more than half of'
        f' n_buckets={self.n_buckets}'
      )

  def n_params(self, length: int, d_model: int, n_heads: int) -> int:
    return self.n_buckets * n_heads


Position = NoPosition | Sinusoidal | Learned | Rotary | ALiBi | RelativeBuckets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention:
  """Multi-head (k = n), grouped (k < n) or multi-query (k = 1) attention.

  Attributes:
    d_model: Width of the residual stream.
    n_heads: Query heads, n.
    n_kv_heads: Key and value heads, k; divides n.
    d_head: Width of a head.
    qkv_bias: Whether queries, keys and values have biases.
    out_bias: Whether the output projection has one.
    scale: Factor on the scores.
    clip: Largest magnitude of queries, keys and values; None: no limit.
  """

  d_model: int
  n_heads: int
  n_kv_heads: int
  d_head: int
  qkv_bias: bool
  out_bias: bool
  scale: float
  clip: float | None = None

  @property
  def n_params(self) -> int:
    queries = self.n_heads * self.d_head
    keys = self.n_kv_heads * self.d_head
    matrices = 2 * self.d_model * (queries + keys)
    biases = self.qkv_bias * (queries + 2 * keys)
    return matrices + biases + self.out_bias * self.d_model

  def flops(self, length: int, memory_length: int) -> int:
    """Of `length` queries that look at `memory_length` keys, none skipped."""
    queries = 2 * length * self.d_model * self.n_heads * self.d_head
    keys = 2 * memory_length * self.d_model * self.n_kv_heads * self.d_head
    scores = self.score_flops(length, memory_length)
    return queries + 2 * keys + scores + self.output_flops(length)

  def score_flops(self, length: int, memory_length: int) -> int:
    """Of the products without weights: with keys, and with values."""
    return 4 * length * memory_length * self.n_heads * self.d_head

  def output_flops(self, length: int) -> int:
    """Of the output projection alone."""
    return 2 * length * self.n_heads * self.d_head * self.d_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class MLP:
  """Two matrices with an activation between, or three if gated (GLU).

  Attributes:
    d_model: Width of the residual stream.
    d_ff: Width between the matrices.
    activation: Elementwise function; on the gate if there is one.
    gated: Whether the activation multiplies a second projection.
    bias: Whether each matrix has a bias.
  """

  d_model: int
  d_ff: int
  activation: Activation
  gated: bool
  bias: bool

  @property
  def n_params(self) -> int:
    inputs = 1 + self.gated
    matrices = (inputs + 1) * self.d_model * self.d_ff
    return matrices + self.bias * (inputs * self.d_ff + self.d_model)

  def flops(self, length: int) -> int:
    matrices = (2 + self.gated) * self.d_model * self.d_ff
    return 2 * length * matrices

  def output_flops(self, length: int) -> int:
    """Of the second (last) matrix alone."""
    return 2 * length * self.d_ff * self.d_model
