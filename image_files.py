"""Image files as tensors.

Letters in shapes: B images of a mini-batch, H x W pixels.
"""

from __future__ import annotations

import contextlib
import errno
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cli import UserError

# what the machine is short of, or a network drive that is away: no fault of a file
_NOT_THE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE)
Batch = tuple[Tensor, Tensor]  # images uint8 [B, 3, H, W] (or features float [B, D]), index [B]


class ImageFiles(Dataset):
    """Image files, decoded to RGB and resized to a square without cropping."""

    def __init__(self, folder: Path, names: np.ndarray, size: int) -> None:
        self.folder, self.names, self.size = folder, names, size

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, index: Sequence[int]) -> Batch | BadImage:
        """A mini-batch; an image that cannot be read comes back as the error that names it.

        Raised in a worker process, the error would arrive wrapped in a traceback.
        """
        try:
            images = [read_image(self.folder / str(self.names[i]), self.size) for i in index]
        except BadImage as error:
            return error
        return torch.stack(images), torch.as_tensor(index)

    def take(self, places: np.ndarray) -> ImageFiles:
        """The files at these places alone."""
        return ImageFiles(self.folder, self.names[places], self.size)


class BadImage(UserError):
    """An image file that cannot be read: its `path`, and the `reason` in a few words."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it comes whole out of a worker process
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"image {self.path} {self.reason}: replace it, or give --on_bad_image skip"


def read_image(path: Path, size: int | None) -> Tensor:
    """An image file as uint8 [3, size, size], RGB, resized with antialiasing, not cropped.

    Without a size it stays as large as it is, [3, H, W]. Raises BadImage for one that is missing,
    damaged, no image or too large.
    """
    from PIL import Image, UnidentifiedImageError
    from torchvision.transforms.v2.functional import resize

    try:
        _check_file(path)
        image = _decode(path)
        return image if size is None else resize(image, [size, size], antialias=True)
    except (BadImage, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise BadImage(
            path, f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        ) from None
    except UnidentifiedImageError:
        raise BadImage(path, "is no image of a known format") from None
    except Exception as error:  # on damaged data PIL's decoders raise nearly anything
        if getattr(error, "errno", None) in _NOT_THE_FILES:
            raise
        words = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(path, f"cannot be read ({words})") from None


def _check_file(path: Path) -> None:
    """Raise BadImage for what could not be opened, or for which opening would wait for ever."""
    if not path.exists():
        raise BadImage(path, "is missing")
    if not path.is_file():
        raise BadImage(path, "is no regular file")
    if not path.stat().st_size:
        raise BadImage(path, "is empty")


def _decode(path: Path) -> Tensor:
    """uint8 [3, H, W], what PIL's convert("RGB") gives; of an animation the first picture.

    PIL reads the header first: it refuses what would fill the memory, and torchvision does not.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of files that it reads all the same
        with Image.open(path) as image:
            if image.format == "JPEG":
                with contextlib.suppress(
                    ImportError, RuntimeError
                ):  # what it refuses, PIL may read
                    return _decode_jpeg(path)
            if image.mode[0] in "IF":
                image = Image.fromarray(_to_bytes(np.array(image)))
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def _decode_jpeg(path: Path) -> Tensor:
    """The same by torchvision, which is faster; on a damaged PNG its decoder ends the process.

    Newer releases announce that they will drop it.
    """
    from torchvision.io import ImageReadMode, decode_image

    return decode_image(str(path), mode=ImageReadMode.RGB)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Grey values of 16 bits, or floats up to 1 or up to 255, as uint8; PIL would clip them."""
    white = 65535 if values.dtype.kind in "iu" else 1 if values.max() <= 1 else 255
    if not (values.min() >= 0 and values.max() <= white):
        raise ValueError(f"its values {values.min()} to {values.max()} are not in 0 to {white}")
    return (values / white * 255).round().astype(np.uint8)
