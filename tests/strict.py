"""How types are checked in tests: beartype, with an int fine for a float."""

import beartype

check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
