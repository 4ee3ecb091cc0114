"""The shape of a transformer: its sizes, its parts, and exact counts of both.

    >>> ModelConfig(architecture='decoder', d_model=64, n_layers=2).n_params

Nothing here imports JAX.
"""

import dataclasses
from typing import Literal

from research.config import BadInput
from research.models import parts
from research.models.parts import (
  ALiBi,
  LayerNorm,
  Learned,
  NoPosition,
  RelativeBuckets,
  RMSNorm,
  Rotary,
  Sinusoidal,
)
from research.models.shape import StackShape

__all__ = [
  'ALiBi',
  'LayerNorm',
  'Learned',
  'ModelConfig',
  'NoPosition',
  'RMSNorm',
  'RelativeBuckets',
  'Rotary',
  'Sinusoidal',
]

Architecture = Literal['encoder', 'decoder', 'encoder_decoder']


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
  """Sizes and parts of a transformer. A field left None is derived.

  Attributes:
    architecture: Masked LM, causal (or prefix) LM, or sequence to sequence.
    vocab_size: Number of token ids.
    seq_len: Longest input, in tokens, of an encoder or of a decoder alone.
    target_len: Longest decoder side of an encoder-decoder; None: `seq_len`.
    d_model: Width of the residual stream.
    d_embedding: Width of the table, with a matrix from it to `d_model` and one
      back before the logits (OPT-350m); None: `d_model`, and no matrices.
    n_layers: Blocks of an encoder or of a decoder alone.
    n_decoder_layers: Decoder blocks of an encoder-decoder; None: `n_layers`.
    n_heads: Query heads.
    n_kv_heads: Key and value heads, a divisor of `n_heads`; None: `n_heads`.
    d_head: Width of a head; None: `d_model / n_heads`.
    d_ff: Width of the MLP; None: 4 d_model, or 8/3 d_model (rounded up to a
      multiple of 8) if gated.
    norm: LayerNorm or RMSNorm.
    residual: Norm before each sublayer, which is added to the stream or to
      the normed stream (`pre_normed`: an option of BLOOM); norm after each
      sum; or parallel sublayers, each with its own norm (GPT-NeoX) or sharing
      one (GPT-J, PaLM).
    final_norm: Whether a norm ends each stack; None: unless residual is post.
    position: How order is told.
    activation: Elementwise function of the MLP (`gelu` is the exact, erf one).
    gated: Whether the MLP is a gated linear unit.
    bias: Whether the matrices of the blocks have biases.
    qkv_bias: Whether those of queries, keys and values do; None: as `bias`.
    out_bias: Whether attention's output matrix does; None: as `bias`.
    mlp_bias: Whether those of the MLP do; None: as `bias`.
    tied_head: Whether the output matrix is the embedding table.
    head_bias: Whether the logits have a bias.
    head_transform: Whether the head begins with BERT's dense layer, activation
      and norm.
    embedding_norm: Whether embeddings are normalised (BERT, BLOOM).
    n_token_types: Rows of a token-type table (BERT's segments); 0: no table.
    attention_scale: Factor on the scores; None: d_head^-0.5 (T5: 1).
    attention_clip: Largest magnitude of queries, keys and values (MPT).
    window: Tokens that a token of a causal stack sees, itself included
      (Mistral); None: all before it.
    embedding_scale: Factor on token embeddings; None: 1, but d_model^0.5 with
      sinusoidal positions (Vaswani et al. 2017, section 3.4).
    logit_scale: Factor on the logits (T5 with a tied head: d_model^-0.5).
    dropout: Rate on embeddings, attention weights and sublayer outputs.
    dtype: Of the computation; parameters, norms, softmax and logits are
      float32 always.
    remat: Whether the backward pass recomputes each block; 'dots': all of it
      but the products of weights, which are kept.
    unroll: Layers unrolled in one turn of the scan; True: all. On a CPU a step
      of all layers unrolled is faster by a twentieth to a tenth, and takes
      longer to compile with many.
  """

  architecture: Architecture = 'decoder'
  vocab_size: int = 512
  seq_len: int = 128
  target_len: int | None = None
  d_model: int = 64
  d_embedding: int | None = None
  n_layers: int = 2
  n_decoder_layers: int | None = None
  n_heads: int = 4
  n_kv_heads: int | None = None
  d_head: int | None = None
  d_ff: int | None = None
  norm: parts.Norm = RMSNorm()
  residual: parts.Residual = 'pre'
  final_norm: bool | None = None
  position: parts.Position = Rotary()
  activation: parts.Activation = 'gelu_tanh'
  gated: bool = False
  bias: bool = False
  qkv_bias: bool | None = None
  out_bias: bool | None = None
  mlp_bias: bool | None = None
  tied_head: bool = True
  head_bias: bool = False
  head_transform: bool = False
  embedding_norm: bool = False
  n_token_types: int = 0
  attention_scale: float | None = None
  attention_clip: float | None = None
  window: int | None = None
  embedding_scale: float | None = None
  logit_scale: float = 1.0
  dropout: float = 0.0
  dtype: Literal['float32', 'bfloat16'] = 'float32'
  remat: bool | Literal['dots'] = False
  unroll: int | bool = 1

  def __post_init__(self):
    _check_sizes(self)
    _check_parts(self)

  @property
  def attention(self) -> parts.Attention:
    """Self or cross attention of one block."""
    d_head = self.d_head or self.d_model // self.n_heads
    scale = self.attention_scale
    return parts.Attention(
      d_model=self.d_model,
      n_heads=self.n_heads,
      n_kv_heads=self.n_kv_heads or self.n_heads,
      d_head=d_head,
      qkv_bias=self.bias if self.qkv_bias is None else self.qkv_bias,
      out_bias=self.bias if self.out_bias is None else self.out_bias,
      scale=d_head**-0.5 if scale is None else scale,
      clip=self.attention_clip,
    )

  @property
  def mlp(self) -> parts.MLP:
    """The MLP of one block."""
    derived = -(-self.d_model // 3) * 8 if self.gated else 4 * self.d_model
    return parts.MLP(
      d_model=self.d_model,
      d_ff=self.d_ff or derived,
      activation=self.activation,
      gated=self.gated,
      bias=self.bias if self.mlp_bias is None else self.mlp_bias,
    )

  @property
  def embedding_factor(self) -> float:
    """Factor on the token embeddings."""
    if self.embedding_scale is not None:
      return self.embedding_scale
    return self.d_model**0.5 if isinstance(self.position, Sinusoidal) else 1.0

  @property
  def longest_target(self) -> int:
    """Tokens that the logits may cover, at most."""
    if self.architecture != 'encoder_decoder' or self.target_len is None:
      return self.seq_len
    return self.target_len

  @property
  def stacks(self) -> tuple[StackShape, ...]:
    """The stacks of blocks, in the order in which they are applied."""
    if self.architecture != 'encoder_decoder':
      causal = self.architecture == 'decoder'
      return (StackShape(self, self.n_layers, self.seq_len, causal, False),)
    n_layers = self.n_decoder_layers or self.n_layers
    return (
      StackShape(self, self.n_layers, self.seq_len, False, False),
      StackShape(self, n_layers, self.longest_target, True, True),
    )

  @property
  def n_params(self) -> int:
    """All parameters."""
    width = self.d_embedding or self.d_model
    tables = self.vocab_size * width + self.n_token_types * self.d_model
    positions = sum(stack.n_position_params for stack in self.stacks)
    head = self.head_bias * self.vocab_size
    head += (not self.tied_head) * width * self.vocab_size
    return self.n_params_non_embedding + tables + positions + head

  @property
  def n_params_non_embedding(self) -> int:
    """Without the tables of tokens, positions and types, and without the head.

    BERT's head transform and OPT's matrices to and from a narrower table
    count; an untied output matrix, the bias of the
    logits and T5's table of relative positions do not.
    """
    n = sum(stack.n_params for stack in self.stacks)
    if self.head_transform:
      n += self.d_model * (self.d_model + 1) + self.norm.n_params(self.d_model)
    return n + 2 * self.d_model * (self.d_embedding or 0)

  def forward_flops(
    self, source_len: int | None = None, target_len: int | None = None
  ) -> int:
    """Matrix-product FLOPs of the plain path for ONE sequence.

    Args:
      source_len: Tokens read; None: `seq_len`.
      target_len: Decoder tokens of an encoder-decoder (ignored otherwise);
        None: `longest_target`.
    """
    lengths = self._lengths(source_len, target_len)
    blocks = sum(
      stack.n_layers * stack.block_flops(*length)
      for stack, length in zip(self.stacks, lengths, strict=True)
    )
    narrow, target = self.d_embedding or 0, lengths[-1][0]
    read = 2 * sum(length for length, _ in lengths) * narrow * self.d_model
    head = (narrow or self.d_model) * self.vocab_size + narrow * self.d_model
    head += self.head_transform * self.d_model**2
    return blocks + read + 2 * target * head

  def train_flops(
    self, source_len: int | None = None, target_len: int | None = None
  ) -> int:
    """Of one forward and backward pass over ONE sequence, plain path.

    Each product has two factors that both need a gradient: three times the
    forward pass, exactly.
    """
    return 3 * self.forward_flops(source_len, target_len)

  def executed_flops(
    self, source_len: int | None = None, target_len: int | None = None
  ) -> int:
    """`train_flops` plus what rematerialisation computes twice."""
    flops = self.train_flops(source_len, target_len)
    if self.remat:
      lengths = self._lengths(source_len, target_len)
      for stack, length in zip(self.stacks, lengths, strict=True):
        flops += stack.n_layers * stack.recomputed_flops(*length)
    return flops

  def _lengths(self, source_len: int | None, target_len: int | None):
    """(length, memory length) of each stack."""
    source = self.seq_len if source_len is None else source_len
    target = self.longest_target if target_len is None else target_len
    if self.architecture == 'encoder_decoder':
      return (source, 0), (target, source)
    return ((source, 0),)


def _check_sizes(cfg: ModelConfig) -> None:
  for name, least in (
    ('vocab_size', 2),
    ('seq_len', 1),
    ('d_model', 1),
    ('n_layers', 1),
    ('n_heads', 1),
    ('n_token_types', 0),
    ('unroll', 1),
  ):
    if getattr(cfg, name) < least:
      raise BadInput(f'{name}={getattr(cfg, name)}: choose at least {least}')
  optional = 'target_len', 'n_decoder_layers', 'n_kv_heads', 'd_head', 'd_ff'
  optional += 'd_embedding', 'window'
  for name in optional:
    value = getattr(cfg, name)
    if value is not None and value < 1:
      raise BadInput(f'{name}={value}: choose at least 1, or none')
  if cfg.d_head is None and cfg.d_model % cfg.n_heads:
    raise BadInput(
      f'n_heads={cfg.n_heads}: must divide d_model={cfg.d_model}, or set d_head'
    )
  if cfg.n_kv_heads is not None and cfg.n_heads % cfg.n_kv_heads:
    raise BadInput(
      f'n_kv_heads={cfg.n_kv_heads}: must divide n_heads={cfg.n_heads}'
    )
  if cfg.attention_clip is not None and cfg.attention_clip <= 0:
    raise BadInput(
      f'attention_clip={cfg.attention_clip}: choose a positive number, or none'
    )
  if not 0 <= cfg.dropout < 1:
    raise BadInput(f'dropout={cfg.dropout}: choose a rate in [0, 1)')


def _check_parts(cfg: ModelConfig) -> None:
  d_head = cfg.attention.d_head
  if isinstance(cfg.position, Rotary) and cfg.position.n_rotated(d_head) < 2:
    raise BadInput(
      f'position=Rotary(fraction={cfg.position.fraction}): rotates fewer than'
      f' two of d_head={d_head} dimensions; choose wider heads'
    )
  if isinstance(cfg.position, Sinusoidal) and cfg.d_model % 2:
    raise BadInput(
      f'd_model={cfg.d_model}: sinusoidal positions need an even width'
    )
  if cfg.window is not None and cfg.architecture == 'encoder':
    raise BadInput(f'window={cfg.window}: an encoder has none; leave it none')
  if cfg.architecture != 'encoder_decoder':
    for name in 'target_len', 'n_decoder_layers':
      if getattr(cfg, name) is not None:
        raise BadInput(
          f'{name}={getattr(cfg, name)}: only an encoder_decoder has it; leave'
          f' it none for architecture={cfg.architecture}'
        )
