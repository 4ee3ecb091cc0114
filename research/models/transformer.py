"""From a config to a model."""

from flax import nnx

from research.models.config import ModelConfig
from research.models.decoder import Decoder
from research.models.encoder import Encoder
from research.models.encoder_decoder import EncoderDecoder
from research.models.recurrent import Recurrent
from research.models.recurrent_config import RecurrentConfig

Model = Encoder | Decoder | EncoderDecoder | Recurrent


def build(cfg: ModelConfig | RecurrentConfig, rngs: nnx.Rngs) -> Model:
  """The model that `cfg` describes, its weights drawn from `rngs`.

  Every model maps a batch to float32 logits alike: `model(batch, key=None)` is
  [b, t, vocab_size]; transformers take `attention_weights=True`, too.
  """
  if isinstance(cfg, RecurrentConfig):
    return Recurrent(cfg, rngs)
  match cfg.architecture:
    case 'encoder':
      return Encoder(cfg, rngs)
    case 'decoder':
      return Decoder(cfg, rngs)
    case 'encoder_decoder':
      return EncoderDecoder(cfg, rngs)
