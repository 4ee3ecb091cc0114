"""Skills of numbers: sums with carries, sums modulo a prime, parity of bits."""

from collections.abc import Iterator
import dataclasses
import random

from research.config import BadInput
from research.data.items import Item


@dataclasses.dataclass(frozen=True, kw_only=True)
class Addition:
  """`add: 57+68` is `125`; worked out by columns, `7+8=15 5+6+1=12`.

  Attributes:
    digits: Of each number.
  """

  digits: int = 2

  def __post_init__(self):
    if not 1 <= self.digits <= 18:
      raise BadInput(f'digits={self.digits} must be from 1 to 18')

  @property
  def name(self) -> str:
    return f'addition_{self.digits}'

  @property
  def guess(self) -> float:
    return 1 / (2 * 9 * 10 ** (self.digits - 1))  # of all sums there can be

  def items(self, rng: random.Random) -> Iterator[Item]:
    least = 10 ** (self.digits - 1)
    while True:
      a, b = (rng.randrange(least, 10 * least) for _ in range(2))
      yield Item(
        f'add: {a}+{b}',
        str(a + b),
        f'add {min(a, b)}+{max(a, b)}',
        _near(rng, a + b, [1, -1, 10, -10, 9, 11]),
        rationale=_columns(a, b),
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Modular:
  """`mod 43: 17+31` is `5`; worked out, `17+31=48 48-43=5`.

  Attributes:
    modulus: Residues there are.
  """

  modulus: int = 43

  def __post_init__(self):
    if not 5 <= self.modulus <= 10_000:
      raise BadInput(f'modulus={self.modulus} must be from 5 to 10000')

  @property
  def name(self) -> str:
    return f'modular_{self.modulus}'

  @property
  def guess(self) -> float:
    return 1 / self.modulus

  def items(self, rng: random.Random) -> Iterator[Item]:
    p = self.modulus
    while True:
      a, b = rng.randrange(p), rng.randrange(p)
      off = [0, *rng.sample(range(1, p), 3)]
      less = f'{a + b}-{p}={a + b - p}' if a + b >= p else f'{a + b}<{p}'
      yield Item(
        f'mod {p}: {a}+{b}',
        str((a + b) % p),
        f'mod {p} {min(a, b)}+{max(a, b)}',
        _mixed(rng, [(a + b + d) % p for d in off]),
        rationale=f'{a}+{b}={a + b} {less}',
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parity:
  """`parity: 0110100111` is `1`: whether some fixed bits sum to an odd number.

  Which bits count is the secret to be learnt (Barak et al. 2022).

  Attributes:
    bits: Shown.
    subset: Bits that count.
    secret: Seed of their places.
  """

  bits: int = 10
  subset: int = 3
  secret: int = 0
  guess = 0.5

  def __post_init__(self):
    if not 1 <= self.subset <= self.bits <= 64:
      raise BadInput(
        f'subset={self.subset} must be from 1 to bits={self.bits}, at most 64'
      )

  @property
  def name(self) -> str:
    return f'parity_{self.subset}_of_{self.bits}'

  @property
  def places(self) -> list[int]:
    """The places of the bits that count, from 0."""
    draw = random.Random(f'parity {self.secret}')
    return sorted(draw.sample(range(self.bits), self.subset))

  def items(self, rng: random.Random) -> Iterator[Item]:
    places = self.places
    while True:
      bits = rng.choices('01', k=self.bits)
      odd = sum(bits[i] == '1' for i in places) % 2
      question = f'parity: {"".join(bits)}'
      yield Item(question, str(odd), f'{self.name} {question}', ('0', '1'))


def _columns(a: int, b: int) -> str:
  """The sum by columns, ones first, each with what is carried into it."""
  steps, carry = [], 0
  while a or b:
    (a, x), (b, y) = divmod(a, 10), divmod(b, 10)
    total = x + y + carry
    steps.append(f'{x}+{y}{"+1" * carry}={total}')
    carry = total // 10
  return ' '.join(steps)


def _near(rng: random.Random, value: int, steps: list[int]) -> tuple[str, ...]:
  wrong = [value + step for step in rng.sample(steps, 3)]
  return _mixed(rng, [value, *wrong])


def _mixed(rng: random.Random, values: list[int]) -> tuple[str, ...]:
  return tuple(map(str, rng.sample(values, len(values))))
