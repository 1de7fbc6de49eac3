"""Arrays on disk: .npy files, and .npz files of sparse tables. Neither is trusted."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np

from cli import UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

T = TypeVar("T")


def load_array(path: Path) -> np.ndarray:
    """The array in a .npy file. Raises UserError for any other file, and for a pickled array.

    A pickle could run code: it is recognized by the header alone. So is a header that asks for
    more than the file holds.
    """
    return _load(path, _read_npy, "no plain .npy array")


def load_sparse(path: Path) -> csr_array:
    """The table in a .npz file of scipy.sparse.save_npz. Raises UserError for any other file.

    Its entries are in order, and none is stored twice or stored as 0.
    """
    return _load(path, _read_npz, "no sparse table of scipy.sparse.save_npz")


def npy(array: np.ndarray) -> Callable[[BinaryIO], object]:
    """What writes a .npy file."""
    return lambda file: np.save(file, array, allow_pickle=False)


def npz(table: csr_array) -> Callable[[BinaryIO], object]:
    """What writes the .npz file of a sparse table; uncompressed, it is read in a second."""
    from scipy.sparse import save_npz

    return lambda file: save_npz(file, table, compressed=False)


def _load(path: Path, read: Callable[[IO[bytes], int], T], fault: str) -> T:
    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        with path.open("rb") as file:
            return read(file, path.stat().st_size)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path} is {fault}: {error}; make it again") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: use a smaller number type") from None


def _read_npy(file: IO[bytes], size: int) -> np.ndarray:
    """The array in an open file of `size` bytes. Raises ValueError, in words of ours."""
    shape, in_columns, dtype = _read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which could run code")
    count = math.prod(shape)
    claimed, held = count * dtype.itemsize, size - file.tell()
    if claimed != held or min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError(f"its header speaks of {claimed:,} bytes of data, it holds {held:,}")
    if isinstance(file, io.BytesIO):
        array = np.frombuffer(file.getbuffer(), dtype, count, offset=file.tell())
    else:
        array = np.fromfile(file, dtype, count)
    return array.reshape(shape, order="F" if in_columns else "C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is stored column by column, dtype. Raises ValueError, in words of ours."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files of Python 2, which it reads all the same
            return readers[np.lib.format.read_magic(file)](file)
    except Exception:  # numpy parses Python text there, which fails in many ways
        raise ValueError("it does not begin with a header of numpy.save") from None


def _read_npz(file: IO[bytes], size: int) -> csr_array:
    """The table in an open file. Raises ValueError, in words of ours."""
    from scipy.sparse import csr_array

    members = _read_members(file)
    form, sides = members["format"].tolist(), members["shape"]
    if form not in (b"csr", "csr"):
        raise ValueError(f"it holds the format {form!r}, not csr")
    data, indices, first = members["data"], members["indices"], members["indptr"]
    if data.ndim != 1 or data.dtype.kind not in "iufb":
        raise ValueError("its data is no list of numbers")
    if any(part.dtype.kind not in "iu" or part.ndim != 1 for part in (indices, first, sides)):
        raise ValueError("its shape, indices or indptr is no list of whole numbers")
    shape = tuple(sides.tolist())
    if len(shape) != 2 or not 0 <= min(shape) <= max(shape) < 2**31:
        raise ValueError(f"its shape is {shape}")
    _check_places(data, indices, first, shape)
    kind = np.int32 if len(indices) < 2**31 else np.int64
    table = csr_array((data.copy(), indices.astype(kind), first.astype(kind)), shape=shape)
    table.sort_indices()
    if not table.has_canonical_format:
        raise ValueError("a row holds an entry twice")
    table.eliminate_zeros()
    return table


def _read_members(file: IO[bytes]) -> dict[str, np.ndarray]:
    """The arrays of a .npz file that make a sparse table. Raises ValueError, in words of ours."""
    names = ("format", "shape", "data", "indices", "indptr")
    try:
        with zipfile.ZipFile(file) as archive:  # which compares the checksum of each member
            contents = {name: archive.read(f"{name}.npy") for name in names}
    except KeyError as error:
        raise ValueError(f"it lacks a member ({error.args[0]})") from None
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # on damaged data zipfile and the decompressors raise nearly anything
        raise ValueError(f"{error}") from None
    return {name: _read_npy(io.BytesIO(held), len(held)) for name, held in contents.items()}


def _check_places(
    data: np.ndarray, indices: np.ndarray, first: np.ndarray, shape: tuple[int, ...]
) -> None:
    """Raise ValueError for entries outside of the table, where scipy would read other memory."""
    falls = (first[1:] < first[:-1]).any()
    if len(first) != shape[0] + 1 or first[0] != 0 or falls or first[-1] != len(indices):
        raise ValueError("its indptr does not fit its indices")
    if len(data) != len(indices):
        raise ValueError(f"it holds {len(data):,} values in {len(indices):,} places")
    if len(indices) and not 0 <= indices.min() <= indices.max() < shape[1]:
        raise ValueError("its indices are not all columns of the table")
