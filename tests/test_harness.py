"""The harness sees the same model in ours as in the one it comes with."""

import json
import pathlib
import types

import by_hand
import numpy as np
import pytest
import small_tokenizers
import variants

from research.config import BadInput
from research.data.specials import Specials
from research.data.tokenizers import Bytes, TokenizerFile
from research.evals import yardstick
from research.inference import chat
from research.inference import frame as frames

pytestmark = [
  pytest.mark.parity,
  # Of torch, transformers and the harness, which are not ours to mend.
  pytest.mark.filterwarnings('ignore'),
]
LENGTH = 32
WORDS = 'the sea a ship of whales and captain\nsails north  or south'.split(' ')


def text(n: int, seed: int) -> str:
  return ' '.join(np.random.default_rng(seed).choice(WORDS, n))


@pytest.fixture(scope='module')
def lm_eval():
  for name in ('torch', 'transformers', 'accelerate', 'peft'):
    pytest.importorskip(name, reason='pip install -e .[harness,parity]')
  return pytest.importorskip('lm_eval', reason='pip install -e .[harness]')


def byte_level(specials):
  """A BPE of bytes, the first of whose ids are `specials`."""
  import tokenizers

  words = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  learned = tokenizers.Tokenizer(tokenizers.models.BPE())
  learned.pre_tokenizer = words
  learned.decoder = tokenizers.decoders.ByteLevel()
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=300,
    initial_alphabet=sorted(words.alphabet()),
    special_tokens=specials,
    show_progress=False,
  )
  learned.train_from_iterator([text(500, 0)], trainer)
  return learned


@pytest.fixture(scope='module')
def pair(lm_eval, tmp_path_factory):
  """One random GPT-2: in the harness's own adapter, and in ours."""
  from lm_eval.models.huggingface import HFLM
  import torch
  import transformers

  from research.evals import harness
  from research.interop import checkpoint

  folder = tmp_path_factory.mktemp('gpt2')
  tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=byte_level(['<|endoftext|>']),
    eos_token='<|endoftext|>',
    bos_token='<|endoftext|>',
    pad_token='<|endoftext|>',
  )
  torch.manual_seed(0)
  model = transformers.GPT2LMHeadModel(
    transformers.GPT2Config(
      vocab_size=len(tokenizer),
      n_positions=LENGTH,
      n_embd=16,
      n_layer=2,
      n_head=4,
      initializer_range=0.4,
      bos_token_id=0,
      eos_token_id=0,
      pad_token_id=0,
    )
  )
  # Texts are to be ASCII, and no token the likeliest everywhere.
  with torch.no_grad():
    table = model.transformer.wte.weight
    table /= table.norm(dim=1, keepdim=True) / 1.5
    for i in range(len(tokenizer)):
      table[i] *= tokenizer.decode([i]).isascii()
  model.save_pretrained(folder)
  tokenizer.save_pretrained(folder)
  theirs = HFLM(
    pretrained=model, tokenizer=tokenizer, device='cpu', batch_size=4
  )
  read = checkpoint.read(folder)
  ids = TokenizerFile(path=str(folder / 'tokenizer.json'))
  ours = harness.Model(
    checkpoint.assemble(read.config, read.parameters()),
    ids.load((folder / 'tokenizer.json').read_bytes()),
    frames.Frame(n_text=len(tokenizer), ends=(0,)),
  )
  return theirs, ours, folder


def requests(*arguments):
  return [types.SimpleNamespace(args=one) for one in arguments]


def both(pair, method: str, *arguments):
  return [
    getattr(model, method)(requests(*arguments), disable_tqdm=True)
    for model in pair[:2]
  ]


def fits(pair, n: int) -> str:
  """A text of exactly `n` tokens that begins with a space."""
  said = ' ' + text(80, 3)
  ids = pair[1].ids
  return ids.decode(ids.encode(said)[:n])


def test_log_likelihoods_and_greedy_flags_are_the_harness_s_own(pair):
  greedy = both(pair, 'generate_until', ('the sea', {'max_gen_toks': 4}))[0][0]
  cases = [
    ('', 'the sea'),
    ('the sea ', 'is a ship'),
    ('the sea  ', ' sails'),
    ('a ship', '\n'),
    ('a ship\n', 'of whales'),
    (text(60, 1), ' captain'),
    (text(60, 2), ' ' + text(5, 4)),
    ('the', fits(pair, LENGTH)),
    (text(40, 2), fits(pair, LENGTH - 1)),
    ('the sea', greedy),
  ]
  theirs, ours = both(pair, 'loglikelihood', *cases)
  np.testing.assert_allclose(
    [nats for nats, _ in ours], [nats for nats, _ in theirs], rtol=0, atol=1e-4
  )
  assert [best for _, best in ours] == [best for _, best in theirs]
  assert ours[-1][1] and not ours[0][1]
  assert np.std([nats for nats, _ in ours]) > 10


def test_an_imported_model_is_the_same_model(pair, tmp_path):
  from research.evals import harness
  from research.interop import imported, source
  from research.study.loaded import load

  imported.write(tmp_path / 'ours', source.read(str(pair[2])), 'a test')
  model, tokenizer, frame, about = load(tmp_path / 'ours')[:4]
  assert (frame.before, frame.ends) == ((), (0,))
  assert about['architecture'] == 'decoder'
  again = harness.Model(model, tokenizer, frame)
  for method, case in (
    ('loglikelihood', ('the sea', ' a ship')),
    ('generate_until', ('the sea', {'max_gen_toks': 8})),
  ):
    (first,), (second,) = (
      getattr(one, method)(requests(case)) for one in (pair[1], again)
    )
    assert first == second


def adapted(folder, model, tokenizer):
  """A model and its import, each in its adapter; the tokenizer lies there."""
  from lm_eval.models.huggingface import HFLM

  from research.evals import harness
  from research.interop import imported, source
  from research.study.loaded import load

  model.save_pretrained(folder / 'theirs')
  theirs = HFLM(
    pretrained=model, tokenizer=tokenizer, device='cpu', batch_size=4
  )
  found = source.read(str(folder / 'theirs'))
  imported.write(folder / 'ours', found, 'a test')
  read = load(folder / 'ours')
  return theirs, harness.Model(read.model, read.tokenizer, read.frame)


@pytest.fixture(scope='module')
def spaced(lm_eval, tmp_path_factory):
  """The same of a LLaMA whose tokenizer puts a space in front of texts."""
  import torch
  import transformers

  folder = tmp_path_factory.mktemp('llama')
  (folder / 'theirs').mkdir()
  file = folder / 'theirs' / 'tokenizer.json'
  file.write_text(small_tokenizers.llama())
  tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_file=str(file), bos_token='<s>', eos_token='</s>'
  )
  tokenizer.pad_token = '</s>'
  torch.manual_seed(0)
  model = transformers.LlamaForCausalLM(
    transformers.LlamaConfig(
      vocab_size=len(tokenizer),
      max_position_embeddings=LENGTH,
      hidden_size=16,
      intermediate_size=32,
      num_hidden_layers=2,
      num_attention_heads=4,
      initializer_range=0.4,
      bos_token_id=1,
      eos_token_id=2,
    )
  )
  # Bytes and specials are never the likeliest: texts are to be whole.
  with torch.no_grad():
    model.lm_head.weight[:259] = 0
  return adapted(folder, model, tokenizer)


def test_a_tokenizer_that_changes_text_gives_the_harness_s_own(spaced):
  cases = [
    ('', 'the sea'),
    ('the sea ', 'is a ship'),
    ('the sea  ', ' sails'),
    ('a ship', '\n'),
    ('a ship:', ' naïve 日本'),
    (text(60, 1), ' captain'),
  ]
  theirs, ours = both(spaced, 'loglikelihood', *cases)
  np.testing.assert_allclose(
    [nats for nats, _ in ours], [nats for nats, _ in theirs], rtol=0, atol=1e-4
  )
  assert [best for _, best in ours] == [best for _, best in theirs]
  # Or it would also score the template's bos, after the bos of its own.
  spaced[0].add_bos_token = False
  theirs, ours = both(spaced, 'loglikelihood_rolling', (text(20, 3),))
  spaced[0].add_bos_token = None
  np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
  how = {'until': ['\n'], 'max_gen_toks': 10, 'do_sample': False}
  prompts = 'the sea', text(9, 5), 'a\n', ' captain'
  theirs, ours = both(spaced, 'generate_until', *((p, how) for p in prompts))
  assert theirs == ours and any(theirs)


@pytest.fixture(scope='module')
def begun(lm_eval, tmp_path_factory):
  """A GPT-NeoX whose texts begin otherwise than they end, with spare rows."""
  import torch
  import transformers

  folder = tmp_path_factory.mktemp('neox')
  tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=byte_level(['<unk>', '<s>', '</s>']),
    bos_token='<s>',
    eos_token='</s>',
    pad_token='</s>',
  )
  torch.manual_seed(0)
  model = transformers.GPTNeoXForCausalLM(
    transformers.GPTNeoXConfig(
      vocab_size=len(tokenizer) + 20,
      max_position_embeddings=LENGTH,
      hidden_size=32,
      intermediate_size=32,
      num_hidden_layers=2,
      num_attention_heads=4,
      initializer_range=0.4,
      bos_token_id=1,
      eos_token_id=2,
    )
  )
  tokenizer.save_pretrained(folder / 'theirs')
  return adapted(folder, model, tokenizer)


def test_nothing_is_read_as_bos_and_every_row_of_the_table_counts(begun):
  assert begun[0].prefix_token_id == begun[1].prefix_token_id == 1
  cases = [('', 'the sea'), ('the sea ', 'is a ship')]
  theirs, ours = both(begun, 'loglikelihood', *cases)
  np.testing.assert_allclose(
    [nats for nats, _ in ours], [nats for nats, _ in theirs], rtol=0, atol=1e-4
  )
  theirs, ours = both(begun, 'loglikelihood_rolling', (text(40, 3),))
  np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_a_continuation_of_nothing_is_refused(pair):
  with pytest.raises(BadInput, match='has no tokens in this vocabulary'):
    pair[1]._loglikelihood_tokens([(None, [5], [])])


def test_too_long_a_continuation_is_refused_as_the_harness_does(pair):
  case = ('the', fits(pair, LENGTH + 2))
  with pytest.raises(AssertionError):
    pair[0].loglikelihood(requests(case), disable_tqdm=True)
  with pytest.raises(BadInput, match='a continuation of 34 tokens'):
    pair[1].loglikelihood(requests(case))


def test_rolling_log_likelihoods_are_the_harness_s_own(pair):
  cases = [(text(n, n),) for n in (1, 9, 20, 70)]
  theirs, ours = both(pair, 'loglikelihood_rolling', *cases)
  np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_generations_are_the_harness_s_own(pair):
  def how(*until, n=10):
    return {'until': list(until), 'max_gen_toks': n, 'do_sample': False}

  prompts = ['the sea', text(9, 5), text(50, 6), 'a\n', 'ship of', ' captain']
  free = both(pair, 'generate_until', *((p, how()) for p in prompts))
  assert free[0] == free[1] and len(set(free[0])) > 3
  letters = free[0][0].strip()[2:4], free[0][1].strip()[3:5]
  cut = both(
    pair, 'generate_until', *((p, how(*letters, n=12)) for p in prompts)
  )
  assert cut[0] == cut[1]
  assert sum(a != b for a, b in zip(cut[0], free[0], strict=True)) >= 2


@pytest.fixture(scope='module')
def tasks(tmp_path_factory):
  """Three tasks on local files: perplexity, a choice, and a generation."""
  folder = tmp_path_factory.mktemp('tasks')
  rng = np.random.default_rng(0)

  def data(name, rows):
    path = folder / f'{name}.jsonl'
    path.write_text('\n'.join(map(json.dumps, rows)))
    return (
      f'dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {path}\n'
      f'    train: {path}\ntest_split: test\nfewshot_split: train\n'
    )

  pages = [{'page': text(int(n), int(n))} for n in rng.integers(5, 90, 6)]
  (folder / 'pages.yaml').write_text(
    'task: pages\noutput_type: loglikelihood_rolling\n'
    + data('pages', pages)
    + 'doc_to_text: ""\ndoc_to_target: "{{page}}"\nmetric_list:\n'
    + '  - metric: word_perplexity\n  - metric: byte_perplexity\n'
    + '  - metric: bits_per_byte\n'
  )
  asked = [
    {'q': text(3, i), 'choices': [text(2, i + j) for j in range(3)], 'a': i % 3}
    for i in range(12)
  ]
  (folder / 'choice.yaml').write_text(
    'task: choice\noutput_type: multiple_choice\n'
    + data('choice', asked)
    + 'doc_to_text: "{{q}}:"\ndoc_to_choice: "{{choices}}"\n'
    + 'doc_to_target: "{{a}}"\nnum_fewshot: 1\nmetric_list:\n'
    + '  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n'
    + '  - metric: acc_norm\n    aggregation: mean\n'
    + '    higher_is_better: true\n'
  )
  (folder / 'said.yaml').write_text(
    'task: said\noutput_type: generate_until\n'
    + data('said', asked)
    + 'doc_to_text: "{{q}}:"\ndoc_to_target: "{{choices[a]}}"\n'
    + 'generation_kwargs:\n  until: ["\\n"]\n  max_gen_toks: 6\n'
    + 'metric_list:\n  - metric: exact_match\n    aggregation: mean\n'
    + '    higher_is_better: true\n'
  )
  return folder


def test_perplexities_and_accuracies_are_the_harness_s_own(
  lm_eval, pair, tasks
):
  from lm_eval.tasks import TaskManager

  from research.evals import harness, harness_rows

  names = ['pages', 'choice', 'said']
  found = lm_eval.simple_evaluate(
    model=pair[0],
    tasks=names,
    task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
    bootstrap_iters=1000,
    random_seed=0,
    numpy_random_seed=0,
    fewshot_random_seed=0,
  )
  rows = harness.evaluate(pair[1], names, include_path=tasks)
  assert {row['metric'] for row in rows} == {
    'word_perplexity',
    'byte_perplexity',
    'bits_per_byte',
    'acc',
    'acc_norm',
    'exact_match',
  }
  for row in rows:
    theirs = found['results'][row['task']][f'{row["metric"]},none']
    np.testing.assert_allclose(row['value'], theirs, rtol=1e-5)
    shots = 1 if row['task'] == 'choice' else 0
    assert f'{shots} shots, no chat template, no bos' in row['rule']
    assert row['n'] == (6 if row['task'] == 'pages' else 12)
    asked = {row['task']: found['samples'][row['task']]}
    assert row['prompt_hash'] == harness_rows.prompt_hash(asked)
  with pytest.raises(BadInput, match='tasks=page: there is no such task'):
    harness.evaluate(pair[1], ['page'], include_path=tasks)


def test_a_bundled_task_that_includes_another_reads_local_data(
  lm_eval, pair, tmp_path
):
  """arc_challenge.yaml says `include: arc_easy.yaml`, and little else."""
  from lm_eval.tasks import TaskManager

  from research.evals import harness

  bundled = pathlib.Path(lm_eval.__file__).parent / 'tasks/arc'
  bundled /= 'arc_challenge.yaml'
  assert 'include: arc_easy.yaml' in bundled.read_text()
  rng, data = np.random.default_rng(0), tmp_path / 'asked.jsonl'
  rows = [
    {
      'id': str(i),
      'question': text(5, i),
      'choices': {
        'text': [text(2, 9 * i + j) for j in range(3)],
        'label': ['A', 'B', 'C'],
      },
      'answerKey': 'ABC'[int(rng.integers(3))],
    }
    for i in range(8)
  ]
  data.write_text('\n'.join(map(json.dumps, rows)))
  splits = ''.join(
    f'    {name}: {data}\n' for name in ('train', 'validation', 'test')
  )
  (tmp_path / 'local.yaml').write_text(
    f'include: {bundled}\ntask: local_arc\ndataset_path: json\n'
    f'dataset_name: null\ndataset_kwargs:\n  data_files:\n{splits}'
  )
  found = lm_eval.simple_evaluate(
    model=pair[0],
    tasks=['local_arc'],
    task_manager=TaskManager(
      include_path=str(tmp_path), include_defaults=False
    ),
    bootstrap_iters=10,
  )
  ours = harness.evaluate(pair[1], ['local_arc'], include_path=tmp_path)
  assert [row['metric'] for row in ours] == ['acc', 'acc_norm']
  for row in ours:
    assert row['n'] == 8
    theirs = found['results']['local_arc'][f'{row["metric"]},none']
    assert row['value'] == pytest.approx(theirs)


TEMPLATE = (
  "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] + '\\n' }}"
  "{% endfor %}{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)


def test_rows_of_a_group_and_of_like_tasks_are_told_apart(pair, tasks):
  from research.evals import harness

  choice = (tasks / 'choice.yaml').read_text()
  other = choice.replace('task: choice', 'task: other')
  (tasks / 'other.yaml').write_text(other)
  (tasks / 'group.yaml').write_text(
    'group: both\ntask:\n  - choice\n  - other\naggregate_metric_list:\n'
    '  - metric: acc\n    weight_by_size: true\n'
  )
  rows = harness.evaluate(pair[1], ['both'], include_path=tasks, limit=5)
  n = {row['task']: row['n'] for row in rows}
  assert n == {'both': 10, 'choice': 5, 'other': 5}
  hashes = {row['prompt_hash'] for row in rows}
  assert len(hashes) == 3
  (choice_only, _) = harness.evaluate(
    pair[1], ['choice'], include_path=tasks, limit=5
  )
  assert choice_only['prompt_hash'] in hashes
  with pytest.raises(BadInput, match='limit=0 must be at least 1'):
    harness.evaluate(pair[1], ['choice'], include_path=tasks, limit=0)


def test_conversations_are_written_as_transformers_writes_them(pair):
  said = [
    {'role': 'system', 'content': 'Sail.'},
    {'role': 'user', 'content': 'where  to?'},
  ]
  trimmed = TEMPLATE.replace("m['content']", "m['content'] | trim")
  marked = (
    "{% for m in messages %}{% if m['role'] == 'tool' %}{% break %}{% endif %}"
    "{% generation %}{{ m['content'] | tojson }}{% endgeneration %}{% endfor %}"
    "{{ strftime_now('%Y')[:2] }}"
  )
  for template in (TEMPLATE, trimmed, marked):
    for last in ('north', 'Code:\n```python\n', ' <b> ', 'Sail.', ''):
      for answer in (True, False):
        if template is marked and not answer:
          continue  # What a filter has rewritten cannot be continued.
        messages = [*said, {'role': 'assistant', 'content': last}]
        theirs = pair[0].tokenizer.apply_chat_template(
          messages,
          chat_template=template,
          tokenize=False,
          add_generation_prompt=answer,
          continue_final_message=not answer,
        )
        assert chat.render(template, messages, answer) == theirs
  with pytest.raises(BadInput, match='leaves out the message'):
    chat.render('{{ messages[0].content }}', said, False)


def test_a_chat_template_is_what_the_model_reads(pair, tasks, monkeypatch):
  from research.evals import harness

  _, ours, _ = pair
  model = harness.Model(ours.model, ours.ids, ours.frame, template=TEMPLATE)
  read = []
  score = model._loglikelihood_tokens
  monkeypatch.setattr(
    model,
    '_loglikelihood_tokens',
    lambda asked, **how: [read.extend(a[0] for a in asked), score(asked)][1],
  )
  (row, _) = harness.evaluate(model, ['choice'], include_path=tasks, limit=2)
  assert '1 shots, a chat template' in row['rule'] and row['n'] == 2
  for context, _ in read:
    assert context.count('[user] ') == 2 and context.count('[assistant]') == 2
    assert context.endswith('[assistant]')


@pytest.mark.parametrize(
  'architecture', ['decoder', 'encoder', 'encoder_decoder']
)
def test_every_architecture_is_measured_by_the_yardstick(lm_eval, architecture):
  from research.evals import harness

  letters = Bytes(n_sentinels=2).load(b'')
  cfg = variants.config(architecture, vocab_size=260, seq_len=24)
  model = by_hand.perturbed(variants.build(cfg))
  ours = harness.Model(
    model,
    letters,
    frames.ours(architecture, Specials(n_text=256, n_sentinels=2)),
  )
  pairs = [('the whale', ' s'), ('the boats ', 's'), ('captain A', 'bc')]
  rows = [f'{context}{target}'.encode() for context, target in pairs]
  ids = np.array([[letters.bos, *row] for row in rows], np.int32)
  expected = yardstick.log_probabilities(
    model, ids[:, :-2], ids[:, -2:], letters
  )
  found = ours.loglikelihood(requests(*pairs))
  np.testing.assert_allclose(
    [nats for nats, _ in found], expected.sum(axis=1), rtol=0, atol=1e-4
  )
  whole = ours.loglikelihood_rolling(
    requests(('a text of 40 letters, which is too long.',))
  )
  assert len(whole) == 1 and -np.log(260) * 40 * 3 < whole[0] < 0
  asked = requests(('the', {'max_gen_toks': 4}))
  if architecture == 'encoder':
    with pytest.raises(BadInput, match='architecture=encoder: writes no text'):
      ours.generate_until(asked)
  else:
    (said,) = ours.generate_until(asked)
    assert len(said.encode()) <= 12
