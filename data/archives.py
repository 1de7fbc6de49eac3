"""Official archives, unpacked: checked before anything is written, in place only when done."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
import stat
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from tqdm import tqdm

from cli import UserError
from files import locked


class Member(NamedTuple):
    """One entry of an archive."""

    name: str
    kind: str  # "folder", "file", "hard link", "symbolic link", or what else it is
    size: int  # bytes once unpacked
    target: str  # of a link
    open: Callable[[], IO[bytes] | None]


def extract(archive: Path, folder: Path) -> None:
    """Unpack a .tar, .tar.gz, .tgz or .zip into `folder`: all of it, or nothing.

    What is there under the same names is replaced, other files in the same folders stay. Owners,
    modes and times are not restored. Raises UserError, naming the archive, where it is damaged,
    unsafe or larger than the free space; nothing is in place then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".unpacking.lock", wait=False):
            temporary = folder / f".unpacking-{archive.name}"
            shutil.rmtree(temporary, ignore_errors=True)  # what an interrupted process has left
            try:
                _unpack(archive, folder, temporary)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except UserError:
        raise
    except BlockingIOError:
        raise UserError(f"another process unpacks in {folder}: wait for it") from None
    except Exception as error:  # on damaged data tarfile and zipfile raise nearly anything
        if isinstance(error, OSError) and error.strerror:
            name = error.filename or archive
            raise UserError(f"cannot unpack {archive}: {name}: {error.strerror}") from None
        words = str(error).partition("\n")[0].rstrip(": ") or type(error).__name__
        raise UserError(f"{archive} is damaged ({words}): remove it, and fetch it again") from None


def _unpack(archive: Path, folder: Path, temporary: Path) -> None:
    with _members(archive) as members:
        _check(archive, members)
        needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"{archive} needs {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free: "
                "make room first"
            )
        temporary.mkdir()
        _write(members, temporary)
    _check_places(archive, temporary, folder)
    if hasattr(os, "sync"):  # else a power loss could leave empty files that count as unpacked
        os.sync()
    # folders last: they show that an archive is unpacked
    for entry in sorted(temporary.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        _move(entry, folder / entry.name)


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """What an archive holds, while it is open."""
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as opened_zip:
            yield [_zip_member(archive, opened_zip, info) for info in opened_zip.infolist()]
    else:
        with tarfile.open(archive) as opened_tar:
            members = _tar_members(archive, opened_tar)
            _check_end(archive, opened_tar)
            yield members


def _zip_member(archive: Path, opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & 1:
        raise UserError(f"{archive}: {info.filename!r} is encrypted: unpack it by hand")
    mode = info.external_attr >> 16
    plain = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
    kind = "folder" if info.filename.endswith("/") else "file" if plain else "link or special file"
    return Member(info.filename, kind, info.file_size, "", partial(opened.open, info))


def _tar_members(archive: Path, opened: tarfile.TarFile) -> list[Member]:
    infos = opened.getmembers()
    sizes = {_path(info.name): info.size for info in infos}
    members = []
    for info in infos:
        size = sizes.get(_path(info.linkname), 0) if info.islnk() else info.size
        source = partial(opened.extractfile, info)
        members.append(Member(info.name, _tar_kind(info), size, info.linkname, source))
    return members


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "folder"
    links = "hard link" if info.islnk() else "symbolic link" if info.issym() else ""
    return links or ("file" if info.isreg() else "special file")


def _check_end(archive: Path, opened: tarfile.TarFile) -> None:
    """Raise UserError where the list of members breaks off, which tarfile takes for its end."""
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise UserError(f"{archive} is damaged (it breaks off): remove it, and fetch it again")
    while opened.fileobj.read(2**20):  # gzip compares its checksum when it comes to the end
        pass


def _path(name: str) -> str:
    """A name inside the archive as a disk would see it that takes A and a for the same."""
    plain = posixpath.normpath(name.replace("\\", "/"))
    return unicodedata.normalize("NFC", plain).casefold()


def _check(archive: Path, members: Sequence[Member]) -> None:
    """Raise UserError for a member that could write or lead outside, or over another one."""
    inside = [member for member in members if not _leads_out(member.name)]
    files = {_path(member.name) for member in inside if member.kind == "file"}
    links = {_path(member.name) for member in inside if member.kind == "symbolic link"}
    seen: set[str] = set()
    for member in members:
        fault = _fault(member, files, links)
        if not fault and member.kind != "folder" and _path(member.name) in seen:
            fault = "is there twice"
        if fault:
            raise UserError(
                f"{archive}: {member.name!r} {fault}: nothing is unpacked; fetch the official one"
            )
        seen.add(_path(member.name))


def _fault(member: Member, files: set[str], links: set[str]) -> str:
    """What is wrong with a member, or nothing; `files` and `links` are those of the archive."""
    if _leads_out(member.name):
        return "would lie outside the folder"
    if member.kind not in ("folder", "file", "hard link", "symbolic link"):
        return f"is a {member.kind}"
    if member.kind == "hard link" and (
        _leads_out(member.target) or _path(member.target) not in files
    ):
        return f"links to {member.target!r}, which is no file of the archive"
    if member.kind == "symbolic link" and not _stays_inside(member, links):
        return f"links to {member.target!r}, perhaps outside the folder"
    path = _path(member.name)
    if path in files | links if member.kind == "folder" else path == ".":
        return "is a folder and something else"
    if any(str(parent) in files | links for parent in PurePosixPath(path).parents):
        return "lies below a file or a link"
    return ""


def _leads_out(name: str) -> bool:
    return _is_absolute(name) or ".." in name.replace("\\", "/").split("/")


def _is_absolute(name: str) -> bool:
    """Whether a name begins at a root or at a drive of Windows, or is none at all."""
    return re.match(r"[A-Za-z]:|[/\\]|$", name) is not None or "\0" in name


def _stays_inside(link: Member, links: set[str]) -> bool:
    """Whether the target lies inside, on a way that does not go through another link."""
    if _is_absolute(link.target):
        return False
    place = list(PurePosixPath(_path(link.name)).parent.parts)
    for step in PurePosixPath(link.target.replace("\\", "/")).parts:
        if "/".join(place) in links or (step == ".." and not place):
            return False
        place = place[:-1] if step == ".." else [*place, _path(step)]
    return True


def _write(members: Sequence[Member], temporary: Path) -> None:
    """Write all members below `temporary`, links last: nothing is written through one."""
    hidden = not sys.stderr.isatty()
    for member in tqdm(members, "unpack", leave=False, disable=hidden):
        path = temporary / member.name
        if member.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
        elif member.kind != "symbolic link":
            path.parent.mkdir(parents=True, exist_ok=True)
            with _contents(member) as source, path.open("xb") as target:
                shutil.copyfileobj(source, target, 2**20)
    for member in members:
        if member.kind == "symbolic link":
            path = temporary / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(member.target)


def _contents(member: Member) -> IO[bytes]:
    source = member.open()
    assert source is not None, "files and hard links to files have contents"
    return source


def _check_places(archive: Path, source: Path, target: Path) -> None:
    """Raise UserError where a folder would come in the place of something else, or the reverse."""
    for child in source.iterdir():
        place = target / child.name
        if not os.path.lexists(place):
            continue
        if _is_folder(child) != _is_folder(place):
            raise UserError(
                f"{place} is in the way: {archive} holds a folder in the place of a file or link, "
                "or the reverse; move it away"
            )
        if _is_folder(child):
            _check_places(archive, child, place)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _move(source: Path, target: Path) -> None:
    """Put a file or folder at `target`; a folder that is there keeps what else it holds."""
    if not (_is_folder(source) and _is_folder(target)):
        source.replace(target)
        return
    for child in sorted(source.iterdir()):
        _move(child, target / child.name)
