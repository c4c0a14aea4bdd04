"""What the fuzzer attacks: each reader of hostile files, with the odd good files that its mutations start from.

A target takes bytes and returns, or raises what its reader documents; anything else that it raises is a finding. The
first byte of some inputs chooses the kind of file. The readers are imported within the functions, because the fuzzer
has to instrument them first.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
MOST_PIXELS, MOST_BYTES = 1_000_000, 100_000
ARCHIVES = ("zip", "tar", "tgz")
LISTS = ("txt", "csv", "jsonl", "parquet", "yaml")
WEIGHTS = ("safetensors", "pth")


@dataclass(frozen=True)
class Target:
    """A reader: what it does with an input, what it starts from, the modules to watch, and how long inputs may be."""

    attack: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    watched: tuple[str, ...]
    longest: int = 4096


# Pictures.


def attack_decoder(data: bytes) -> None:
    """Decode a picture; what the import finds readable, the later stages must be able to read, in the same shape."""
    from pipeline.codec import DecodeError, decode, decode_trusted

    for form in {data, with_true_checksums(data)}:
        try:
            pixels = decode(form, MOST_PIXELS)
        except DecodeError:
            continue
        assert pixels.dtype == np.uint8
        assert decode_trusted(form).shape == pixels.shape


def with_true_checksums(data: bytes) -> bytes:
    """Return a PNG with the checksum that each chunk should have, so that mutations come past them."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(mended)


def odd_pictures() -> Iterator[bytes]:
    """Yield small good pictures of every format, in every mode that it has, with whatever may be attached."""
    y, x = np.mgrid[0:12, 0:16]
    rgb = Image.fromarray(np.stack([16 * x, 20 * y, 255 - 8 * x - 8 * y], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a face"
    deep = Image.fromarray(257 * np.asarray(rgb.convert("L")).astype(np.uint16))
    rgba = rgb.copy()
    rgba.putalpha(128)
    frames = [rgb.rotate(angle) for angle in (90, 180)]
    animated = {"save_all": True, "append_images": frames, "duration": 50}
    told: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((rgb, kind, {}) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")),
        *((rgb.convert("L"), kind, {}) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF")),
        *((rgb.convert("1"), kind, {}) for kind in ("PNG", "BMP", "TIFF")),
        *((rgb.convert("P"), kind, {}) for kind in ("PNG", "GIF", "BMP", "TIFF")),
        *((rgba, kind, {}) for kind in ("PNG", "WEBP", "TIFF", "AVIF")),
        *((rgb, kind, animated) for kind in ("GIF", "PNG", "WEBP")),
        *((rgb, kind, {"exif": exif, "icc_profile": b"no profile" * 9}) for kind in ("JPEG", "PNG", "WEBP")),
        *((rgb, "TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb.convert("CMYK"), "TIFF", {}),
        (rgb, "JPEG", {"progressive": True, "subsampling": 2, "comment": b"x" * 20}),
        (rgb.convert("LA"), "PNG", {}),
        (deep, "PNG", {}),
        (deep, "TIFF", {}),
        (rgb, "WEBP", {"lossless": True}),
        (rgb.convert("P"), "PNG", {"transparency": 1}),
    ]
    for image, kind, options in told:
        held = io.BytesIO()
        image.save(held, kind, **options)
        yield held.getvalue()


# Archives.


def attack_archive(data: bytes) -> None:
    """Read all members of a .zip, .tar or .tgz."""
    from pipeline.errors import StageError
    from pipeline.sources.archive import archive_units

    path = laid_down(data, ARCHIVES)
    try:
        with archive_units(path, MOST_BYTES) as units:
            items = [item for unit in units for item in unit.read()]
    except StageError:
        return
    for item in items:
        item.path.encode()
        assert (item.data is None) == (item.error is not None)
        assert item.data is None or len(item.data) <= MOST_BYTES


def odd_archives() -> Iterator[bytes]:
    """Yield small archives with links, devices, folders, odd names, and members of every kind of packing."""
    names = ("a.jpg", "b/ü.png", "../up", "/absolute", "x" * 120)
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", packing) as archive:
            archive.comment = b"a comment"
            archive.mkdir("b")
            for name in names:
                archive.writestr(name, b"face" * 20)
        yield b"\0" + held.getvalue()
    for shape, mode in itertools.product((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT), ("w", "w:gz")):
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode=mode, format=shape) as tar:  # type: ignore[call-overload]
            for name, kind in zip(names, (b"0", b"0", b"1", b"2", b"3"), strict=True):
                info = tarfile.TarInfo(name[:90] if shape == tarfile.USTAR_FORMAT else name)
                info.type, info.linkname = kind, "/etc/passwd"
                info.size = 80 if kind == b"0" else 0
                tar.addfile(info, io.BytesIO(b"face" * 20))
        yield (b"\2" if mode == "w:gz" else b"\1") + held.getvalue().rstrip(b"\0")
    # An old GNU file with holes: 80 bytes stored, written as a binary number, that stand for 512.
    sparse = bytearray(tarfile.TarInfo("sparse.jpg").tobuf(tarfile.GNU_FORMAT))
    sparse[124:136], sparse[156:157], sparse[483:495] = b"\x80" + (80).to_bytes(11, "big"), b"S", b"00000001000\0"
    yield b"\1" + with_true_sums(bytes(sparse)) + b"face" * 20


def with_true_sums(data: bytes) -> bytes:
    """Return a .tar with the sum that each of its headers should have."""
    mended = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        header = mended[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            mended[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    return bytes(mended)


# Lists of URLs and recipes of sites.


def attack_list(data: bytes) -> None:
    """Read a list of URLs, or a site's recipe."""
    from pipeline.errors import ParamsError
    from pipeline.params import read_yaml
    from pipeline.sources.site import read_site
    from pipeline.sources.urls import read_list

    path = laid_down(data, LISTS)
    try:
        if path.suffix == ".yaml":
            read_site(path, read_yaml(path))
            return
        found = read_list(path)
    except ParamsError as fault:
        require_named(path, fault)
        return
    for wanted in found:
        for text in (wanted.url, wanted.page_url, wanted.licence, wanted.extra):
            (text or "").encode()
        assert not set(wanted.url) & set(map(chr, range(32)))


def odd_lists() -> Iterator[bytes]:
    """Yield a list of every kind, and a recipe."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    yield b"\0# mine\nhttps://a.example/1.png\r\n  https://b.example/2.png\n"
    yield b'\1\xef\xbb\xbfURL,License,tags\nhttps://a.example/1.png,CC0,"a,\nb"\nhttps://b.example/2.png,,,,more\n'
    yield b'\2{"url": "https://a.example/1.png", "tags": ["a", {"b": [1e9, null]}], "\\ud800": NaN}\n\n{"url": "x"}\n'
    held = io.BytesIO()
    pq.write_table(pa.table({"url": ["https://a.example/1.png"], "score": [0.5], "tags": [["a", "b"]]}), held)
    yield b"\3" + held.getvalue()
    yield (
        b"\4kind: site\nstart: [https://a.example/?p={page}]\nallowed_hosts: [a.example]\n"
        b"api: {url: a.b, page_url: 'https://a.example/{id}', fields: {x: y}}\n"
    )
    yield (
        b"\4kind: site\nstart:\n- https://a.example\nallowed_hosts:\n- a.example\n"
        b"images: {css: 'a::attr(href)', pattern: '[.]jpg$'}\n"
    )


# Settings.


def attack_params(data: bytes) -> None:
    """Read settings, and check them alone and over those that params.yaml has."""
    from pipeline.errors import ParamsError
    from pipeline.params import Params, read_yaml, validate

    path = Path("params.yaml")
    path.write_bytes(data)
    try:
        content = read_yaml(path)
    except ParamsError as fault:
        require_named(path, fault)
        return
    for settings in (content, {**shipped(), **content}):
        try:
            validate(Params, settings, path)
        except ParamsError as fault:
            require_named(path, fault)


@cache
def shipped() -> Mapping[str, Any]:
    """Return the settings as they are shipped."""
    from pipeline.params import read_yaml

    return read_yaml(ROOT / "params.yaml")


def odd_settings() -> Iterator[bytes]:
    """Yield short settings with what YAML has: tags, aliases, merges, blocks, two documents, odd numbers."""
    yield b"lr: 1e-05\nseed: 0x7\nngpu: ~\nnc: 3 # luma\n"
    yield b"crop: &a {kind: none, pad: .inf}\ncrawl: *a\n"
    yield b"dataroot: !!python/object/apply:os.system [id]\n"
    yield b"dataroot: |\n  one\n  two\nscheduler: >-\n  tcp://a:1\nworkers: !!int '2'\n"
    yield b"%YAML 1.1\n---\n? [a, b]\n: c\nlr: 2001-01-01\n...\n---\nd\n"
    yield b'a: &x [1, 2]\nb: {<<: {lr: 0.1}, beta1: -0.0}\nc: !!binary aGk=\nd: "\\u263a\\x41"\n'


# Weights.


def attack_weights(data: bytes) -> None:
    """Load a generator, or a state dict from elsewhere."""
    import torch

    from pipeline.dcgan.sampling import load_generator
    from pipeline.dcgan.travel import network_of, read_state_dict
    from pipeline.errors import StageError

    path = laid_down(data, WEIGHTS)
    try:
        if path.suffix == ".pth":
            network_of(read_state_dict(path), path)
        else:
            load_generator(path, torch.device("cpu"))
    except StageError as fault:
        require_named(path, fault)


def odd_weights() -> Iterator[bytes]:
    """Yield the smallest nets in the forms that they come in; without a digest, which would stop every mutation."""
    import safetensors.torch
    import torch

    from pipeline.dcgan.networks import Generator

    net = Generator(nz=1, ngf=1, nc=1, image_size=32)
    sizes = {"nz": "1", "ngf": "1", "nc": "1", "image_size": "32"}
    yield b"\0" + safetensors.torch.save(net.state_dict(), sizes)
    for zipped in (True, False):
        held = io.BytesIO()
        torch.save(net.state_dict(), held, _use_new_zipfile_serialization=zipped)
        yield b"\1" + held.getvalue()


def require_named(path: Path, fault: Exception) -> None:
    """Require that a message names the file that is to blame."""
    assert str(path) in str(fault)


def laid_down(data: bytes, kinds: tuple[str, ...]) -> Path:
    """Return a file of the kind that the first byte chooses, with the others in it."""
    kind = kinds[data[0] % len(kinds)] if data else kinds[0]
    path = Path(f"input.{kind}")
    content = data[1:]
    if kind == "tar":
        content = with_true_sums(content)
    path.write_bytes(content)
    return path


TARGETS = {
    "decoder": Target(attack_decoder, odd_pictures, ("pipeline.codec", "PIL")),
    "archive": Target(attack_archive, odd_archives, ("pipeline.sources.archive", "zipfile", "tarfile"), 8192),
    "urls": Target(attack_list, odd_lists, ("pipeline.sources.urls", "pipeline.sources.site", "csv", "json")),
    "params": Target(attack_params, odd_settings, ("pipeline.params", "ruamel.yaml"), 256),
    "weights": Target(attack_weights, odd_weights, ("pipeline.dcgan", "torch._weights_only_unpickler"), 32768),
}


def write_seeds(target: Target, folder: Path) -> None:
    """Write what the mutations start from, a file each."""
    folder.mkdir()
    for number, data in enumerate(target.seeds()):
        (folder / f"{number:02}").write_bytes(data)


def listing() -> set[str]:
    """Return the names in the working folder, but for the input."""
    return {name for name in os.listdir() if not name.startswith(("input.", "params.yaml"))}
