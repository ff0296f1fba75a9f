"""Images from scikit-learn's digits, Parquet files and image folders, as uint8 arrays."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.data.profiles import PROFILES, DataProfile
from bench.data.splits import Examples, Indices, Pixels, complement, stratified
from bench.errors import BenchError

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image

# Pillow would open many more, some through outside programs; a data set needs none of those.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")


class Encoded(NamedTuple):
    """An image file's bytes, and what to call it in an error."""

    content: bytes
    called: str


def read_digits(test: int) -> tuple[Examples, Examples]:
    """scikit-learn's digits, 8x8, grey levels 0..16 as round(v * 255 / 16) in three equal channels.

    Returns:
        the training split, and a stratified test split of `test` images.
    """
    # As `sklearn.datasets.load_digits`, whose import alone takes longer than all else that a plan does.
    (package,) = find_spec("sklearn").submodule_search_locations  # type: ignore[union-attr, misc]
    table = np.loadtxt(Path(package) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    grey = np.rint(table[:, :-1] * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    examples = Examples(np.repeat(grey, 3, axis=1), table[:, -1].astype(np.int64))
    return _split_off(examples, test)


def read_parquet(folder: Path, profile: DataProfile) -> tuple[Examples, Examples]:
    """Train and test of a folder in the Hugging Face image layout.

    The files are `train*.parquet` and `test*.parquet`, in the folder or its `data/`; the image column is `img` or
    `image` (encoded bytes, or a struct with `bytes`), the class column `label` or `fine_label` (integers).

    Raises:
        BenchError: if a file is missing, broken or of another layout, or an image is broken or of another size.
    """
    train, test = (_read_parquet_split(folder, split, profile) for split in ("train", "test"))
    return train, test


def read_folder(folder: Path, profile: DataProfile, test_share: float) -> tuple[Examples, Examples]:
    """Train and test of a folder with a sub-folder of images per class.

    With `train/` and `test/` these are the splits; else the class folders lie in `folder` itself, and a stratified
    share of `test_share`, fixed by the content, is the test split. Classes are the sorted folder names. Images are
    ordered by a hash of their pixels: neither class nor file name shows in the order.

    Raises:
        BenchError: if there is no image, one class only, a broken image or one of another size, or the classes differ.
    """
    splits = [folder / split for split in ("train", "test")]
    present = [split.is_dir() for split in splits]
    if not any(present):
        classes = _class_folders(folder)
        examples = _read_classes(classes, profile)
        return _split_off(examples, max(len(classes), round(test_share * len(examples))))
    if not all(present):
        missing, found = sorted(splits, key=Path.is_dir)
        raise BenchError(
            f"'{folder}' has {found.name}/ but no {missing.name}/; add it, or put the class folders directly."
        )
    train, test = (_class_folders(split) for split in splits)
    if odd := sorted(set(train) ^ set(test)):
        raise BenchError(
            f"'{folder}': class '{odd[0]}' is in one of train/ and test/ only; both need the same classes."
        )
    return _read_classes(train, profile), _read_classes(test, profile)


def _split_off(examples: Examples, test: int) -> tuple[Examples, Examples]:
    held = stratified(examples.labels, test, "test", at_least=1)
    return examples.take(complement(len(examples), held)), examples.take(held)


def _read_parquet_split(folder: Path, split: str, profile: DataProfile) -> Examples:
    files = sorted(folder.glob(f"{split}*.parquet")) or sorted(folder.glob(f"data/{split}*.parquet"))
    if not files:
        raise BenchError(
            f"'{folder}' holds no {split}*.parquet, nor does its data/; name the folder that holds both train*.parquet "
            "and test*.parquet (a validation file counts as neither: rename it if it is meant as the test split)."
        )
    parts = [_read_parquet_file(file, profile) for file in files]
    return Examples(np.concatenate([part.pixels for part in parts]), np.concatenate([part.labels for part in parts]))


def _read_parquet_file(file: Path, profile: DataProfile) -> Examples:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(file).names
        image = _column_of(file, names, IMAGE_COLUMNS)
        label = _column_of(file, names, LABEL_COLUMNS)
        table = parquet.read_table(file, columns=[image, label])
    except (pa.ArrowException, OSError) as error:
        raise BenchError(f"cannot read '{file}' as Parquet: {error}; is the file complete?") from error
    if not len(table):
        raise BenchError(f"'{file}' has no rows; remove it or write it again.")
    return Examples(_parquet_pixels(file, table[image], profile), _parquet_labels(file, label, table[label]))


def _column_of(file: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    found = [name for name in wanted if name in names]
    if not found:
        raise BenchError(
            f"'{file}' has no column {' or '.join(wanted)}; its columns are: {', '.join(names)}. "
            "Rename the right one: images are read from img or image, classes from label or fine_label."
        )
    return found[0]


def _parquet_pixels(file: Path, column: pa.ChunkedArray, profile: DataProfile) -> Pixels:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise BenchError(
            f"'{file}': the image column is {column.type}; it must be image files' bytes, or a struct with bytes."
        )
    rows = (value.as_py() for chunk in column.chunks for value in chunk)
    return decode((Encoded(row or b"", f"row {i} of '{file}'") for i, row in enumerate(rows)), len(column), profile)


def _parquet_labels(file: Path, name: str, column: pa.ChunkedArray) -> Indices:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(column.type):
        raise BenchError(f"'{file}': column {name} is {column.type}; classes must be integers from 0.")
    if column.null_count or pc.min(column).as_py() < 0:
        raise BenchError(f"'{file}': column {name} has rows without a class (null or negative); remove them.")
    labels: Indices = column.to_numpy().astype(np.int64)
    return labels


def _class_folders(folder: Path) -> dict[str, list[Path]]:
    """The image files of every class folder, by its name, both sorted."""
    names = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise BenchError(
            f"data folder '{folder}' is empty of class folders; it needs a folder of images for every class."
        )
    if len(names) == 1:
        raise BenchError(f"data folder '{folder}' has one class only, '{names[0].name}'; it needs at least two.")
    return {entry.name: _image_files(entry) for entry in names}


def _image_files(folder: Path) -> list[Path]:
    files = sorted(
        file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )
    if not files:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise BenchError(f"class folder '{folder}' holds no image ({kinds}); add some or remove the folder.")
    return files


def _read_classes(classes: dict[str, list[Path]], profile: DataProfile) -> Examples:
    files = [file for members in classes.values() for file in members]
    pixels = decode(map(_read_file, files), len(files), profile)
    labels = np.repeat(np.arange(len(classes)), [len(members) for members in classes.values()])
    digests = [hashlib.sha256(image.data).digest() for image in pixels]
    by_content = sorted(range(len(files)), key=lambda i: (digests[i], labels[i]))
    return Examples(pixels, labels).take(np.array(by_content))


def _read_file(file: Path) -> Encoded:
    try:
        return Encoded(file.read_bytes(), f"'{file}'")
    except OSError as error:
        raise BenchError(f"cannot read '{file}': {error.strerror or error}.") from error


def decode(images: Iterable[Encoded], count: int, profile: DataProfile) -> Pixels:
    """Decode `count` image files of the profile's size into uint8 [count, 3, H, W], grey as three equal channels.

    Raises:
        BenchError: if one is broken, of another size, or has more than 8 bits per channel; the message names it.
    """
    size = profile.image_size
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    for slot, array in zip(pixels, _decoded(images, profile), strict=True):
        slot[:] = array
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def resized(examples: Examples, size: int) -> Examples:
    """Images of any size as squares of `size` pixels, bilinear and antialiased, as torchvision resizes files.

    RobustSSL transfers so from CIFAR to STL-10 at 32 pixels.
    """
    from PIL import Image

    if examples.pixels.shape[-2:] == (size, size):
        return examples
    images = (Image.fromarray(image.transpose(1, 2, 0)) for image in examples.pixels)
    pixels = [np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in images]
    return Examples(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)), examples.labels)


def _decoded(images: Iterable[Encoded], profile: DataProfile) -> Iterator[Pixels]:
    from PIL import Image, UnidentifiedImageError

    for content, called in images:
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_image(image, called, profile)
                yield np.asarray(image.convert("RGB"))
        # Pillow's decoders raise whatever a malformed file leads them to.
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            reason = "it is in no known format" if isinstance(error, UnidentifiedImageError) else error
            raise BenchError(f"cannot decode the image {called}: {reason}; replace or remove it.") from error


def _check_image(image: Image.Image, called: str, profile: DataProfile) -> None:
    size = profile.image_size
    if image.size != (size, size):
        sides = ", ".join(f"{other.name} {other.image_size}" for other in PROFILES.values())
        raise BenchError(
            f"the image {called} is {image.width}x{image.height}, but like={profile.name} means {size}x{size}; "
            f"resize the images, or name another data set with like= (sides: {sides})."
        )
    if image.mode[0] in "IF":
        raise BenchError(f"the image {called} has more than 8 bits per channel (mode {image.mode}); save it with 8.")
