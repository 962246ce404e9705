"""Pictures: what is read must be what a viewer shows, whatever the file."""

from __future__ import annotations

import io
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import ImageCms

from edgestyle import images
from edgestyle.errors import CheckError, EdgestyleError, ImageError, MissingExtraError

PIXELS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)))
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
reuse_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def noise(*shape: int, seed: int = 0) -> images.Image:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def picture(height: int = 12, width: int = 16, mode: str = "RGB") -> PIL.Image.Image:
    """A smooth gradient, so that lossy formats change it little."""
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1)
    return PIL.Image.fromarray(ramp.astype(np.uint8)).convert(mode)


def saved(folder: Path, image: PIL.Image.Image, name: str = "photo.png", **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def pixels_of(path: Path) -> np.ndarray:
    return images.to_uint8(images.read(path)).astype(int)


# Round trips


@given(PIXELS)
def test_uint8_round_trip_is_exact(pixels: np.ndarray) -> None:
    image = images.from_uint8(pixels)
    assert image.shape == (1, 3, *pixels.shape[:2])
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert 0 <= image.min() <= image.max() <= 1
    np.testing.assert_array_equal(images.to_uint8(image), pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".PNG"])
@reuse_tmp_path
@given(pixels=PIXELS)
def test_lossless_files_round_trip_exactly(tmp_path: Path, suffix: str, pixels: np.ndarray) -> None:
    path = tmp_path / f"picture{suffix}"
    images.write(path, images.from_uint8(pixels))
    np.testing.assert_array_equal(pixels_of(path), pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_files_stay_near(tmp_path: Path, suffix: str) -> None:
    image = images.sample_photos()["coffee"][:, :, :128, :128]
    images.write(tmp_path / f"picture{suffix}", image)
    assert np.abs(images.read(tmp_path / f"picture{suffix}") - image).mean() < 0.015


def test_jpeg_keeps_colour_at_full_resolution(tmp_path: Path) -> None:
    images.write(tmp_path / "a.jpg", noise(1, 3, 16, 16))
    with PIL.Image.open(tmp_path / "a.jpg") as jpeg:
        assert {component[1:3] for component in jpeg.layer} == {(1, 1)}  # type: ignore[attr-defined]


def test_halves_round_up_and_values_are_clipped() -> None:
    values = np.array([-1, 0.5 / 255, 127.5 / 255, 0.499 / 255, 1, 7], np.float32)
    image = np.broadcast_to(values, (1, 3, 1, 6))
    assert images.to_uint8(image)[0, :, 0].tolist() == [0, 1, 128, 0, 255, 255]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_not_written(tmp_path: Path, bad: float) -> None:
    image = noise(1, 3, 8, 8)
    image[0, 1, 2, 3] = bad
    with pytest.raises(CheckError, match="NaN or infinity"):
        images.write(tmp_path / "a.png", image)
    assert list(tmp_path.iterdir()) == []


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, H, W\), not \(3, 8, 8\)"):
        images.to_uint8(noise(3, 8, 8))


# What files hold


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = picture()
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, stored, f"photo{suffix}", exif=exif, **({"quality": 95} if suffix != ".tiff" else {}))
    with PIL.Image.open(path) as opened:
        expected = np.asarray(PIL.ImageOps.exif_transpose(opened).convert("RGB"))
    found = pixels_of(path)
    np.testing.assert_array_equal(found, expected)
    assert found.shape[:2] == ((12, 16) if orientation < 5 else (16, 12))


def test_nonsense_in_exif_is_ignored(tmp_path: Path) -> None:
    path = saved(tmp_path, picture(), "photo.jpg", exif=b"Exif\0\0MM nonsense that is no TIFF header")
    assert pixels_of(path).shape == (12, 16, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_modes_come_as_pillow_shows_them(tmp_path: Path, mode: str) -> None:
    stored = picture(mode=mode)
    path = saved(tmp_path, stored, "photo.tiff")
    np.testing.assert_allclose(pixels_of(path), np.asarray(stored.convert("RGB")), atol=1)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_alpha_is_composited_over_white(tmp_path: Path, mode: str) -> None:
    stored = picture().convert("RGBA")
    stored.putalpha(PIL.Image.fromarray(np.tile(np.uint8([0, 51, 255, 128]), (12, 4))))
    if mode == "PA":
        stored = stored.quantize(64)
        path = saved(tmp_path, stored, "photo.png")
    else:
        path = saved(tmp_path, stored.convert(mode), "photo.png")
    rgba = np.asarray(stored.convert("LA").convert("RGBA") if mode == "LA" else stored.convert("RGBA")) / 255
    expected = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    np.testing.assert_allclose(images.read(path)[0].transpose(1, 2, 0), expected, atol=1e-6)
    assert (images.read(path)[0, :, :, 0] == 1).all()


def test_a_transparent_colour_in_a_palette_is_white(tmp_path: Path) -> None:
    stored = PIL.Image.fromarray(np.uint8([[0, 1], [1, 0]]))
    stored = stored.convert("P")
    stored.putpalette([10, 20, 30, 200, 100, 0])
    found = pixels_of(saved(tmp_path, stored, "photo.gif", transparency=0))
    assert found[0].tolist() == [[255, 255, 255], [200, 100, 0]]


@pytest.mark.parametrize(("name", "dtype"), [("grey.png", "<u2"), ("grey.tiff", "<u2"), ("grey.tiff", ">u2")])
def test_16_bit_grey_keeps_its_precision(tmp_path: Path, name: str, dtype: str) -> None:
    values = np.array([[0, 1, 257], [32768, 65534, 65535]], dtype)
    image = images.read(saved(tmp_path, PIL.Image.fromarray(values), name))
    np.testing.assert_allclose(image[0, 2], values / 65535, atol=1e-7)


def png(width: int, height: int, bits: int, colour: int, data: bytes) -> bytes:
    """A PNG file, by hand: Pillow writes no 16-bit colour, and no false sizes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, colour, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_16_bit_colour_is_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 32768, 65535], [65535, 257, 0]], ">u2")
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 2, b"\0" + values.tobytes()))
    np.testing.assert_allclose(images.read(tmp_path / "deep.png")[0, :, 0].T, values / 65535, atol=1 / 255)


def test_float_pictures_must_be_in_0_to_1(tmp_path: Path) -> None:
    values = noise(4, 5)
    image = images.read(saved(tmp_path, PIL.Image.fromarray(values), "float.tiff"))
    np.testing.assert_array_equal(image[0, 0], values)
    with pytest.raises(ImageError, match="its values go from 0 to 300, not from 0 to 1"):
        images.read(saved(tmp_path, PIL.Image.fromarray(np.float32([[0, 300]])), "float.tiff"))
    with pytest.raises(ImageError, match="nan"):
        images.read(saved(tmp_path, PIL.Image.fromarray(np.float32([[0, np.nan]])), "float.tiff"))


def test_cmyk_jpeg_in_adobes_inverted_form(tmp_path: Path) -> None:
    stored = PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # full magenta and yellow: red
    path = saved(tmp_path, stored, "ink.jpg", quality=95)
    assert b"Adobe" in path.read_bytes()
    np.testing.assert_allclose(pixels_of(path)[8, 8], [255, 0, 0], atol=3)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for name in ("frames.gif", "frames.png", "frames.tiff"):
        path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        assert pixels_of(path)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_phone_formats(tmp_path: Path, suffix: str) -> None:
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    stored = picture(64, 96)
    path = saved(tmp_path, stored, f"photo{suffix}", quality=95)
    np.testing.assert_allclose(pixels_of(path), np.asarray(stored), atol=16)


def test_heic_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(MissingExtraError, match=r"pip install 'edgestyle\[heif\]'"):
        images.read(tmp_path / "photo.heic")


# Colour profiles


def profile_bytes(profile: Any) -> bytes:
    return ImageCms.ImageCmsProfile(profile).tobytes()


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    stored = images.to_uint8(noise(1, 3, 32, 32))
    path = saved(tmp_path, PIL.Image.fromarray(stored), icc_profile=profile_bytes(ImageCms.createProfile("sRGB")))
    np.testing.assert_array_equal(pixels_of(path), stored)


def linear_rgb_profile() -> bytes:
    """sRGB's primaries with a linear tone curve: its profile, the curves replaced by `curv` of no entries."""
    data = bytearray(profile_bytes(ImageCms.createProfile("sRGB")))
    for entry in range(int.from_bytes(data[128:132], "big")):
        at = 132 + 12 * entry
        if bytes(data[at : at + 4]) in (b"rTRC", b"gTRC", b"bTRC"):
            offset = int.from_bytes(data[at + 4 : at + 8], "big")
            data[offset : offset + 12] = b"curv" + bytes(8)
            data[at + 8 : at + 12] = (12).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "RGBA"])
def test_a_profile_is_brought_to_srgb(tmp_path: Path, mode: str) -> None:
    stored = PIL.Image.new("L", (8, 8), 55)  # 55/255 in linear light is 128/255 in sRGB
    stored = stored.convert("RGB").convert(mode, palette=PIL.Image.Palette.ADAPTIVE)
    path = saved(tmp_path, stored, icc_profile=linear_rgb_profile())
    np.testing.assert_allclose(pixels_of(path), 128, atol=1)


@pytest.mark.parametrize("profile", [b"nonsense", linear_rgb_profile()[:200]])
def test_a_damaged_profile_is_ignored(tmp_path: Path, profile: bytes) -> None:
    path = saved(tmp_path, PIL.Image.new("RGB", (8, 8), (55, 55, 55)), icc_profile=profile)
    assert (pixels_of(path) == 55).all()


def test_a_profile_of_another_colour_space_is_ignored(tmp_path: Path) -> None:
    path = saved(tmp_path, PIL.Image.new("CMYK", (8, 8), (0, 0, 0, 55)), "ink.tiff", icc_profile=linear_rgb_profile())
    assert (pixels_of(path) == 200).all()


# Bad files


def whole_file(suffix: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(images.to_uint8(noise(1, 3, 64, 64))).save(buffer, PIL.Image.registered_extensions()[suffix])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.jpg", b"This is not a photo.\n", "is not a picture, whatever its name says"),
        ("text.tga", b"\0" * 64, "is not a picture"),
        ("page.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
        ("start.png", whole_file(".png")[:20], "not a picture|cannot be read"),
        *(
            (f"half{suffix}", whole_file(suffix)[:1500], "cannot be read")
            for suffix in (".jpg", ".png", ".webp", ".tiff")
        ),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        images.read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@reuse_tmp_path
@given(data=st.data(), suffix=st.sampled_from([".jpg", ".png", ".webp", ".tiff", ".gif", ".bmp"]))
def test_damage_never_escapes_as_another_error(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    content = bytearray(whole_file(suffix))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with suppress(ImageError):  # anything else fails the test
        assert images.read(path).dtype == np.float32


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no file"):
        images.read(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        images.read(tmp_path)


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(60000, 60000, 8, 2, b""))
    with pytest.raises(ImageError, match="60000x60000 pixels; at most 268 million"):
        images.read(tmp_path / "bomb.png")


def test_200_megapixels_pass_the_check(tmp_path: Path) -> None:
    limit = PIL.Image.MAX_IMAGE_PIXELS
    (tmp_path / "large.png").write_bytes(png(16384, 12288, 8, 2, b""))  # the header alone: it then ends too early
    with pytest.raises(ImageError, match="cannot be read: it is damaged, cut short"):
        images.read(tmp_path / "large.png")
    assert limit == PIL.Image.MAX_IMAGE_PIXELS


# Writing


@pytest.mark.parametrize("name", ["out.bmp", "out", "out.jpgg", ".png"])
def test_unknown_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    for attempt in (images.check_output, lambda path: images.write(path, noise(1, 3, 8, 8))):
        with pytest.raises(ImageError, match=r"written as \.png, \.jpg"):
            attempt(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_replaced_by_a_picture(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    (tmp_path / "out.png" / "precious").touch()
    with pytest.raises(ImageError, match="is a folder"):
        images.write(tmp_path / "out.png", noise(1, 3, 8, 8))
    assert (tmp_path / "out.png" / "precious").exists()


def test_where_nothing_can_be_written_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images.check_output(tmp_path / "new" / "folders" / "out.png")
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="file is a file; an output folder is needed"):
        images.check_output(tmp_path / "file" / "deep" / "out.png")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # permissions do not bind the superuser
    with pytest.raises(ImageError, match="may not be written to; choose another folder"):
        images.check_output(tmp_path / "out.png")


def test_a_full_disk_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def full(self: Path, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EdgestyleError, match=r"out\.png: No space left on device"):
        images.write(path, noise(1, 3, 8, 8))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_format_that_is_too_small_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"this format cannot hold the picture .* write \.png"):
        images.write(tmp_path / "wide.webp", np.zeros((1, 3, 1, 16384), np.float32))
    assert list(tmp_path.iterdir()) == []


# Finding


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.jpg",
        "sub/c.webp",
        "sub/.cache/d.jpg",
        "clip.mp4",
        "none/x.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_are_searched_in_order(album: Path) -> None:
    found = images.find_named([album])
    assert [str(file.name) for file in found] == ["a.PNG", "b.jpg", "sub/c.webp"]
    assert [file.path for file in found] == [album / file.name for file in found] == images.find([album])


def test_files_and_globs(album: Path) -> None:
    assert images.find([album / "notes.txt"]) == [album / "notes.txt"]
    assert images.find([f"{album}/*.jpg"]) == [album / "b.jpg"]
    assert images.find([f"{album}/**/*.webp"]) == [album / "sub/c.webp"]
    assert [file.name for file in images.find_named([album / "sub/c.webp"])] == [Path("c.webp")]


def test_each_file_comes_once(album: Path) -> None:
    assert images.find([album / "b.jpg", album, f"{album}/sub/../b.jpg"])[0] == album / "b.jpg"
    assert len(images.find([album / "b.jpg", album])) == 3


@pytest.mark.parametrize(
    ("argument", "message"),
    [("x.jpg", "there is no .*x.jpg"), ("*.gif", "no file matches"), ("none", "holds no pictures; looked for .jpg")],
)
def test_nothing_found_is_an_error(album: Path, argument: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        images.find([f"{album}/{argument}"])


# Resizing


@given(SIZES, st.tuples(st.integers(8, 40), st.integers(8, 40)))
@settings(deadline=None)
def test_fit_keeps_the_whole_picture(size: tuple[int, int], target: tuple[int, int]) -> None:
    image = noise(1, 3, *size)
    fitted, window = images.fit(image, target)
    assert fitted.shape == (1, 3, *target)
    inside = window.crop(fitted)
    assert inside.shape[2] == target[0] or inside.shape[3] == target[1]
    assert inside.shape[2:] == (window.height, window.width)
    np.testing.assert_array_equal(inside, images.resize(image, (window.height, window.width)))
    np.testing.assert_array_equal(fitted[:, :, window.top], images.fit(image, target)[0][:, :, window.top])


def test_fit_centres_and_reflects() -> None:
    image = noise(1, 3, 10, 20)
    fitted, window = images.fit(image, (20, 20))
    assert window == (5, 0, 10, 20)
    np.testing.assert_array_equal(fitted[0, :, 4], image[0, :, 1])
    np.testing.assert_array_equal(fitted[0, :, 15], image[0, :, 8])


@given(SIZES, st.integers(1, 48))
@settings(deadline=None)
def test_pad_to_multiple_and_back(size: tuple[int, int], multiple: int) -> None:
    image = noise(1, 3, *size)
    padded, window = images.pad_to_multiple(image, multiple)
    assert all(new % multiple == 0 and new - old < multiple for new, old in zip(padded.shape[2:], size, strict=True))
    np.testing.assert_array_equal(window.crop(padded), image)


def test_padding_reflects_without_repeating_the_edge() -> None:
    image = np.broadcast_to(np.arange(3, dtype=np.float32), (1, 3, 1, 3))
    padded, _ = images.pad_to_multiple(image, 8)
    assert padded[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert padded.shape == (1, 3, 8, 8)


@given(SIZES, SIZES)
@settings(deadline=None)
def test_centre_crop_has_the_size(size: tuple[int, int], target: tuple[int, int]) -> None:
    cropped = images.centre_crop(noise(1, 3, *size), target)
    assert cropped.shape == (1, 3, *target)
    assert cropped.flags.c_contiguous


def test_centre_crop_takes_the_middle() -> None:
    image = noise(1, 3, 10, 30)
    np.testing.assert_array_equal(images.centre_crop(image, (10, 10)), image[:, :, :, 10:20])


def test_resize_is_antialiased_and_in_floating_point() -> None:
    stripes = np.tile(np.float32([0, 1]), (1, 3, 64, 32))
    np.testing.assert_allclose(images.resize(stripes, (8, 8)), 0.5, atol=0.03)  # without: 0 or 1
    faint = np.full((1, 3, 8, 8), 0.5 / 255, np.float32)  # 8 bits would make it 0 or 1
    np.testing.assert_allclose(images.resize(faint, (20, 20)), 0.5 / 255, rtol=1e-5)
    assert 0 <= images.resize(stripes, (100, 100)).min() <= images.resize(stripes, (100, 100)).max() <= 1


@pytest.mark.parametrize(("longest", "expected"), [(10, (5, 10)), (20, (10, 20)), (1, (1, 1)), (1000, (10, 20))])
def test_limit_scales_down_only(longest: int, expected: tuple[int, int]) -> None:
    assert images.limit(noise(1, 3, 10, 20), longest).shape[2:] == expected


def test_sample_photos_are_photos() -> None:
    photos = images.sample_photos()
    assert set(photos) == {"astronaut", "chelsea", "coffee", "rocket"}
    for photo in photos.values():
        assert photo.shape[:2] == (1, 3)
        assert min(photo.shape[2:]) >= 256
        assert photo.std() > 0.1
