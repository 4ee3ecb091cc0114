"""Our models under lm-eval, the harness that published results come from.

An optional extra: `lm_eval` is imported here alone. Log-likelihoods are of text
ids alone, so all three architectures are measured by the shared yardstick; of a
published model they are of all its ids, as those of the harness's own models.
"""

from collections.abc import Sequence
import json
import os
import pathlib
from typing import Any

import numpy as np

from research.config import BadInput
from research.data.tokenizers import Tokenizer
from research.evals import harness_rows
from research.evals.harness_rows import Row
from research.inference import chat
from research.inference.frame import Frame
from research.inference.generate import Generation, generate
from research.inference.score import score

os.environ.setdefault('HF_HUB_OFFLINE', '1')  # before anything of theirs
os.environ.setdefault('HF_DATASETS_OFFLINE', '1')

import lm_eval  # noqa: E402  # pyright: ignore[reportMissingImports]
from lm_eval import utils  # noqa: E402  # pyright: ignore[reportMissingImports]
from lm_eval.api.model import TemplateLM  # noqa: E402  # pyright: ignore[reportMissingImports]
from lm_eval.models.utils import normalize_gen_kwargs  # noqa: E402  # pyright: ignore[reportMissingImports]
from lm_eval.tasks import TaskManager  # noqa: E402  # pyright: ignore[reportMissingImports]

_SAMPLING = ('top_k', 'top_p', 'min_p', 'repetition_penalty')
_IGNORED = ('do_sample', 'temperature', 'until', 'max_gen_toks')


class Model(TemplateLM):
  """A decoder, encoder or encoder-decoder as the harness asks for one.

  Attributes:
    max_length: Ids that are read at most, on the side that is scored.
  """

  def __init__(
    self,
    model: Any,
    tokenizer: Tokenizer,
    frame: Frame,
    *,
    template: str | None = None,
    batch_tokens: int = 4096,
    batch_size: int = 32,
    seed: int = 0,
  ):
    super().__init__()
    self.model, self.ids, self.frame = model, tokenizer, frame
    self.template, self.seed = template, seed
    self.batch_tokens, self.batch_size = batch_tokens, batch_size
    cfg = model.cfg
    self.architecture = cfg.architecture
    self.backend = 'causal'
    self.max_length = cfg.seq_len
    if self.architecture == 'encoder_decoder':
      self.backend = 'seq2seq'
      self.max_length = cfg.longest_target - len(frame.start) + 1
    elif self.architecture == 'encoder':
      self.max_length = cfg.seq_len - len(frame.after)

  @property
  def eot_token_id(self) -> int:
    """Ends a text."""
    return self.frame.ends[0] if self.frame.ends else self.ids.bos

  @property
  def prefix_token_id(self) -> int:
    """Stands for an empty context: bos, or what ends a text without one."""
    own = self.ids.specials.own
    if self.frame.before:
      return self.frame.before[0]
    if own is not None and self.architecture == 'decoder':
      return own.bos
    return self.eot_token_id

  @property
  def tokenizer_name(self) -> str:
    return self.ids.hash

  def tok_encode(
    self, string: str, add_special_tokens: bool | None = None, **_: Any
  ) -> list[int]:
    before = list(self.frame.before)
    if self.template is None:
      ids = self.ids.encode(string).tolist()
    else:
      ids = chat.encode(self.ids, string)
    if add_special_tokens is False or ids[: len(before)] == before:
      return ids
    return [*before, *ids]

  def _loglikelihood_tokens(
    self, requests: Sequence[Any], **_: Any
  ) -> list[tuple[float, bool]]:
    pairs = [self._fitted(context, target) for _, context, target in requests]
    framed = self.frame._replace(before=())  # tok_encode has put it there
    if self.ids.specials.own is not None:
      framed = framed._replace(n_text=self.model.cfg.vocab_size)
    found = score(self.model, pairs, framed, batch_tokens=self.batch_tokens)
    return [(float(one.text.sum()), bool(one.best.all())) for one in found]

  def _fitted(self, context: list[int], target: list[int]):
    """Both cut on the left to what the model can read, as the harness does."""
    if not target:
      raise BadInput(
        'harness: a continuation has no tokens in this vocabulary, so it would'
        ' always be the likeliest; change it in the task'
      )
    if len(target) > self.max_length:
      raise BadInput(
        f'harness: a continuation of {len(target)} tokens is longer than the'
        f' {self.max_length} that the model predicts; shorten it'
      )
    if self.architecture == 'encoder_decoder':
      room = self.model.cfg.seq_len - len(self.frame.after)
      return context[-room:], target
    room = self.max_length - len(target) + (self.architecture == 'decoder')
    return context[max(len(context) - room, 0) :], target

  def loglikelihood_rolling(
    self, requests: Sequence[Any], disable_tqdm: bool = False
  ) -> list[float]:
    """Of whole texts: each token once, after as much of its window as fits."""
    del disable_tqdm
    windows, owners = [], []
    longest = self.max_length - (self.architecture == 'encoder')
    for i, request in enumerate(requests):
      rolled = utils.get_rolling_token_windows(
        token_list=self.tok_encode(request.args[0], add_special_tokens=False),
        prefix_token=self.prefix_token_id,
        max_seq_len=longest,
        context_len=1,
      )
      windows += [
        (None, *map(list, utils.make_disjoint_window(one))) for one in rolled
      ]
      owners += [i] * (len(windows) - len(owners))
    found = [nats for nats, _ in self._loglikelihood_tokens(windows)]
    return np.bincount(owners, found, len(requests)).tolist()

  def generate_until(
    self, requests: Sequence[Any], disable_tqdm: bool = False
  ) -> list[str]:
    """Continuations, one for each request, without what stopped them."""
    del disable_tqdm
    groups: dict[str, list[int]] = {}
    for i, request in enumerate(requests):
      asked = json.dumps(request.args[1], sort_keys=True)
      groups.setdefault(asked, []).append(i)
    texts = [''] * len(requests)
    for asked, members in groups.items():
      how = self._how(json.loads(asked))
      contexts = [requests[i].args[0] for i in members]
      for i, text in zip(members, self._written(contexts, how), strict=True):
        texts[i] = text
    return texts

  def _how(self, asked: dict[str, Any]) -> Generation:
    """The harness's arguments as ours.

    Raises:
      BadInput: One is unknown or leaves no room for a prompt.
    """
    longest = self.max_length
    known = normalize_gen_kwargs(asked, min(256, max(longest // 2, 1)))
    if known.get('num_beams') == 1:
      del known['num_beams']  # 1 is none
    for name in known:
      if name not in (*_SAMPLING, *_IGNORED):
        raise BadInput(f'generation_kwargs.{name}: not known; leave it out')
    paired = self.architecture == 'encoder_decoder'
    if known['max_gen_toks'] > longest - (not paired):
      raise BadInput(
        f'generation_kwargs.max_gen_toks={known["max_gen_toks"]} leaves no room'
        f' in the {longest} tokens of the model; lower it'
      )
    drawn = known['do_sample'] and known['temperature'] > 0
    rules = {name: known[name] for name in _SAMPLING if name in known}
    if not drawn:
      rules = {k: v for k, v in rules.items() if k == 'repetition_penalty'}
    if not rules.get('top_k', True):
      del rules['top_k']  # 0 is none
    return Generation(
      **rules,
      temperature=float(known['temperature']) if drawn else 0.0,
      max_tokens=known['max_gen_toks'],
      stop=tuple(filter(None, known.get('until') or ())),
      seed=self.seed,
    )

  def _written(self, contexts: Sequence[str], how: Generation) -> list[str]:
    room = self.max_length - how.max_tokens
    if self.architecture == 'encoder_decoder':
      room = self.model.cfg.seq_len - len(self.frame.after)
    prompts = [self.tok_encode(context)[-room:] for context in contexts]
    texts = generate(
      self.model,
      prompts,
      how,
      frame=self.frame._replace(before=()),
      tokenizer=self.ids,
      batch_size=self.batch_size,
    )
    # The decoders of tokenizers that change text drop the space in front.
    space = '' if self.ids.lossless else ' '
    return [text.text.removeprefix(space) for (text,) in texts]

  def chat_template(self, chat_template: bool | str = False) -> str | None:
    return self.template if chat_template else None

  def apply_chat_template(
    self,
    chat_history: list[dict[str, str]],
    add_generation_prompt: bool = True,
  ) -> str:
    """A conversation as the model's own template writes it.

    Raises:
      BadInput: The model has none.
    """
    if self.template is None:
      raise BadInput('chat_template: the model has none; name a file')
    names = chat.special_names(self.ids)
    return chat.render(
      self.template, chat_history, add_generation_prompt, **names
    )


def evaluate(
  model: Model,
  tasks: Sequence[str],
  *,
  include_path: pathlib.Path | None = None,
  shots: int | None = None,
  limit: int | None = None,
  seed: int = 0,
) -> list[Row]:
  """Rows (task, domain, metric, value, stderr, n, rule, prompt_hash).

  Nothing is fetched: tasks read local data, and a task of the harness is used
  through a file that includes it and overrides where its data lies.

  Args:
    model: What is asked.
    tasks: Their names.
    include_path: Folder of task files; None: those of the harness alone.
    shots: Examples before each question; None: as each task says.
    limit: Most items of a task; None: all.
    seed: Of the choice of examples.

  Raises:
    BadInput: A task is unknown, or no item is asked.
  """
  if limit is not None and limit < 1:
    raise BadInput(f'limit={limit} must be at least 1')
  manager = TaskManager(
    include_path=include_path and str(include_path),
    include_defaults=include_path is None,
  )
  for task in tasks:
    if task not in manager.all_tasks:
      names = ', '.join(manager.all_tasks[:20]) or 'none'
      raise BadInput(f'tasks={task}: there is no such task; there are: {names}')
  found = lm_eval.simple_evaluate(
    model=model,
    tasks=list(tasks),
    num_fewshot=shots,
    limit=limit,
    task_manager=manager,
    apply_chat_template=model.template is not None,
    fewshot_as_multiturn=model.template is not None,
    bootstrap_iters=1000,
    random_seed=seed,
    numpy_random_seed=seed,
    torch_random_seed=None,
    fewshot_random_seed=seed,
  )
  assert found is not None
  return harness_rows.rows(found, model)
