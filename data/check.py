"""Find the images of a set that cannot be read, before a run meets them."""

from __future__ import annotations

from image_files import BadImage, ImageFiles
from loaders import BatchOrder, make_loader, progress


def bad_images(images: ImageFiles, num_workers: int) -> dict[int, BadImage]:
    """What is wrong with each image that cannot be read, by its place; every file is decoded."""
    tiny = ImageFiles(images.folder, images.names, size=1)  # little to send from the workers
    loader = make_loader(tiny, BatchOrder(len(tiny), 1), num_workers, pin=False)
    answers = enumerate(progress(loader, len(loader), "check"))
    return {place: answer for place, answer in answers if isinstance(answer, BadImage)}
