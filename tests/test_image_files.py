"""Reading images: every kind, and what is none."""

import os
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from image_files import BadImage, read_image

PIXELS = np.random.RandomState(0).randint(0, 256, (9, 12, 3)).astype(np.uint8)
PICTURE = Image.fromarray(PIXELS).resize((60, 45), Image.Resampling.BICUBIC)
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
