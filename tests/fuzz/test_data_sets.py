"""Files of data sets of any content: images or one sentence, and never more memory than a file can fill."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import strategies as st

from jaxgan.data import class_files
from jaxgan.data.errors import DataError
from jaxgan.data.formats import parse_cifar10_binary, parse_idx
from jaxgan.data.packing import Packer
from jaxgan.data.shards import Recipe
from jaxgan.data.source import ArraySource
from jaxgan.data.sources import open_source
from tests.fuzz.damage import COUNTS, damaged, examine, is_sentence, memory_below
from tests.fuzz.test_images import encoded

VALUES = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def read_everything(source: str, skip: bool = False) -> None:
    """Opens a source and reads its images and labels, or finds one sentence."""
    try:
        opened = open_source(source, skip_corrupt=skip)
        for i in range(min(len(opened), 10)):
            image, label = opened.example(i)
            assert image.dtype == np.uint8 and image.ndim == 3 and 0 <= label < max(1, len(opened.class_names))
    except DataError as error:
        assert is_sentence(str(error)), str(error)


@COUNTS
def test_idx_files(tmp_path, count):
    for good in (idx(VALUES), gzip.compress(idx(VALUES))):

        @examine(count, damaged(good), damaged(idx(VALUES[:, 0, 0])))
        def check(images, labels):
            (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
            (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
            read_everything(f"idx:{tmp_path}")


@pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (1, 1, 2**31 + 1), (0, 2**32 - 1, 2**32 - 1), (10, 20, 30)])
@pytest.mark.parametrize("is_zipped", [True, False])
def test_idx_headers_that_say_too_much(tmp_path, shape, is_zipped):
    data = struct.pack(">HBB3I", 0, 8, 3, *shape) + bytes(2**24)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(gzip.compress(data, 1) if is_zipped else data[:100])
    with memory_below(2**23), pytest.raises(DataError, match="too large|holds no image|values, but its header says"):
        open_source(f"idx:{tmp_path}")


def test_idx_values_are_counted_to_the_last():
    assert parse_idx(gzip.compress(idx(VALUES)), num_axes=3, name="x").tolist() == VALUES.tolist()
    for data, held in ((idx(VALUES) + b"12", "62"), (gzip.compress(idx(VALUES) + b"12"), "more than 60")):
        with pytest.raises(DataError, match=f"holds {held} values"):
            parse_idx(data, num_axes=3, name="x")


@COUNTS
def test_cifar_binary_files(count):
    @examine(count, damaged(bytes(3073 * 2)), st.binary(max_size=64))
    def check(data, start):
        try:
            images, labels = parse_cifar10_binary(start + data[len(start) :], name="file")
            assert len(images) == len(labels) and labels.max() < 10
        except DataError as error:
            assert is_sentence(str(error))


def archive_of(members: dict[str, bytes], kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    squeeze = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(kind, bytes)
    return squeeze(file.getvalue())


IMAGES = {"set/a/1.png": encoded("PNG"), "set/b/2.jpg": encoded("JPEG")}


@COUNTS
@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "bz2", "xz"])
def test_archives(tmp_path, kind, count):
    @examine(count, damaged(archive_of(IMAGES, kind)), st.booleans())
    def check(data, skip):
        (tmp_path / "x").write_bytes(data)
        read_everything(f"archive:{tmp_path / 'x'}", skip)


@pytest.mark.parametrize("kind", ["zip", "tar", "gz"])
def test_archives_of_cifar(tmp_path, kind):
    @examine(12, damaged(archive_of({f"x/data_batch_{i}.bin": bytes(3073) for i in range(1, 6)}, kind)))
    def check(data):
        (tmp_path / "x.tar.gz").write_bytes(data)
        read_everything(f"cifar10:{tmp_path / 'x.tar.gz'}")


def test_paths_that_point_out_of_an_archive_write_nothing(tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    names = ("../../outside.png", "/outside.png", "a/../../outside.png", "set/ok.png")
    for kind in ("zip", "tar", "gz"):
        (folder / "x").write_bytes(archive_of(dict.fromkeys(names, encoded("PNG")), kind))
        read_everything(f"archive:{folder / 'x'}:set")
        read_everything(f"archive:{folder / 'x'}")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "x"]


def test_a_zip_that_unpacks_to_gigabytes(tmp_path):
    """Its directory says 2^33 bytes; or it says less than is there; or it is compressed a second way."""
    bomb = encoded("PNG") + bytes(2**23)
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
            archive.writestr("a.png", bomb)
        data = (tmp_path / "x.zip").read_bytes()
        for size in (2**32 - 2, 1_000):  # in the directory, and in the header of the entry
            changed = data.replace(struct.pack("<I", len(bomb)), struct.pack("<I", size))
            (tmp_path / "x.zip").write_bytes(changed)
            with memory_below(2**22), pytest.raises(DataError, match="an image file may have|not a readable image"):
                open_source(f"archive:{tmp_path / 'x.zip'}")


@pytest.mark.parametrize("header", ["name", "attributes", "image", "batch"])
def test_a_tar_that_unpacks_to_gigabytes(tmp_path, header):
    kinds = {"name": tarfile.GNUTYPE_LONGNAME, "attributes": tarfile.XHDTYPE}
    info = tarfile.TarInfo("data_batch_1" if header == "batch" else "a.png")
    info.type, info.size = kinds.get(header, tarfile.REGTYPE), 2**30
    with gzip.open(tmp_path / "x.tar.gz", "wb", 1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(32):
            file.write(bytes(2**20))
    with memory_below(2**24):
        for source in ("archive", "cifar10"):
            with pytest.raises(DataError):
                open_source(f"{source}:{tmp_path / 'x.tar.gz'}")


@pytest.fixture
def packed(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 1), np.uint8)
    source = ArraySource("memory", images, np.arange(7) % 2, ("a", "b"))
    recipe = Recipe(
        source="memory", source_fingerprint=source.fingerprint, num_source_images=7, height=3, width=4, channels=1,
        crop="none", filter="lanczos", min_side=0, class_names=("a", "b"), label_of=(0, 1), shard_images=4,
    )  # fmt: skip
    packer = Packer(source, recipe, tmp_path / "set", num_threads=1)
    for _ in packer.write():
        pass
    packer.finish()
    return tmp_path / "set"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**30), st.floats(), st.text("aé0.\n/", max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("aé0.\n/", max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


@COUNTS
def test_packed_sets(packed, count):
    files = {path.name: path.read_bytes() for path in packed.iterdir()}
    named = sorted(name for name in files if name != "report.json")

    @examine(count * 3, st.sampled_from(named).flatmap(lambda name: st.tuples(st.just(name), damaged(files[name]))))
    def check(change):
        name, data = change
        (packed / name).write_bytes(data)
        read_everything(f"packed:{packed}")
        (packed / name).write_bytes(files[name])


@COUNTS
def test_packed_metadata_of_other_types(packed, count):
    tree = json.loads((packed / "metadata.json").read_text())
    fields = st.sampled_from([*tree, *(f"shards/{name}" for name in tree["shards"][0])])

    @examine(count * 3, fields, JSON)
    def check(field, value):
        changed = json.loads(json.dumps(tree))
        if field.startswith("shards/"):
            changed["shards"][0][field.removeprefix("shards/")] = value
        else:
            changed[field] = value
        (packed / "metadata.json").write_text(json.dumps(changed))
        read_everything(f"packed:{packed}")


@pytest.mark.parametrize(
    ("field", "value"),
    [("height", 2**60), ("height", 10**6), ("width", -4), ("channels", True), ("fingerprint", 3), ("shards", []),
     ("class_names", "ab"), ("class_names", [1, 2])],
)  # fmt: skip
def test_packed_metadata_that_says_too_much(packed, field, value):
    tree = json.loads((packed / "metadata.json").read_text())
    (packed / "metadata.json").write_text(json.dumps(tree | {field: value}))
    with memory_below(2**24), pytest.raises(DataError, match="damaged"):
        open_source(f"packed:{packed}")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/b", "", ".", ".."])
def test_shards_lie_in_their_folder(packed, name):
    (packed.parent / "secret").write_bytes(bytes(10_000))
    tree = json.loads((packed / "metadata.json").read_text())
    tree["shards"][0] |= {"file": name, "bytes": 10_000}
    (packed / "metadata.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match="damaged"):
        open_source(f"packed:{packed}")


def test_deeply_nested_metadata(packed):
    (packed / "metadata.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is not the metadata"):
        open_source(f"packed:{packed}")


@COUNTS
@pytest.mark.parametrize(
    ("read", "text"),
    [
        (class_files.read_dirname_to_label, b"n01 0\nn02 1\n"),
        (class_files.read_label_to_classname, b"{0: 'a',\n1: \"it's\"}\n"),
    ],
)
def test_class_files(tmp_path, read, text, count):
    @examine(count, st.one_of(damaged(text), st.text("01:'\"{}(),[]+-* a\n", max_size=60).map(str.encode)))
    def check(data):
        (tmp_path / "x.txt").write_bytes(data)
        try:
            found = read(tmp_path / "x.txt")
            if "n01" in found:
                class_files.renumber(("n01",), found, None)
        except DataError as error:
            assert is_sentence(str(error)), str(error)


@pytest.mark.parametrize("literal", ["('a' * 10**9)", "-" * 5_000 + "1", "(" * 5_000, "'a" + "b" * 20_000 + "'"])
def test_class_names_are_no_expressions(tmp_path, literal):
    (tmp_path / "x.txt").write_text(f"0: {literal}\n")
    with pytest.raises(DataError, match="every line must read like") as error:
        class_files.read_label_to_classname(tmp_path / "x.txt")
    assert is_sentence(str(error.value))


def test_a_large_label_takes_no_time(tmp_path):
    (tmp_path / "x.txt").write_text("n01 999999999\n")
    labels = class_files.read_dirname_to_label(tmp_path / "x.txt")
    with pytest.raises(DataError, match="no line for label 0"):
        class_files.renumber(("n01",), labels, None)


@COUNTS
def test_lsun_files_that_are_cut_off(tmp_path, count):
    """lmdb maps the file: reading a page that is not there would end the interpreter."""
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(tmp_path / "good"), map_size=2**22) as environment, environment.begin(write=True) as transaction:
        for i in range(20):
            transaction.put(b"%03d" % i, encoded("PNG") + bytes(3_000))
    good = (tmp_path / "good" / "data.mdb").read_bytes()
    number = iter(range(10**6))

    @examine(count * 2, st.one_of(st.integers(0, len(good) - 1), st.sampled_from([0, 4096, 8192, len(good) - 4096])))
    def check(length):
        path = tmp_path / f"{next(number)}.mdb"
        path.write_bytes(good[:length])
        with pytest.raises(DataError, match="not a complete lmdb file") as error:
            open_source(f"lsun:{path}")
        assert is_sentence(str(error.value))
        path.unlink()
