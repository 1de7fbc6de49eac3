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
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    text = json.dumps({"machine": machine, **result}, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n")
