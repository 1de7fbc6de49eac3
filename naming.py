"""Settings as they are written: after their flags, and in the name of a run's folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILES = ("weights", "prior")  # settings that may be the name of a file


def written(value: Any) -> str:
    """A value as it is written after its flag, exactly; several with commas between them."""
    if isinstance(value, tuple | list):
        return ",".join(map(written, value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def run_name(main: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """A folder name made of the settings: the values of `main`, then names and values of `others`.

    `main` ends with the seed. Different settings have different names.
    """
    *values, seed = (_part(name, value) for name, value in main.items())
    parts = [*values, f"seed{seed}", *(f"{name}-{_part(name, others[name])}" for name in others)]
    name = "_".join(parts)
    return name if len(name) <= 160 else f"{name[:140]}-{_digest(name)}"


def _part(name: str, value: Any) -> str:
    """A value as a part of the name; of a path its last part, with a digest of it all."""
    text = written(value).replace(",", "-") if isinstance(value, tuple) else written(value)
    is_plain = re.fullmatch(r"[A-Za-z0-9_.+-]*", text)
    if is_plain and not (name in _FILES and os.path.isfile(text)):
        return text
    path = os.path.realpath(text)
    return f"{re.sub(r'[^A-Za-z0-9.-]', '-', Path(path).name)}-{_digest(path)}"


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
