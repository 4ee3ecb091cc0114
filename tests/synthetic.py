"""Results tables of a study that never ran, on a surface that is known."""

import numpy as np
import pandas as pd

# Per architecture: E, A, alpha, B, beta of L = E + A/N^alpha + B/D^beta, in
# bits per byte. The exponents are Chinchilla's; the constants put the minima
# of small budgets at small sizes.
SURFACES = {
  'decoder': (1.10, 26.0, 0.34, 42.0, 0.28),
  'encoder_decoder': (1.15, 30.0, 0.34, 46.0, 0.28),
  'encoder': (1.30, 33.0, 0.34, 58.0, 0.28),
}
BUDGETS = (3e11, 1e12, 3e12, 1e13)
DOMAINS = {'speech': 0.25, 'novel': 0.05, 'scripture': -0.3}
PROVENANCE = {
  'fingerprint': '0123456789ab',
  'revision': '79e7879c0ffee',
  'clean': True,
  'python': '3.11.7',
  'jax': '0.10.2',
  'device': 'cpu: 2 × AMD EPYC',
  'tokenizer_hash': 'b2d1',
  'data_hash': 'a0f3',
  'flop_convention': 'plain path, matrix products, forward and backward',
}


def loss(architecture, params, tokens):
  """The surface's loss."""
  e, a, alpha, b, beta = SURFACES[architecture]
  return e + a / params**alpha + b / tokens**beta


def optimum(architecture, budget):
  """N*, the closed form of METHODS.md for C = 6ND."""
  _, a, alpha, b, beta = SURFACES[architecture]
  g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
  return g * (budget / 6) ** (beta / (alpha + beta))


def sizes(architecture, budgets=BUDGETS, count=5):
  """A ladder around the middle budgets' optima."""
  middle = optimum(architecture, np.exp(np.mean(np.log(budgets))))
  return np.round(middle * 2.5 ** np.linspace(-2, 2, count)).astype(int)


def run_rows(
  architecture, params, tokens, flops, value, rng, noise=0.01, **labels
):
  """All rows of one run whose yardstick is `value` bits per byte."""
  common = {
    'run': f'{architecture}-{params}-{flops:.0e}'
    + ''.join(f'-{v:g}' for k, v in labels.items() if k != 'budget' and v),
    'architecture': architecture,
    'params': params,
    'params_non_embedding': int(params * 0.8),
    'size': f'{round(params**0.5 / 4)}x2',
    'budget': None,
    'flops': flops,
    'tokens': tokens,
    'unique_tokens': min(tokens, 4_000_000),
    'epochs': tokens / 4e6,
    'step': int(tokens // 1024),
    'seed': 0,
    'learning_rate': 3e-3,
    'batch_size': 8,
    **labels,
  }
  native = value * (0.9 if architecture == 'encoder' else 1.0)
  rows = []

  def add(task, metric, domain, value, stderr=None, n=None):
    row = {
      'task': task,
      'metric': metric,
      'domain': domain,
      'value': float(value),
      'stderr': stderr,
      'n': n,
    }
    rows.append({**common, **row, **PROVENANCE})

  for domain, shift in {'all': 0.0, **DOMAINS}.items():
    nats = (native + shift) * np.log(2) * 2
    add('validation', 'loss', domain, nats, 0.004, 40_000)
    add('validation', 'perplexity', domain, np.exp(nats))
    add('validation', 'bits_per_byte', domain, native + shift, 0.003, 90_000)
    jitter = noise * rng.standard_normal()
    add('yardstick', 'bits_per_byte', domain, value + shift + jitter, 0.03, 64)
  add('training', 'seconds', None, flops / 3e10 + 4)
  if flops:
    add('training', 'tokens_per_second', None, tokens / (flops / 3e10))
    add('training', 'mfu', None, 0.15)
  return rows


def study(budgets=BUDGETS, count=5, noise=0.01, seeds=(0,)):
  """A frame: three architectures, an isoFLOP grid each, two baselines."""
  rng = np.random.default_rng(0)
  rows = []
  for architecture in SURFACES:
    mine = budgets if architecture == 'decoder' else budgets[: len(budgets) - 1]
    for params in sizes(architecture, budgets, count):
      for budget in mine or budgets:
        for seed in seeds:
          tokens = budget / (6 * params)
          rows += run_rows(
            architecture,
            int(params),
            tokens,
            budget,
            loss(architecture, params, tokens),
            rng,
            noise,
            budget=budget,
            seed=seed,
          )
  for i, budget in enumerate(budgets):
    rows += run_rows(
      'lstm', 60_000, budget / 4e5, budget, 3.1 - 0.25 * i, rng, budget=budget
    )
  rows += run_rows('ngram', 900_000, 2_000_000, 0.0, 2.55, rng)
  return pd.DataFrame(rows)


def sweep(rates=(1e-3, 2e-3, 4e-3, 8e-3), best=3e-3):
  """A frame: two sizes of a decoder over learning rates, one at an edge."""
  rng = np.random.default_rng(0)
  rows = []
  for params, centre in ((20_000, best), (80_000, best / 8)):
    for rate in rates:
      value = 2.5 + 0.1 * np.log(rate / centre) ** 2
      rows += run_rows(
        'decoder',
        params,
        1e6,
        6e6 * params,
        value,
        rng,
        0,
        budget=1e12,
        learning_rate=rate,
      )
  return pd.DataFrame(rows)


def curves(frame):
  """A training curve for every run but the n-gram's."""
  made = {}
  for run, rows in frame.groupby('run'):
    first = rows.iloc[0]
    if first['architecture'] == 'ngram':
      continue
    step = np.unique(np.geomspace(1, first['step'], 400).astype(int))
    end = rows[(rows.task == 'validation') & (rows.metric == 'loss')]
    low = end[end.domain == 'all']['value'].iloc[0]
    rng = np.random.default_rng(len(made))
    made[run] = pd.DataFrame(
      {
        'step': step,
        'loss': low
        + (6.2 - low) * (1 + step / 20) ** -0.6
        + 0.05 * rng.standard_normal(len(step)),
        'tokens': step / step[-1] * first['tokens'],
        'grad_norm': 1.0,
        'learning_rate': 3e-3,
        'tokens_per_second': 1e4,
        'mfu': 0.15,
      }
    )
  return made


def about(frame, **more):
  """What a study knows of itself."""
  plan = (
    frame.groupby('run', sort=False)[
      ['architecture', 'size', 'params', 'budget', 'tokens', 'flops']
    ]
    .first()
    .reset_index()
    .assign(state='done', reason='')
    .to_dict('records')
  )
  return {
    'title': 'Quickstart: three architectures on public-domain English',
    'question': 'What do encoder, decoder and encoder-decoder models of the '
    'same compute make of the same text?',
    'command': 'python -m experiments.study '
    '--config=configs.quickstart:study --workdir=runs/quick',
    'plan': plan,
    'provenance': PROVENANCE,
    'notes': [],
    **more,
  }
