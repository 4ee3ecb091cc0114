"""The peer in torch: transformers' models with our weights (`contest.py`).

Read by the peer's Python, where neither JAX nor the rest of this repo need be.
On a GPU models are compiled by torch.compile; on a CPU they run eagerly.
"""

import contextlib
import platform
from typing import Any

import numpy as np

from research.benchmark import contest, inputs
from research.benchmark.contest import Task

_KINDS = {
  'decoder': 'AutoModelForCausalLM',
  'encoder': 'AutoModelForMaskedLM',
  'encoder_decoder': 'AutoModelForSeq2SeqLM',
}
_DROPOUTS = (
  'resid_pdrop',
  'embd_pdrop',
  'attn_pdrop',
  'hidden_dropout_prob',
  'attention_probs_dropout_prob',
  'dropout_rate',
)


def build(order: dict[str, Any]) -> Task:
  """The task that `order` names."""
  import torch  # pyright: ignore[reportMissingImports]
  import transformers  # pyright: ignore[reportMissingImports]

  torch.set_num_threads(order['threads'])
  config = transformers.AutoConfig.from_pretrained(order['folder'])
  for name in _DROPOUTS:
    if hasattr(config, name):
      setattr(config, name, 0.0)
  kind = getattr(transformers, _KINDS[order['architecture']])
  device = 'cuda' if order['gpu'] else 'cpu'
  model = kind.from_pretrained(order['folder'], config=config).to(device)
  facts = {
    'params': sum(p.numel() for p in model.parameters()),
    'device': torch.cuda.get_device_name() if order['gpu'] else 'cpu',
    'versions': {
      'python': platform.python_version(),
      'torch': torch.__version__,
      'transformers': transformers.__version__,
    },
  }
  makers = {'step': _step, 'score': _score, 'decode': _decode}
  return Task(makers[order['suite']](torch, model, order), facts)


def _tensors(torch, order) -> dict[str, Any]:
  """The batch, in the names and types of transformers."""
  drawn = inputs.language(order)
  batch = {k: torch.from_numpy(np.array(x)) for k, x in drawn.items()}
  found = {'input_ids': batch['tokens'].long()}
  found['labels'] = batch['targets'].long()
  found['labels'][batch['weights'] == 0] = -100
  if order['architecture'] == 'encoder_decoder':
    pad = torch.nn.functional.pad(batch['targets'].long()[:, :-1], (1, 0))
    found['decoder_input_ids'] = pad
  device = 'cuda' if order['gpu'] else 'cpu'
  return {k: x.to(device) for k, x in found.items()}


def _cast(torch, order):
  """Autocast to bfloat16, if that is asked for."""
  if order['dtype'] == 'float32':
    return contextlib.nullcontext()
  device = 'cuda' if order['gpu'] else 'cpu'
  return torch.autocast(device, torch.bfloat16)


def _step(torch, model, order):
  """Forward, backward, clipping, AdamW: as our step."""
  batch = _tensors(torch, order)
  labels = batch.pop('labels').flatten()
  model.train()
  forward = torch.compile(model) if order['gpu'] else model
  optimizer = torch.optim.AdamW(
    model.parameters(),
    lr=1e-3,
    betas=(0.9, 0.95),
    weight_decay=0.1,
    fused=True,
  )

  def run():
    optimizer.zero_grad(set_to_none=True)
    with _cast(torch, order):
      logits = forward(**batch, **_uncached(order)).logits
    loss = torch.nn.functional.cross_entropy(
      logits.float().flatten(0, 1), labels
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())

  return run


def _uncached(order) -> dict[str, bool]:
  return {} if order['architecture'] == 'encoder' else {'use_cache': False}


def _score(torch, model, order):
  """Log-probabilities of every token."""
  batch = _tensors(torch, order)
  labels = batch.pop('labels')
  model.eval()

  def run():
    with torch.inference_mode(), _cast(torch, order):
      logits = model(**batch, use_cache=False).logits.float()
      logs = logits.log_softmax(-1).gather(-1, labels[..., None])
    return -float(logs.mean())

  return run


def _decode(torch, model, order):
  """The most probable tokens after each prompt."""
  device = 'cuda' if order['gpu'] else 'cpu'
  ids = torch.from_numpy(inputs.prompts(order)).long().to(device)
  model.eval()

  def run():
    with torch.inference_mode(), _cast(torch, order):
      written = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=order['n_new'],
        min_new_tokens=order['n_new'],
        do_sample=False,
        pad_token_id=0,
      )
    assert written.shape[1] == ids.shape[1] + order['n_new']

  return run


if __name__ == '__main__':
  contest.serve(build)
