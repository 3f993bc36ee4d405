"""Samples, and reading a photo of any kind that a camera, a scanner or an enemy may write."""

import io
import struct
import warnings
import zlib

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from mrcnn_steps.data import COCO_CLASSES, Sample
from mrcnn_steps.mini_masks import boxes_from_masks

NAMES = ("background", "cat", "dog")


@pytest.fixture
def no_shape_checks():
    """Let bad shapes through to our own messages; in tests the annotations would come first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def parts(**changes):
    masks = torch.zeros((2, 6, 8), dtype=torch.bool)
    masks[0, 1:3, 2:7] = True
    masks[1, 5, 0] = True
    fields = {
        "image": torch.zeros((3, 6, 8), dtype=torch.uint8),
        "boxes": boxes_from_masks(masks),
        "labels": torch.tensor([1, 2]),
        "masks": masks,
        "crowd": torch.tensor([False, True]),
        "class_names": NAMES,
        "name": "two",
    }
    return fields | changes


# --- a sample -------------------------------------------------------------------------------


def test_boxes_come_from_the_masks():
    fields = parts()
    del fields["boxes"]
    sample = Sample.from_masks(**fields)
    assert sample.boxes.tolist() == [[2, 1, 7, 3], [0, 5, 1, 6]]
    assert sample.boxes.dtype == torch.float32


def test_an_empty_mask_gives_a_zero_box():
    fields = parts(masks=torch.zeros((2, 6, 8), dtype=torch.bool))
    del fields["boxes"]
    assert Sample.from_masks(**fields).boxes.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]


def test_samples_without_objects_are_samples():
    sample = Sample(
        **parts(
            boxes=torch.zeros((0, 4)),
            labels=torch.zeros(0, dtype=torch.int64),
            masks=torch.zeros((0, 6, 8), dtype=torch.bool),
            crowd=torch.zeros(0, dtype=torch.bool),
        )
    )
    assert len(sample.labels) == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image", torch.zeros((6, 8, 3), dtype=torch.uint8), r"image: expected \[3, H, W\]"),
        ("image", torch.zeros((3, 6, 8)), "image: expected uint8, found float32"),
        ("image", torch.zeros((3, 0, 8), dtype=torch.uint8), "image: expected at least one pixel"),
        ("image", torch.zeros((3, 6, 9), dtype=torch.uint8), r"masks: expected \[2, 6, 9\]"),
        ("boxes", torch.zeros((3, 4)), r"boxes: expected \[2, 4\], found float32 \[3, 4\]"),
        ("boxes", torch.zeros((2, 4), dtype=torch.float64), "boxes: expected float32"),
        ("boxes", torch.full((2, 4), torch.nan), "boxes: expected finite"),
        ("boxes", torch.tensor([[5.0, 0, 1, 1], [0, 0, 1, 1]]), "boxes: expected finite x1 ≤ x2"),
        ("labels", torch.tensor([0, 1]), "labels: expected 1 to 2, found 0"),
        ("labels", torch.tensor([1, 3]), "labels: expected 1 to 2, found 3"),
        ("labels", torch.tensor([1, 2], dtype=torch.int32), "labels: expected int64, found int32"),
        ("masks", torch.zeros((2, 6, 8), dtype=torch.uint8), "masks: expected bool, found uint8"),
        ("crowd", torch.tensor([False]), r"crowd: expected \[2\], found bool \[1\]"),
        ("class_names", ("cat", "dog"), r"class_names: expected 'background' first"),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_fields_that_disagree_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Sample(**parts(**{field: value}))


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, rgb, orientation):
    # What the camera stores is the upright photo, turned or mirrored; each line undoes the tag's
    # meaning ("row 0 is the … side, column 0 the … side" in the EXIF standard).
    stored = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, 1),
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(rgb, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
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
    with pytest.raises(ValueError, match=r"a\.tif: .*grey values from 70000 to 70000"):
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
