"""Suffix prediction: the last tokens of a row from all those before them.

The format in which the shared yardstick asks the three architectures the same
question (METHODS.md): training by `SuffixPrediction` and the evaluation build
their batches by the one function here.
"""

from jaxtyping import Int
import numpy as np

from research.data.layout import Batch, Layout


def suffix_inputs(
  context: Int[np.ndarray, 'b c'],
  target: Int[np.ndarray, 'b l'],
  revealed: int,
  layout: Layout,
) -> Batch:
  """The batch that asks for `target` given `context`, as it was trained.

  Context and target have fixed lengths c and l. Weights are 1 where a token
  of the target is predicted, and `targets` holds it there.

    decoder: reads context and target without its last token, [b, c + l - 1];
      predicts the target left to right. `revealed` changes nothing.
    encoder: reads context, `revealed` tokens of the target and masks for the
      others, [b, c + l]; the logits at c + revealed are those of the next
      token of the target, so l passes give its likelihood.
    encoder_decoder: the encoder reads context and sentinel 0, padded to
      seq_len; the decoder reads sentinel 0 and the target without its last
      token, padded to target_len, and predicts the target. `revealed` changes
      nothing.
  """
  rows = np.concatenate([context, target], axis=1)
  lengths = np.full(len(rows), target.shape[1])
  if layout.architecture == 'decoder':
    return causal_suffix(rows, lengths, layout)
  if layout.architecture == 'encoder_decoder':
    return layout.split(rows, lengths, layout.specials.sentinel(0))
  return masked_suffix(rows, lengths, np.full(len(rows), revealed), layout)


def causal_suffix(
  rows: Int[np.ndarray, 'b n'], lengths: Int[np.ndarray, ' b'], layout: Layout
) -> Batch:
  """Next tokens, of which the last `lengths` have weight."""
  tokens, targets = rows[:, :-1], rows[:, 1:]
  n = tokens.shape[1]
  weights = np.arange(n) >= n - lengths[:, None]
  return layout.single(tokens, targets, weights, layout.segments(tokens))


def masked_suffix(
  rows: Int[np.ndarray, 'b n'],
  lengths: Int[np.ndarray, ' b'],
  revealed: Int[np.ndarray, ' b'],
  layout: Layout,
  first_only: bool = False,
) -> Batch:
  """The last `lengths` tokens masked but for the first `revealed` of them.

  Weights are on what is masked, or only on the first place after the revealed.
  A document's beginning within the suffix stays visible, as segments tell it
  anyway, and has no weight: with `first_only`, such a row may have none at all.
  """
  n = rows.shape[1]
  first = (n - lengths + revealed)[:, None]
  index = np.arange(n)
  hidden = (index >= first) & (rows != layout.specials.bos)
  tokens = np.where(hidden, layout.specials.mask, rows).astype(np.int32)
  weights = hidden & (index == first) if first_only else hidden
  return layout.single(tokens, rows, weights, layout.segments(rows))
