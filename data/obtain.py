"""Have the official archives of a data set: found, fetched or asked for, and unpacked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cli import UserError, printable
from data.archives import extract
from data.download import fetch, part_of
from data.releases import Archive
from files import is_there


def obtain(archives: Sequence[Archive], folder: Path, site: str, download: bool = True) -> None:
    """Have all that the archives hold unpacked in `folder`, fetched if need be.

    What lies there already, archived or unpacked, is not fetched. Raises UserError where it cannot
    be had; without `download`, after printing what to fetch by hand.
    """
    todo = [archive for archive in archives if not archive.is_unpacked(folder)]
    absent = [archive for archive in todo if not is_there(folder / archive.name)]
    missing = [archive for archive in absent if archive.remote]
    if missing and not download:
        for archive in missing:
            print(printable(_by_hand(archive, folder)))
        more = f", one of {len(missing)} files" if len(missing) > 1 else ""
        raise UserError(
            f"{missing[0].name} is missing{more}: fetch what is missing (from {site}), put it in "
            f"{folder}, archived or unpacked, and run this again"
        )
    _check_space(todo, missing, folder)
    for archive in missing:
        assert archive.remote
        fetch(archive.remote, folder / archive.name)
    for archive in todo:
        if archive in missing or archive not in absent:
            _unpack(archive, folder, site)


def _unpack(archive: Archive, folder: Path, site: str) -> None:
    path = folder / archive.name
    print(printable(f"unpacking {path}"), flush=True)
    extract(path, folder / archive.into)
    if not archive.is_unpacked(folder):
        raise UserError(
            f"{path} does not hold {archive.contents[0]}: it must be the official archive, from "
            f"{site}"
        )


def _by_hand(archive: Archive, folder: Path) -> str:
    remote = archive.remote
    assert remote
    sums = [f"{kind} {value}" for kind in ("md5", "sha256") if (value := getattr(remote, kind))]
    facts = [*([f"{remote.size:,} bytes"] if remote.size else []), *sums]
    known = f" ({', '.join(facts)})" if facts else ""
    return f"fetch {remote.url}{known} and put it at {folder / archive.name}"


def _check_space(todo: Sequence[Archive], missing: Sequence[Archive], folder: Path) -> None:
    """Raise UserError where the disk has no room for what is to be fetched and unpacked."""
    needed = sum(archive.unpacked for archive in todo)
    needed += sum(_still_to_come(archive, folder) for archive in missing)
    existing = next(place for place in (folder, *folder.absolute().parents) if is_there(place))
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"{folder} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: make room, or "
            "give another --data_root"
        )


def _still_to_come(archive: Archive, folder: Path) -> int:
    """The bytes of it that no earlier try has fetched."""
    part = part_of(folder / archive.name)
    size = archive.remote.size if archive.remote and archive.remote.size else 0
    return max(size - (part.stat().st_size if is_there(part) else 0), 0)
