"""A tiny LLaMA as a GGUF file, as llama.cpp's converter would write it."""

import gguf
import numpy as np
import variants

from research.interop import source
from research.models.config import ModelConfig, RMSNorm


def config(d_model=32, **changes) -> ModelConfig:
  """A LLaMA whose rows are whole blocks of 32, as `write` describes it."""
  return variants.config(
    'decoder',
    d_model=d_model,
    n_heads=2,
    n_kv_heads=1,
    d_ff=64,
    gated=True,
    activation='silu',
    norm=RMSNorm(eps=1e-6),
    **changes,
  )


def permuted(x: np.ndarray, n_heads: int) -> np.ndarray:
  """As llama.cpp's converter orders the rows of queries and keys."""
  halves = x.reshape(n_heads, 2, x.shape[0] // n_heads // 2, *x.shape[1:])
  return halves.swapaxes(1, 2).reshape(x.shape)


NAMES = {
  'lm_head': 'output',
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  'input_layernorm': 'attn_norm',
  'post_attention_layernorm': 'ffn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  'model.layers': 'blk',
}


def q6_k(x: np.ndarray) -> np.ndarray:
  """Rows of 256 packed as ggml's quantize_row_q6_K_ref lays them out.

  Sixteen numbers share a step; sixteen steps are whole multiples of one number.
  """
  parts = x.reshape(-1, 16, 16)
  steps = abs(parts).max(-1) / 31
  unit = np.nextafter((steps.max(-1) / 127).astype(np.float16), np.float16(1))
  scales = np.ceil(steps / unit.astype(np.float32)[:, None])
  step = scales * unit.astype(np.float32)[:, None]
  codes = np.rint(parts / step[..., None]).astype(np.int8) + 32
  a, b, c, d = (
    codes.reshape(-1, 2, 4, 32).astype(np.uint8).transpose(2, 0, 1, 3)
  )
  low = np.stack([a & 15 | (c & 15) << 4, b & 15 | (d & 15) << 4], 2)
  high = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6
  fields = low, high, scales.astype(np.int8), unit[:, None]
  packed = [one.reshape(len(parts), -1).view(np.uint8) for one in fields]
  return np.concatenate(packed, 1).reshape(len(x), -1)


def write(
  folder,
  path,
  kind: str,
  architecture='llama',
  leave=(),
  tell=lambda w: None,
  head=None,
) -> None:
  """The LLaMA checkpoint in `folder` as a GGUF file.

  Without the tensors to `leave`; with what `tell` adds to its writer, and the
  head packed as `head`.
  """
  found = source.read(str(folder))
  held = found.tensors.tensors
  writer = gguf.GGUFWriter(path, architecture)
  writer.add_context_length(8)
  writer.add_embedding_length(found.config.d_model)
  writer.add_block_count(2)
  writer.add_feed_forward_length(64)
  writer.add_head_count(2)
  writer.add_head_count_kv(1)
  writer.add_layer_norm_rms_eps(1e-6)
  tell(writer)
  for name in held:
    x, new = held[name], name
    for theirs, short in NAMES.items():
      new = new.replace(theirs, short)
    if 'attn_q' in new or 'attn_k' in new:
      x = permuted(x, 2 if 'attn_q' in new else 1)
    packed = head if head and new == 'output.weight' else kind
    quantise = gguf.GGMLQuantizationType[packed if x.ndim > 1 else 'F32']
    if new not in leave:
      x = x.astype(np.float32)
      quantised = packed == 'Q6_K' and x.ndim > 1  # which gguf cannot pack
      data = q6_k(x) if quantised else gguf.quants.quantize(x, quantise)
      writer.add_tensor(new, data, raw_dtype=quantise)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
