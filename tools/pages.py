"""What our HTML pages share: a file that holds its text and lets no script run but its own."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path


def filled(page: str, script: str, style: str, pictures: str, filling: Mapping[str, str]) -> str:
    """A page of HTML, each `<!-- name -->` in it replaced by its filling.

    `script` and `style` go where it has those names, and nothing else runs, looks or is asked for
    but pictures from `pictures` ("data:" or the like): `policy` says so to the browser.
    """
    style = read("page_base", "base.css") + style
    own = {"policy": _policy(script, style, pictures), "script": script, "style": style}
    whole = {**filling, **own}
    return re.sub(r"<!-- (\w+) -->", lambda place: whole[place[1]], page)


def read(folder: str, name: str) -> str:
    """A part of a page, from a folder beside this file."""
    return (Path(__file__).parent / folder / name).read_text(encoding="utf-8")


def _policy(script: str, style: str, pictures: str) -> str:
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in (script, style))
    allowed = "script-src 'sha256-{}'; style-src 'sha256-{}'".format(*(h.decode() for h in hashes))
    return f"default-src 'none'; img-src {pictures}; {allowed}; base-uri 'none'; form-action 'none'"
