"""What every benchmark says: on which machine, and its result as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cli


def add_out(parser: cli.Parser) -> None:
    """The flag for a file of the result."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result there too")


def publish(result: Mapping[str, Any], out: Path | None) -> None:
    """Print the result, after the machine that it is from, and write it to the file."""
    text = json.dumps({"machine": _machine(), **result}, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n")


def _machine() -> str:
    """The processor, and the GPU with the version of PyTorch where there is one."""
    import torch  # after what was measured: nothing of it pays for this

    parts = [platform.processor() or platform.machine(), f"{os.cpu_count()} cores"]
    if torch.cuda.is_available():
        parts += [torch.cuda.get_device_name(), f"torch {torch.__version__}"]
    return ", ".join(parts)
