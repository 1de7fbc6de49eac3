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
    text = json.dumps({**machine(), **result}, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n")


def machine() -> dict[str, Any]:
    """The processor, the GPU where there is one, and PyTorch with its threads."""
    import torch  # after what was measured: nothing of it pays for this

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    parts = [_processor(), f"{os.cpu_count()} cores", *([gpu] if gpu else [])]
    return {
        "machine": ", ".join(parts),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    """Its name, as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not on Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
