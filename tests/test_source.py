"""A published model arrives whole, by folder, GGUF file or hub, and is used."""

import http.server
import pathlib
import shutil
import subprocess
import sys
import threading

import jax
import numpy as np
import pooch
import pytest
import requests
import small_corpus
import small_gguf
import small_imports
from test_families import forward, load, unpack
import variants

from research.config import BadInput
from research.data import pipeline
from research.data.tokenizers import BPE
from research.interop import exporting, imported, source
from research.models.config import LayerNorm, Learned, Rotary
from research.study import loaded
from research.train import trained


def test_what_we_export_comes_back_with_its_tokenizer_and_writes(tmp_path):
  data = small_corpus.config(
    tmp_path, tokenizer=BPE(vocab_size=300, n_sentinels=2)
  )
  ours = pipeline.tokenizer(data)
  cfg = variants.config(
    'decoder',
    vocab_size=300,
    norm=LayerNorm(),
    position=Learned(),
    bias=True,
  )
  model = variants.build(cfg)
  exporting.write(tmp_path / 'theirs', model, ours)
  made, said = imported.write(
    tmp_path / 'back', source.read(str(tmp_path / 'theirs')), 'back'
  )
  assert 'loses nothing' in said and made.tokenizer is not None
  found = loaded.load(tmp_path / 'back')
  text = 'as it is, “so”'
  assert list(found.tokenizer.encode(text)) == list(ours.encode(text))
  assert found.tokenizer.bos == ours.bos
  assert found.frame.ends == (ours.bos,)
  assert found.about['config'] == made.hash[:12]
  batch = variants.batch(cfg)
  np.testing.assert_array_equal(
    forward(found.model, batch), forward(model, batch)
  )


def test_a_model_without_its_tokenizer_is_refused_by_name(tmp_path):
  cfg = variants.config('decoder', gated=True, activation='silu')
  exporting.write(tmp_path / 'a', variants.build(cfg))
  found = source.read(str(tmp_path / 'a'))
  imported.write(tmp_path / 'b', found, 'a')
  with pytest.raises(BadInput, match='without its tokenizer'):
    trained.load(tmp_path / 'b')


def test_a_model_without_its_tokenizer_is_exported_all_the_same(tmp_path):
  theirs = unpack('gpt2', tmp_path / 'theirs')
  imported.write(tmp_path / 'a', source.read(str(theirs)), 'a')
  flags = f'--workdir={tmp_path / "a"}', f'--out={tmp_path / "b"}'
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.export_weights', *flags],
    capture_output=True,
    text=True,
  )
  assert done.stdout == 'gpt2: config.json, model.safetensors\n', done.stderr
  leaves = [jax.tree.leaves(load(at)) for at in (tmp_path / 'b', theirs)]
  assert all(map(np.array_equal, *leaves))


@pytest.mark.parametrize(
  'name, told',
  [
    ('chat_template.jinja', '[{{ role }}]'),
    ('tokenizer_config.json', '{"chat_template": "[{{ role }}]"}'),
    (
      'tokenizer_config.json',
      '{"chat_template": [{"name": "tool_use", "template": "no"},'
      ' {"name": "default", "template": "[{{ role }}]"}]}',
    ),
    ('tokenizer_config.json', '{}'),
  ],
)
def test_a_chat_template_comes_along(name, told, tmp_path):
  theirs = unpack('gpt2', tmp_path / 'theirs')
  (theirs / name).write_text(told)
  made, _ = imported.write(tmp_path / 'a', source.read(str(theirs)), 'a')
  assert made.template == (None if told == '{}' else '[{{ role }}]')


@pytest.fixture(scope='module')
def llama(tmp_path_factory):
  """A LLaMA whose rows are whole blocks of 32."""
  cfg = small_gguf.config()
  folder = tmp_path_factory.mktemp('llama')
  exporting.write(folder, variants.build(cfg))
  return folder


_HALF = 2**-11  # the rounding of a scale, or an offset, kept in float16


# By the largest number, M, of a block. Q8_0: half of a step of M / 127. Q4_0: a
# whole step of M / 8, where the number at the other end has no code. Q4_1: half
# of a step of 2 M / 15, with a scale and an offset.
@pytest.mark.parametrize(
  'kind, share',
  [
    ('F32', 0),
    ('F16', _HALF),
    ('Q8_0', 0.5 / 127 + _HALF),
    ('Q4_0', 1 / 8 + _HALF),
    ('Q4_1', 1 / 15 + 3 * _HALF),
  ],
)
def test_a_gguf_file_holds_the_checkpoint_it_was_made_of(
  kind, share, llama, tmp_path
):
  path = tmp_path / 'model.gguf'
  small_gguf.write(llama, path, kind)
  exact, found = load(llama), source.read(str(path))
  assert found.config.n_params == exact.cfg.n_params
  assert found.config.attention == exact.cfg.attention
  expected = dict(imported.checkpoint.named(exact))
  for name, x in found.parameters():
    y = np.asarray(expected[name])
    assert abs(x - y).max() <= share * abs(y).max()


def test_a_head_in_q6_k_is_read_as_it_was_packed(tmp_path):
  cfg = small_gguf.config(d_model=256, tied_head=False)
  exporting.write(tmp_path / 'a', small_imports.filled(cfg))
  small_gguf.write(tmp_path / 'a', tmp_path / 'a.gguf', 'F32', head='Q6_K')
  exact, found = load(tmp_path / 'a'), source.read(str(tmp_path / 'a.gguf'))
  x = dict(found.parameters())['head.weight']
  y = np.asarray(exact.head.weight[...])
  # Half of a step of M / 31, rounded up by no more than the one of all steps.
  assert 0 < abs(x - y).max() <= 0.5 / 31 * (1 + 2 / 127) * abs(y).max()


def test_linear_scaling_is_read_under_both_names(llama, tmp_path):
  path = tmp_path / 'a.gguf'

  def told(*names):
    def tell(writer):
      for name in names:
        writer.add_float32(f'llama.rope.{name}', 4.0)

    small_gguf.write(llama, path, 'F32', tell=tell)
    return source.read(str(path)).config.position

  assert told('scale_linear') == told('scaling.factor') == Rotary(stretch=4.0)
  assert told() == Rotary()


def test_frequencies_rescaled_one_by_one_are_refused(llama, tmp_path):
  path = tmp_path / 'a.gguf'

  def write(factors):
    small_gguf.write(
      llama,
      path,
      'F32',
      tell=lambda w: w.add_tensor(
        'rope_freqs.weight', np.array(factors, np.float32)
      ),
    )
    return source.read(str(path))

  assert write([1.0] * 8).config.position == Rotary()
  with pytest.raises(BadInput, match='rope_freqs.weight .* by up to 8') as said:
    write([1.0] * 7 + [8.0])
  assert '\n' not in str(said.value)


def test_gguf_files_of_no_use_are_named_in_one_line(llama, tmp_path):
  path = tmp_path / 'a.gguf'
  small_gguf.write(llama, path, 'F32', architecture='mamba')
  with pytest.raises(BadInput, match="'mamba' is not read from GGUF"):
    source.read(str(path))
  small_gguf.write(llama, path, 'F32', leave=('blk.1.attn_q.weight',))
  with pytest.raises(BadInput, match='blk.1.attn_q.weight is missing'):
    source.read(str(path))
  small_gguf.write(llama, path, 'Q5_0')
  with pytest.raises(BadInput, match='packed as Q5_0; only F32'):
    source.read(str(path))
  path.write_bytes(b'no')
  with pytest.raises(BadInput, match='no GGUF file'):
    source.read(str(path))


NOWHERE = 'not there', 'a/b/c', 'none.gguf', '../a', str(pathlib.Path(__file__))


@pytest.mark.parametrize('name', NOWHERE)
def test_a_source_that_is_nowhere_is_named(name):
  with pytest.raises(BadInput, match='there is no such folder'):
    source.read(name)


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch):
  for variable in 'HF_HOME', 'HF_HUB_CACHE', 'HF_TOKEN':
    monkeypatch.delenv(variable, raising=False)


def cut(*_, **__):
  raise requests.ConnectionError('a long\nstory')


def test_a_hub_that_cannot_be_reached_gets_one_line(monkeypatch, tmp_path):
  monkeypatch.setattr(pooch, 'retrieve', cut)
  monkeypatch.setenv('HF_HOME', str(tmp_path))
  with pytest.raises(BadInput, match='the hub gave nothing') as caught:
    source.read('EleutherAI/pythia-70m@step1000')
  assert '\n' not in str(caught.value)


class Hub(http.server.BaseHTTPRequestHandler):
  """Answers with the files of a folder, or with a status given for a file.

  Attributes:
    folder: Whose files it has.
    statuses: Of files, by name.
    asked: The paths and the authorisations there were.
  """

  folder: pathlib.Path
  statuses: dict[str, int]
  asked: list[tuple[str, str | None]]

  def do_GET(self):
    self.asked.append((self.path, self.headers['Authorization']))
    name = self.path.rpartition('/')[2]
    path = self.folder / name
    status = self.statuses.get(name, 200 if path.is_file() else 404)
    data = path.read_bytes() if status == 200 else b''
    self.send_response(status)
    self.send_header('Content-Length', str(len(data)))
    self.end_headers()
    self.wfile.write(data)

  def log_message(self, *_):
    pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
  """A hub that has one model, under any name; its handler."""
  found = type('Found', (Hub,), {'statuses': {}, 'asked': []})
  found.folder = unpack('llama', tmp_path / 'theirs')
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), found)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  monkeypatch.setattr(
    source, '_HUB', f'http://127.0.0.1:{server.server_address[1]}'
  )
  monkeypatch.setattr(pooch, 'os_cache', lambda name: tmp_path / name)
  monkeypatch.setenv('HF_HOME', str(tmp_path))
  yield found
  server.shutdown()
  server.server_close()


def test_a_model_is_downloaded_with_its_shards_as_whom_the_token_names(
  hub, monkeypatch
):
  monkeypatch.setenv('HF_TOKEN', 'me')
  found, exact = source.read('tiny'), load(hub.folder)
  for x, y in zip(found.parameters(), jax.tree.leaves(exact), strict=True):
    np.testing.assert_array_equal(x[1], y)
  paths, names = zip(*hub.asked, strict=True)
  assert set(names) == {'Bearer me'}
  assert paths[0] == '/tiny/resolve/main/config.json'


def test_only_what_the_hub_says_is_absent_is_left_out(hub):
  hub.statuses['tokenizer.json'] = 503
  with pytest.raises(BadInput, match='gave nothing .HTTPError 503') as caught:
    source.read('org/tiny')
  assert '\n' not in str(caught.value)
  hub.statuses.clear()
  assert source.read('org/tiny').tokenizer is None
  assert {name for _, name in hub.asked} == {None}


def keep(folder, cache):
  """Puts the checkpoint in `folder` into a cache of the hub's as org/tiny."""
  root = cache / 'models--org--tiny'
  (root / 'refs').mkdir(parents=True)
  (root / 'refs' / 'main').write_text('abc')
  return shutil.copytree(folder, root / 'snapshots' / 'abc')


@pytest.mark.parametrize(
  'variable, below', [('HF_HOME', 'hub'), ('HF_HUB_CACHE', '')]
)
def test_what_the_hubs_own_cache_has_is_read_from_there(
  variable, below, llama, monkeypatch, tmp_path
):
  keep(llama, tmp_path / below)
  monkeypatch.setattr(pooch, 'retrieve', cut)
  monkeypatch.setenv(variable, str(tmp_path))
  assert source.read('org/tiny').config == source.read(str(llama)).config


@pytest.mark.parametrize('name', ['gpt2', 'llama'])  # in one file, in shards
def test_a_model_half_in_the_hubs_cache_is_downloaded(
  name, monkeypatch, tmp_path
):
  folder = keep(unpack(name, tmp_path / 'theirs'), tmp_path)
  monkeypatch.setattr(pooch, 'retrieve', cut)
  monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path))
  source.read('org/tiny')
  max(folder.glob('model*.safetensors')).unlink()
  with pytest.raises(BadInput, match='the hub gave nothing'):
    source.read('org/tiny')
