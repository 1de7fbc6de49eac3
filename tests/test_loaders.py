"""Reading images, the order of mini-batches, loaders with and without workers."""

import itertools
import multiprocessing
import os
import pickle
import random
import signal
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from cli import OwnTrouble
from data.check import bad_images
from loaders import (
    Array,
    BadImage,
    BatchOrder,
    ImageFiles,
    Purpose,
    batches,
    epoch_rng,
    make_loader,
    read_image,
)

CPU = torch.device("cpu")
PIXELS = np.random.RandomState(0).randint(0, 256, (9, 12, 3)).astype(np.uint8)
PICTURE = Image.fromarray(PIXELS).resize((60, 45), Image.Resampling.BICUBIC)


# The order of mini-batches


@pytest.mark.parametrize(("num_images", "batch_size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
@pytest.mark.parametrize("seed", [None, 0, 2**32 - 1])
def test_every_image_comes_once(num_images, batch_size, seed):
    order = BatchOrder(num_images, batch_size, seed)
    epoch = list(order)
    assert sorted(i for batch in epoch for i in batch) == list(range(num_images))
    assert {len(batch) for batch in epoch[:-1]} <= {batch_size}
    assert 1 <= len(epoch[-1]) <= batch_size
    assert len(order) == len(epoch)


def test_without_a_seed_the_order_is_that_of_the_split():
    order = BatchOrder(5, 2)
    order.epoch = 3
    assert list(order) == [[0, 1], [2, 3], [4]]


def test_the_order_depends_on_seed_epoch_and_phase_alone():
    def order_of(seed, epoch, purpose=Purpose.ORDER):
        order = BatchOrder(100, 7, seed, purpose)
        order.epoch = epoch
        return list(order)

    first = order_of(5, 3)
    keys = itertools.product(range(4), range(1, 5), (Purpose.ORDER, Purpose.LINEAR_ORDER))
    orders = [order_of(*key) for key in keys]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])
    torch.manual_seed(99)
    np.random.seed(99)
    used = BatchOrder(100, 7, 5)
    list(used)
    used.epoch = 3
    assert list(used) == first == list(used)


def test_generators_of_epochs_and_purposes_are_unlike():
    """1,000 draws each of 60 generators: no two agree, correlate, or lie a step apart."""
    keys = list(itertools.product((0, 1), range(6), Purpose))
    draws = np.stack([torch.rand(1000, generator=epoch_rng(*key)).numpy() for key in keys])
    correlation = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlation).max() < 0.2
    assert len(np.unique(draws[:, :5])) > 0.99 * 5 * len(keys)
    assert draws.mean() == pytest.approx(0.5, abs=0.01)


def test_a_generator_is_the_same_each_time_and_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    first, second = (torch.rand(5, generator=epoch_rng(3, 4, 1)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.rand(5, generator=epoch_rng(3, 4)),
                       torch.rand(5, generator=epoch_rng(3, 4, Purpose.ORDER)))  # fmt: skip


# Reading images

TURNED = Image.Exif()
TURNED[0x0112] = 6  # the orientation: a quarter to the right

# name, mode, options of PIL's save
KINDS = [
    ("rgb.jpg", "RGB", {"quality": 95}),
    ("rgb.png", "RGB", {}),
    ("grey.jpg", "L", {}),
    ("grey.png", "L", {}),
    ("grey-alpha.png", "LA", {}),
    ("rgba.png", "RGBA", {}),
    ("palette.png", "P", {}),
    ("black-white.png", "1", {}),
    ("cmyk.jpg", "CMYK", {}),
    ("progressive.jpg", "RGB", {"progressive": True}),
    ("picture.bmp", "RGB", {}),
    ("no suffix", "RGB", {"format": "PNG"}),
    ("transparent-palette.png", "P", {"transparency": 3}),
    ("translucent-palette.png", "P", {"transparency": bytes(range(256))}),
    ("transparent-rgb.png", "RGB", {"transparency": (10, 10, 10)}),
    ("palette.gif", "P", {}),
    ("transparent.gif", "P", {"transparency": 3}),
    ("rgb.webp", "RGB", {"lossless": True}),
    ("rgba.webp", "RGBA", {"lossless": True}),
    ("rgb.tif", "RGB", {}),
    ("cmyk.tif", "CMYK", {}),
    ("palette.tif", "P", {}),
    ("turned.jpg", "RGB", {"exif": TURNED}),  # the orientation is not followed
    ("turned.png", "RGB", {"exif": TURNED}),
]


@pytest.mark.parametrize(("name", "mode", "options"), KINDS, ids=[kind[0] for kind in KINDS])
@pytest.mark.parametrize("size", [16, 64])
def test_an_image_is_what_pil_makes_of_it(tmp_path, name, mode, options, size):
    """Down and up: bilinear with antialiasing, the aspect ratio not kept, nothing cropped."""
    PICTURE.convert(mode).save(tmp_path / name, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none reaches the terminal
        image = read_image(tmp_path / name, size)
    assert (image.shape, image.dtype) == ((3, size, size), torch.uint8)
    with Image.open(tmp_path / name) as picture, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resized = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    difference = np.abs(image.permute(1, 2, 0).numpy().astype(int) - np.array(resized))
    assert difference.max() <= 2  # JPEG decoders and roundings may differ by as much


def test_channels_are_red_green_blue(tmp_path):
    Image.new("RGB", (4, 3), (250, 120, 10)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", 8)
    assert image.flatten(1).unique(dim=1).flatten().tolist() == [250, 120, 10]


def test_an_image_with_16_bits_a_channel_becomes_8_bits(tmp_path):
    """Medical and scientific PNG files have them; 65535 is white."""
    deep = np.repeat(np.array([[0, 32768, 65535]], np.uint16), 3, axis=0)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png", 3)
    assert image.dtype == torch.uint8
    assert image[:, 1].flatten().tolist() == pytest.approx([0, 128, 255] * 3, abs=1)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_a_grey_image_with_16_bits_becomes_8_bits(tmp_path, suffix):
    """PIL alone would clip it to white."""
    deep = np.repeat(np.array([[0, 32768, 65535]], np.uint16), 3, axis=0)
    path = tmp_path / f"deep.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 3 3 65535\n" + deep.astype(">u2").tobytes())
    else:
        Image.fromarray(deep).save(path)
    image = read_image(path, 3)
    assert image[:, 1].flatten().tolist() == pytest.approx([0, 128, 255] * 3, abs=1)


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_a_float_image_is_scaled_to_its_white(tmp_path, white):
    grey = np.array([[0, 0.2, 0.4], [0.6, 0.8, 1]], np.float32) * white
    Image.fromarray(grey).save(tmp_path / "float.tif")
    with Image.open(tmp_path / "float.tif") as picture:
        assert picture.mode == "F"
    Image.fromarray((grey / white * 255).round().astype(np.uint8)).save(tmp_path / "bytes.png")
    assert torch.equal(read_image(tmp_path / "float.tif", 3), read_image(tmp_path / "bytes.png", 3))


@pytest.mark.parametrize(
    "value", [np.float32(300), np.float32(-0.1), np.float32(np.nan), np.int32(70000), np.int32(-1)]
)
def test_values_beyond_any_white_are_refused(tmp_path, value):
    Image.fromarray(np.array([[value, 0], [0, 0]], value.dtype)).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match=r"a.tif cannot be read \(its values .* are not in 0 to"):
        read_image(tmp_path / "a.tif", 4)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_is_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), color) for color in ((200, 0, 0), (0, 0, 200))]
    path = tmp_path / f"two.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    image = read_image(path, 4)
    assert image.shape == (3, 4, 4)
    assert image[0].float().mean() > 190


def png_header(width, height):
    """The first chunks of a PNG of that size, which takes 8 bits a channel, RGB."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(99)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def jpeg_header(path, side):
    """A JPEG whose header speaks of a square of that side."""
    PICTURE.save(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", side, side)
    return bytes(content)


def spoil(folder, name):
    """A file of that name that is no image."""
    path = folder / name
    if name == "folder.jpg":
        path.mkdir()
    elif name == "pipe.jpg":
        os.mkfifo(path)
    elif name == "nowhere.jpg":
        path.symlink_to(folder / "gone.jpg")
    elif name == "text.jpg":
        path.write_text("no picture\nat all\n")
    elif name == "empty.jpg":
        path.write_bytes(b"")
    elif name == "huge.png":
        path.write_bytes(png_header(2**15, 2**15))
    elif name == "huge.jpg":
        path.write_bytes(jpeg_header(path, 2**15))
    elif name.startswith("truncated"):
        PICTURE.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


SPOILT = {
    "missing.jpg": "is missing",
    "nowhere.jpg": "is missing",
    "a\0b.jpg": "",
    "a" * 300: "cannot be read (",
    "empty.jpg": "is empty",
    "text.jpg": "is no image of a known format",
    "folder.jpg": "is no regular file",
    "pipe.jpg": "is no regular file",
    "huge.png": "has more than 178,956,970 pixels",
    "huge.jpg": "has more than 178,956,970 pixels",
    "truncated.jpg": "cannot be read (",
    "truncated.png": "cannot be read (",
    "truncated.gif": "cannot be read (",
    "truncated.tif": "cannot be read (",
    "truncated.webp": "",
    "truncated.bmp": "cannot be read (",
}


@pytest.mark.parametrize(("name", "words"), SPOILT.items())
def test_no_image_costs_one_line_that_names_the_file(tmp_path, name, words):
    path = spoil(tmp_path, name)
    with pytest.raises(BadImage) as caught:
        read_image(path, 16)
    message = str(caught.value)
    assert f"image {path} {words}" in message
    assert message.endswith(": replace it, or give --on_bad_image skip")
    assert len(message.splitlines()) == 1


def read_or_refuse(path, content):
    """The image of a file of that content, or None where that is refused."""
    path.write_bytes(content)
    try:
        return read_image(path, 16)
    except BadImage:
        return None


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "webp", "bmp"])
def test_a_file_that_is_cut_off_is_refused_or_whole(tmp_path, suffix):
    """Some formats have a little after the last pixel; a part of a picture is never taken."""
    path = tmp_path / f"a.{suffix}"
    PICTURE.save(path)
    content = path.read_bytes()
    whole = read_image(path, 16)
    cuts = sorted(
        {*range(0, len(content), len(content) // 20), *range(len(content) - 15, len(content))}
    )
    images = [read_or_refuse(path, content[:cut]) for cut in cuts]
    assert all(torch.equal(image, whole) for image in images if image is not None)
    assert sum(image is None for image in images) >= 20


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "webp"])
def test_damage_anywhere_never_ends_in_anything_but_an_image_or_its_error(tmp_path, suffix):
    """One decoder of torchvision would end the whole process on a PNG like these."""
    path = tmp_path / f"a.{suffix}"
    PICTURE.resize((12, 9)).convert("L").save(path)
    content = path.read_bytes()
    rng = np.random.RandomState(0)
    for place in rng.choice(len(content), 150):
        damaged = bytearray(content)
        damaged[place : place + 2] = rng.bytes(2)
        image = read_or_refuse(path, damaged)
        assert image is None or image.shape == (3, 16, 16)


def test_a_bad_image_comes_whole_out_of_a_process():
    error = pickle.loads(pickle.dumps(BadImage("a/b.jpg", "is empty")))
    assert (error.path, error.reason) == ("a/b.jpg", "is empty")
    assert str(error).startswith("image a/b.jpg is empty: ")


# Loaders


@pytest.fixture
def files(tmp_path):
    """Eleven pictures; each is of one colour, 20 times its place."""
    names = np.array([f"sub/{i:02d}.png" for i in range(11)])
    (tmp_path / "sub").mkdir()
    for i, name in enumerate(names):
        Image.new("RGB", (5, 4), (20 * i, 0, 255)).save(tmp_path / name)
    return ImageFiles(tmp_path, names, size=8)


def epoch_of(loader, epoch):
    loader.batch_sampler.epoch = epoch
    return [(images.clone(), index.tolist()) for images, index in batches(loader, CPU)]


def test_batches_carry_the_images_of_their_index(files):
    loader = make_loader(files, BatchOrder(11, 4, seed=1), 0, pin=False)
    sizes = []
    for images, index in epoch_of(loader, 1):
        assert (images.dtype, images.shape[1:]) == (torch.uint8, (3, 8, 8))
        assert images[:, 0, 0, 0].tolist() == [20 * i for i in index]
        sizes.append(len(index))
    assert sizes == [4, 4, 3]


def test_workers_change_nothing_but_the_speed(files):
    """Two epochs with the same two workers, in the order that the epochs have without them."""
    alone = make_loader(files, BatchOrder(11, 4, seed=1), 0, pin=False)
    helped = make_loader(files, BatchOrder(11, 4, seed=1), 2, pin=False)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    orders = []
    for epoch in (1, 2):
        expected, got = epoch_of(alone, epoch), epoch_of(helped, epoch)
        assert [index for _, index in got] == [index for _, index in expected]
        for (images, _), (same, _) in zip(got, expected, strict=True):
            assert torch.equal(images, same)
        orders.append([index for _, index in expected])
    assert orders[0] != orders[1]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_that_was_begun_early_is_the_same(files, num_workers):
    """The loader that comes next begins when the workers of this one have nothing left to do."""
    loader = make_loader(files, BatchOrder(11, 1, seed=1), num_workers, pin=False)
    expected = [index for _, index in epoch_of(loader, 2)]
    loader.batch_sampler.epoch = 1
    asked, begun = [], []
    for _, index in batches(loader, CPU, then=lambda: begun.append(len(asked))):
        asked.append(index.tolist())
    assert begun == [6 if num_workers else 10], "two mini-batches a worker are under way"
    for _ in range(2):
        loader.begin(2)
        assert (loader._begun is None) == (num_workers == 0)
        assert [index.tolist() for _, index in batches(loader, CPU)] == expected


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_workers_read_large_rows_where_a_gpu_waits_for_them(tmp_path):
    """From memory, or from a file that all of them map."""
    np.save(
        tmp_path / "rows.npy", np.arange(5 * 3 * 160 * 160, dtype=np.uint8).reshape(5, 3, 160, -1)
    )
    mapped = torch.from_numpy(np.load(tmp_path / "rows.npy", mmap_mode="c"))
    small = mapped[:, :, :9]
    cases = [(mapped, True, 2), (mapped.clone(), True, 2), (mapped, False, 0), (small, True, 0)]
    for rows, pin, workers in cases:
        loader = make_loader(Array(rows), BatchOrder(5, 2), 2, pin)
        assert loader.num_workers == min(workers, len(os.sched_getaffinity(0)))
        assert torch.equal(torch.cat([images for images, _ in batches(loader, CPU)]), rows)


def read_until_an_error(files, num_workers):
    """The index of the batches before the error, its class and its words; nothing is kept."""
    loader = make_loader(files, BatchOrder(11, 4), num_workers, pin=False)
    arrived = []
    try:
        for _, index in batches(loader, CPU):
            arrived.append(index.tolist())
    except Exception as error:
        return arrived, type(error), str(error)
    return arrived, None, ""


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named_in_one_line(files, num_workers):
    """As it is by `read_image`; with workers no traceback comes along, and they end at once."""
    path = files.folder / "sub/07.png"
    path.write_text("no picture")
    arrived, kind, words = read_until_an_error(files, num_workers)
    assert (arrived, kind) == ([[0, 1, 2, 3]], OwnTrouble)
    assert f"image {path} is no image of a known format" in words
    assert len(words.splitlines()) == 1
    assert not multiprocessing.active_children()


def test_a_part_of_the_files_is_read_by_its_own_index(files):
    some = files.take(np.array([2, 5, 8, 9])).take(np.array([3, 0, 1]))
    assert len(some) == 3
    (images, index), *rest = epoch_of(make_loader(some, BatchOrder(3, 3), 0, pin=False), 1)
    assert not rest
    assert (index, images[:, 0, 0, 0].tolist()) == ([0, 1, 2], [180, 40, 100])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_arrays_need_no_workers(dtype):
    rows = torch.arange(24).view(6, 4).to(dtype)
    part = Array(rows).take(np.array([5, 2, 0, 3])).take(np.array([0, 2, 3]))
    loader = make_loader(part, BatchOrder(3, 2), num_workers=4, pin=False)
    assert loader.num_workers == 0
    got = epoch_of(loader, 1)
    assert [index for _, index in got] == [[0, 1], [2]]
    assert torch.equal(torch.cat([images for images, _ in got]), rows[[5, 0, 3]])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_all_images_that_cannot_be_read_are_found(files, num_workers):
    (files.folder / "sub/02.png").write_text("no picture")
    (files.folder / "sub/10.png").unlink()
    found = bad_images(files, num_workers)
    assert {place: error.path for place, error in found.items()} == {
        place: files.folder / f"sub/{place:02d}.png" for place in (2, 10)
    }
    assert found[10].reason == "is missing"
    some = files.take(np.array([10, 0, 2, 3]))
    assert list(bad_images(some, num_workers)) == [0, 2]


def test_workers_leave_ctrl_c_to_the_main_process(files):
    """A terminal sends SIGINT to all of them; they end with their loader."""
    loader = make_loader(files, BatchOrder(11, 1), 2, pin=False)
    first = epoch_of(loader, 1)  # until both have begun
    steps = batches(loader, CPU)
    arrived = [next(steps)[1].tolist()]
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)
    arrived += [index.tolist() for _, index in steps]
    assert arrived == [index for _, index in first]
    del steps, loader
    assert not multiprocessing.active_children()
