"""Reading a photo of any kind that a camera, a scanner or an enemy may write."""

import io
import os
import struct
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn_steps.data import COCO_CLASSES, Sample
from mrcnn_steps.data.images import read_header, read_image

NAMES = ("background", "cat", "dog")


# --- photos of every kind -------------------------------------------------------------------


@pytest.fixture
def rgb():
    """A smooth picture, different in every corner, that survives JPEG."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack((x * 6, y * 10, 255 - x * 3 - y * 5), axis=-1).astype(np.uint8)


def pixels(sample):
    return sample.image.permute(1, 2, 0).numpy()


def test_a_photo_is_a_sample_without_objects(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "my cat.png")
    sample = Sample.from_image(tmp_path / "my cat.png")
    assert np.array_equal(pixels(sample), rgb)
    assert sample.name == "my cat"
    assert sample.boxes.shape == (0, 4)
    assert sample.masks.shape == (0, 24, 40)
    assert sample.class_names == COCO_CLASSES


def test_paths_may_be_text(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert Sample.from_image(str(tmp_path / "a.png"), NAMES).class_names == NAMES


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "ppm"])
def test_formats(tmp_path, rgb, suffix):
    Image.fromarray(rgb).save(tmp_path / f"a.{suffix}")
    found = pixels(Sample.from_image(tmp_path / f"a.{suffix}")).astype(int)
    assert np.abs(found - rgb).mean() < 6


def stored(rgb, orientation):
    """What a camera stores that was held so: the upright photo, turned or mirrored."""
    # Each line undoes the tag's meaning ("row 0 is the … side, column 0 the … side" in the EXIF
    # standard).
    turned = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, 1),
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(rgb, -1),
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(turned))


def save_turned(rgb, orientation, path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored(rgb, orientation).save(path, exif=exif)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, rgb, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    save_turned(rgb, orientation, path)
    assert np.array_equal(pixels(Sample.from_image(path)), rgb)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_header_tells_the_upright_size_without_decoding(tmp_path, rgb, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    save_turned(rgb, orientation, path)
    header = read_header(path)
    assert header.size == (40, 24)
    assert header.stored == stored(rgb, orientation).size
    assert header.orientation == orientation


def test_turns_that_the_size_does_not_tell(tmp_path, rgb):
    """A photo turned by 180° or mirrored keeps its size; a square one keeps it at every turn."""
    for orientation in range(1, 9):
        save_turned(rgb, orientation, tmp_path / "wide.png")
        assert read_header(tmp_path / "wide.png").turned_unseen == (orientation in (2, 3, 4))
        save_turned(rgb[:, :24], orientation, tmp_path / "square.png")
        assert read_header(tmp_path / "square.png").turned_unseen == (orientation != 1)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_means_nothing_turns_nothing(tmp_path, rgb, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(pixels(Sample.from_image(tmp_path / "a.png")), rgb)


def test_grey_becomes_three_equal_channels(tmp_path, rgb):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "a.png")
    found = pixels(Sample.from_image(tmp_path / "a.png"))
    assert np.array_equal(found, np.repeat(rgb[..., :1], 3, axis=2))


def test_one_bit_becomes_black_and_white(tmp_path):
    Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "a.png")
    found = pixels(Sample.from_image(tmp_path / "a.png"))
    assert np.array_equal(found[..., 0], np.eye(8) * 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_is_scaled_not_clipped(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    found = pixels(Sample.from_image(tmp_path / f"a.{suffix}"))
    expected = np.floor(ramp / 65535 * 255 + 0.5)
    assert np.array_equal(found, np.repeat(expected[..., None], 3, axis=2))


def test_grey_beyond_16_bits_is_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 70000, dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif: .*gray values from 70000 to 70000"):
        Sample.from_image(tmp_path / "a.tif")


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif: .*floating-point"):
        Sample.from_image(tmp_path / "a.tif")


def test_transparency_is_laid_over_white(tmp_path):
    photo = np.zeros((1, 3, 4), dtype=np.uint8)
    photo[0, :, :3] = (200, 0, 100)
    photo[0, :, 3] = (255, 0, 51)
    Image.fromarray(photo).save(tmp_path / "a.png")
    found = pixels(Sample.from_image(tmp_path / "a.png")).astype(int)
    expected = [[200, 0, 100], [255, 255, 255], [244, 204, 224]]
    assert np.abs(found[0] - expected).max() <= 1


def test_grey_with_transparency(tmp_path):
    Image.fromarray(np.array([[[7, 255], [7, 0]]], dtype=np.uint8), "LA").save(tmp_path / "a.png")
    assert pixels(Sample.from_image(tmp_path / "a.png"))[0, :, 0].tolist() == [7, 255]


def test_palette(tmp_path):
    photo = Image.new("P", (3, 1))
    photo.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    photo.putdata([0, 1, 2])
    photo.save(tmp_path / "a.png")
    found = pixels(Sample.from_image(tmp_path / "a.png"))
    assert found[0].tolist() == [[10, 20, 30], [200, 100, 50], [1, 2, 3]]
    photo.save(tmp_path / "b.png", transparency=1)
    found = pixels(Sample.from_image(tmp_path / "b.png"))
    assert found[0].tolist() == [[10, 20, 30], [255, 255, 255], [1, 2, 3]]


def test_cmyk(tmp_path):
    for color, expected in (((0, 0, 0, 0), 255), ((0, 0, 0, 255), 0), ((128, 128, 128, 0), 127)):
        Image.new("CMYK", (16, 16), color).save(tmp_path / "a.jpg", quality=95)
        found = pixels(Sample.from_image(tmp_path / "a.jpg")).astype(int)
        assert np.abs(found - expected).max() <= 2


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixels(Sample.from_image(tmp_path / "a.gif"))[0, 0].tolist() == [255, 0, 0]


def test_a_photo_of_24_megapixels_is_welcome(tmp_path):
    Image.new("RGB", (6000, 4000), "teal").save(tmp_path / "a.jpg")
    assert Sample.from_image(tmp_path / "a.jpg").image.shape == (3, 4000, 6000)


# --- what is refused ------------------------------------------------------------------------


def refusal(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="expected") as caught:
            Sample.from_image(path)
    assert str(path) in str(caught.value)
    assert "found" in str(caught.value)
    return str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg: no such file"):
        Sample.from_image(tmp_path / "gone.jpg")


def test_a_directory(tmp_path):
    assert "found a directory" in refusal(tmp_path)


def test_an_empty_file(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert "found an empty file" in refusal(tmp_path / "a.jpg")


def test_a_text_file(tmp_path):
    (tmp_path / "a.jpg").write_text("I am a photo, honestly.")
    assert "found no readable image, expected one of JPEG" in refusal(tmp_path / "a.jpg")


def test_postscript_is_never_run(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    assert "found no readable image" in refusal(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "gif", "ppm"])
def test_a_file_cut_in_half(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = io.BytesIO()
    format_name = Image.registered_extensions()[f".{suffix}"]
    Image.fromarray(noise).save(whole, format_name)
    (tmp_path / f"a.{suffix}").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    refusal(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif"])
def test_damaged_bytes_give_a_photo_or_a_clear_refusal(tmp_path, suffix, rgb):
    whole = io.BytesIO()
    Image.fromarray(rgb).save(whole, Image.registered_extensions()[f".{suffix}"])
    generator = np.random.default_rng(1)
    path = tmp_path / f"a.{suffix}"
    refusals = []
    for _ in range(150):
        damaged = np.frombuffer(whole.getvalue(), dtype=np.uint8).copy()
        damaged[generator.integers(0, len(damaged), 3)] = generator.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert Sample.from_image(path).image.shape[0] == 3
        except ValueError as error:
            refusals.append(str(error))
    assert refusals
    assert all(str(path) in refusal for refusal in refusals)


def png_header(width, height):
    """A PNG that promises this size and holds nothing: decoding it would fail, or fill memory."""
    chunks = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ):
        checksum = zlib.crc32(kind + body)
        chunks += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
    return chunks


@pytest.mark.parametrize("size", [(10_000, 10_000), (1, 100_000_000), (30_000, 30_000)])
def test_a_bomb_is_refused_by_its_header(tmp_path, size):
    (tmp_path / "a.png").write_bytes(png_header(*size))
    assert "pixels" in refusal(tmp_path / "a.png")


def test_a_hundred_megapixels_name_the_size(tmp_path):
    (tmp_path / "a.png").write_bytes(png_header(12_500, 8_000))
    message = refusal(tmp_path / "a.png")
    assert "found 12500×8000 pixels, expected fewer than 100,000,000" in message


# --- the reason is the file system's --------------------------------------------------------


def test_a_file_that_may_not_be_read_is_told_by_that_reason(tmp_path, rgb):
    path = tmp_path / "a.png"
    Image.fromarray(rgb).save(path)
    path.chmod(0)
    user = os.geteuid()
    for folder in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in folder.parents:
            folder.chmod(0o755)
    if user == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(PermissionError, match=r"Permission denied: .*a\.png"):
            read_image(path)
    finally:
        os.seteuid(user)


def test_a_loop_of_links(tmp_path):
    os.symlink(tmp_path / "b.png", tmp_path / "a.png")
    os.symlink(tmp_path / "a.png", tmp_path / "b.png")
    with pytest.raises(OSError, match=r"Too many levels of symbolic links: .*a\.png"):
        read_image(tmp_path / "a.png")


# --- files that take long -------------------------------------------------------------------


def progressive(rgb, more_scans, **options):
    """A progressive JPEG whose last scan is repeated."""
    whole = io.BytesIO()
    Image.fromarray(rgb).save(whole, "JPEG", progressive=True, **options)
    data = whole.getvalue()
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * more_scans + b"\xff\xd9"


def test_a_jpeg_of_very_many_scans_is_refused_at_once(tmp_path):
    """600 empty scans of 81 megapixels in 550 kB: they would take most of a minute."""
    grey = np.full((9000, 9000, 3), 9, dtype=np.uint8)
    (tmp_path / "a.jpg").write_bytes(progressive(grey, 600, quality=5))
    start = time.monotonic()
    assert "found 610 scans, expected at most 100 in a JPEG" in refusal(tmp_path / "a.jpg")
    assert time.monotonic() - start < 1


def test_scans_in_thumbnails_and_behind_the_image_do_not_count(tmp_path, rgb):
    """A phone appends a film to its photo; the bytes of a scan's marker occur in it by chance."""
    exif = Image.Exif()
    exif[0x010E] = "\xff\xda" * 200
    film = b"\xff\xda\x00" * 5000
    (tmp_path / "a.jpg").write_bytes(progressive(rgb, 20, exif=exif) + film)
    found = pixels(Sample.from_image(tmp_path / "a.jpg")).astype(int)
    assert np.abs(found - rgb).mean() < 6
