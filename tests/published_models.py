"""Makes the tiny random checkpoints of every family that tests compare with.

    HF_HUB_OFFLINE=1 python tests/published_models.py tests/published

Needs torch and transformers (5.24.0 made those that are kept). Each archive is
what transformers saves, and `reference.npz`: three rows of tokens, the second
padded to the right and the third to the left, with the logits transformers
gives in float32. Weights are large, or logits would be near uniform and errors
hide; and they are numbers of 16 bits, so that the files are small.
"""

import dataclasses
import io
import json
import pathlib
import sys
import tempfile
from typing import Any
import zipfile

import numpy as np

LENGTH, VOCAB, PADDING = 7, 31, 1
# 6 heads are no power of two, which ALiBi's slopes care about.
WIDE = {'hidden_size': 24, 'num_hidden_layers': 2, 'num_attention_heads': 6}
GPT = {'n_embd': 24, 'n_layer': 2, 'n_head': 6, 'n_positions': 16}
LLAMA = {
  **WIDE,
  'num_key_value_heads': 2,
  'intermediate_size': 40,
  'max_position_embeddings': 16,
}
BERT = {**WIDE, 'intermediate_size': 40, 'max_position_embeddings': 16}
DISTILBERT = {
  'dim': 24,
  'n_layers': 2,
  'n_heads': 6,
  'hidden_dim': 40,
  'max_position_embeddings': 16,
}
UNTIED = {'tie_word_embeddings': False}
MPT = {'d_model': 24, 'n_layers': 2, 'n_heads': 6, 'max_seq_len': 16}
T5 = {
  'd_model': 24,
  'd_kv': 5,
  'd_ff': 40,
  'num_layers': 2,
  'num_decoder_layers': 3,
  'num_heads': 4,
  'relative_attention_num_buckets': 8,
  'relative_attention_max_distance': 12,
}


@dataclasses.dataclass(frozen=True)
class Case:
  """One checkpoint.

  Attributes:
    kind: transformers' name for it, without Config or ForCausalLM.
    config: What differs from the defaults of its config class.
    task: The head's class.
    positions: `mask` counts real tokens, and transformers does so itself;
      `given` does the same, but it has to be told; `index` counts all.
    left: Whether the third row is padded to the left, else to the right.
    dtype: Of the numbers in the file.
    shards: Whether the file is cut into several.
    attention: How transformers computes it. In 5.24.0 Falcon's eager attention
      adds ALiBi twice, to the mask and to the scores.
  """

  kind: str
  config: dict[str, Any]
  task: str = 'ForCausalLM'
  positions: str = 'mask'
  left: bool = True
  dtype: str = 'float16'
  shards: bool = False
  attention: str = 'eager'


CASES = {
  'gpt2': Case('GPT2', GPT, 'LMHeadModel', 'given'),
  'pythia': Case(
    'GPTNeoX',
    {
      **WIDE,
      'intermediate_size': 40,
      'num_attention_heads': 3,
      'max_position_embeddings': 16,
    },
    positions='given',
    dtype='bfloat16',
  ),
  'neox_sequential': Case(
    'GPTNeoX',
    {
      **WIDE,
      'intermediate_size': 40,
      'use_parallel_residual': False,
      'attention_bias': False,
      'rope_parameters': {
        'rope_type': 'default',
        'rope_theta': 100.0,
        'partial_rotary_factor': 0.5,
      },
    },
    positions='given',
  ),
  'gptj': Case(
    'GPTJ', {**GPT, 'n_head': 3, 'rotary_dim': 6}, positions='given'
  ),
  'opt': Case('OPT', {**WIDE, 'ffn_dim': 40, 'max_position_embeddings': 16}),
  'opt_350m': Case(
    'OPT',
    {
      **WIDE,
      'ffn_dim': 40,
      'max_position_embeddings': 16,
      'word_embed_proj_dim': 10,
      'do_layer_norm_before': False,
    },
  ),
  'bloom': Case('Bloom', {'hidden_size': 24, 'n_head': 6, 'n_layer': 2}),
  'bloom_normed': Case(
    'Bloom',
    {
      'hidden_size': 24,
      'n_head': 6,
      'n_layer': 2,
      'apply_residual_connection_post_layernorm': True,
    },
  ),
  'falcon_7b': Case('Falcon', WIDE, positions='given'),
  'falcon_40b': Case(
    'Falcon',
    {**WIDE, 'new_decoder_architecture': True, 'num_kv_heads': 2},
    positions='given',
  ),
  'falcon_11b': Case(
    'Falcon',
    {
      **WIDE,
      'new_decoder_architecture': True,
      'num_kv_heads': 3,
      'num_ln_in_parallel_attn': 1,
      'ffn_hidden_size': 40,
    },
    positions='given',
  ),
  'falcon_rw': Case(
    'Falcon',
    {
      **WIDE,
      'multi_query': False,
      'parallel_attn': False,
      'alibi': True,
      'bias': True,
    },
    attention='sdpa',
  ),
  # Twelve slopes that bfloat16 rounds, by position and not by index.
  'falcon_rw_12': Case(
    'Falcon',
    {
      **WIDE,
      'num_attention_heads': 12,
      'multi_query': False,
      'parallel_attn': False,
      'alibi': True,
      'bias': True,
    },
    attention='sdpa',
  ),
  'mpt': Case('Mpt', MPT),
  'mpt_clipped': Case(
    'Mpt',
    {**MPT, 'attn_config': {'clip_qkv': 0.8, 'softmax_scale': 0.7}},
  ),
  'llama': Case(
    'Llama', LLAMA, positions='given', dtype='float32', shards=True
  ),
  'llama_biased': Case(
    'Llama',
    {
      **LLAMA,
      'head_dim': 6,
      'attention_bias': True,
      'mlp_bias': True,
      'tie_word_embeddings': True,
      'rope_parameters': {
        'rope_type': 'linear',
        'rope_theta': 500.0,
        'factor': 2.0,
      },
    },
    positions='given',
  ),
  'mistral': Case('Mistral', {**LLAMA, 'sliding_window': 3}, positions='given'),
  'qwen2': Case('Qwen2', LLAMA, positions='given'),
  'bert': Case('Bert', BERT, 'ForMaskedLM', 'given'),
  'roberta': Case(
    'Roberta', {**BERT, 'type_vocab_size': 1}, 'ForMaskedLM', 'mask'
  ),
  'distilbert': Case('DistilBert', DISTILBERT, 'ForMaskedLM', 'index'),
  'bert_untied': Case('Bert', {**BERT, **UNTIED}, 'ForMaskedLM', 'given'),
  'roberta_untied': Case(
    'Roberta', {**BERT, **UNTIED, 'type_vocab_size': 1}, 'ForMaskedLM', 'mask'
  ),
  'distilbert_untied': Case(
    'DistilBert', {**DISTILBERT, **UNTIED}, 'ForMaskedLM', 'index'
  ),
  't5': Case('T5', T5, 'ForConditionalGeneration', 'mask'),
  't5_v1_1': Case(
    'T5',
    {**T5, **UNTIED, 'feed_forward_proj': 'gated-gelu'},
    'ForConditionalGeneration',
    'mask',
  ),
}


def mask(left: bool) -> np.ndarray:
  """Which tokens of the three rows are real."""
  rows = np.ones((3, LENGTH), np.int64)
  rows[1, 5:] = 0
  rows[2, slice(0, 3) if left else slice(4, None)] = 0
  return rows


def tokens(rng, kept: np.ndarray) -> np.ndarray:
  """Random tokens where `kept`, none of which is that of padding."""
  drawn = rng.integers(PADDING + 1, VOCAB, kept.shape)
  return np.where(kept, drawn, PADDING)


def make(name: str, folder: pathlib.Path) -> dict[str, np.ndarray]:
  """Saves the checkpoint called `name` in `folder`; returns its reference."""
  import torch

  case, rng = CASES[name], np.random.default_rng(sum(map(ord, name)))
  model = _model(case)
  for key, parameter in model.named_parameters():
    noise = torch.from_numpy(rng.normal(size=parameter.shape) * 0.4)
    scale = parameter.dim() == 1 and 'bias' not in key
    exact = (noise + scale).to(getattr(torch, case.dtype)).float()
    if case.dtype == 'float32':
      exact = exact.half().float()  # No need for more in the archive.
    parameter.data = exact
  _save(model, case, folder)
  return logits(folder, case, rng)


def _model(case: Case) -> Any:
  import torch
  import transformers

  config = getattr(transformers, f'{case.kind}Config')(
    vocab_size=VOCAB, pad_token_id=PADDING, **case.config
  )
  model = getattr(transformers, case.kind + case.task)(config).eval()
  if _untied_t5(case):  # T5 ties it anyway.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
  return model


def _untied_t5(case: Case) -> bool:
  return case.kind == 'T5' and 'tie_word_embeddings' in case.config


def _save(model, case: Case, folder: pathlib.Path) -> None:
  import torch

  model.to(getattr(torch, case.dtype))
  if not _untied_t5(case):
    size = {'max_shard_size': '20kB'} if case.shards else {}
    model.save_pretrained(folder, **size)
    return
  from safetensors.torch import save_file

  kept = {'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'}
  state = {k: v for k, v in model.state_dict().items() if k not in kept}
  save_file(state, folder / 'model.safetensors', {'format': 'pt'})
  # As in the published files: written by transformers 4, where it is a fact.
  told = json.loads(model.config.to_json_string(use_diff=False))
  told['architectures'] = [type(model).__name__]
  told['tie_word_embeddings'] = False
  told.pop('scale_decoder_outputs', None)
  (folder / 'config.json').write_text(json.dumps(told, indent=1))


def logits(folder: pathlib.Path, case: Case, rng) -> dict[str, np.ndarray]:
  """Rows of tokens, and what transformers makes of them."""
  kept = mask(case.left)
  batch = {'input_ids': tokens(rng, kept), 'attention_mask': kept}
  where = (kept.cumsum(1) - 1).clip(0)
  if case.positions == 'index':
    where = np.tile(np.arange(LENGTH), (3, 1))
  if case.positions == 'given':
    batch['position_ids'] = where
  if case.kind == 'T5':
    batch['decoder_input_ids'] = tokens(rng, kept[:, :5])
    batch['decoder_attention_mask'] = mask(False)[:, :5]
  out = run(folder, case, batch)
  return batch | {'position_ids': where, 'logits': out}


def run(folder: pathlib.Path, case: Case, batch) -> np.ndarray:
  """The logits of the checkpoint in `folder`, by transformers."""
  import torch
  import transformers

  told = json.loads((folder / 'config.json').read_text())
  kind = getattr(transformers, told['architectures'][0])
  model = kind.from_pretrained(
    folder, dtype=torch.float32, attn_implementation=case.attention
  ).eval()
  with torch.no_grad():
    out = model(**{k: torch.from_numpy(v) for k, v in batch.items()})
  return out.logits.numpy()


def archive(folder: pathlib.Path, reference) -> bytes:
  """The files of `folder`, and the reference, packed."""
  held = io.BytesIO()
  np.savez(folder / 'reference.npz', **reference)
  with zipfile.ZipFile(held, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as z:
    for path in sorted(folder.iterdir()):
      if path.name != 'generation_config.json':
        z.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), 8, 9)
  return held.getvalue()


def main(target: str) -> None:
  """Writes every archive into the folder `target`."""
  pathlib.Path(target).mkdir(parents=True, exist_ok=True)
  for name in CASES:
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder)
      packed = archive(path, make(name, path))
    pathlib.Path(target, f'{name}.zip').write_bytes(packed)
    print(name, len(packed))


if __name__ == '__main__':
  main(*sys.argv[1:])
