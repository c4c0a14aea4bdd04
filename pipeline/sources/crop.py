"""Whole pictures to faces: found by an OpenCV cascade of the user's, squared, cut out, and a row each.

No detector may be a silent no-op: it would turn a crawl into rows of "no face", and nothing would say that it was the
detector's fault. What was measured (OpenCV 4.14):

- `CascadeClassifier(path)` of a file that is missing, or whose content is not as it should be, is empty and says
  nothing. scikit-image's copy of lbpcascade_frontalface_opencv.xml is one of these, by a misspelt tag.
- Other unusable files are a SystemError or a cv2.error; an empty classifier raises when it is first used.
- One that loads may still find nothing: a cascade of photographed faces on drawn ones, a grey picture from the wrong
  channels, too strict settings. animeface 2.0.3 found nothing under a newer Pillow.

So the cascade is read before any work, by open_cascade, which refuses an empty one; and require_faces fails an import
that found no face in any picture. tests/sources/test_crop.py looks for a known face at its known place.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pyarrow as pa

from pipeline.codec import Pixels, decode_trusted, encode_png
from pipeline.errors import ParamsError, StageError
from pipeline.params import CropParams
from pipeline.sources.takedown import TAKEN_DOWN, Takedown

NO_FACE, TOO_SMALL = "no face", "face too small"

# `parent` is the SHA-256 of the whole picture's bytes, `box` the face as it was found, in the pixels of the upright
# picture; what was cut out is larger (crawl.crop.pad).
CROP_FIELDS = (
    pa.field("parent", pa.string()),
    pa.field("box", pa.struct([(name, pa.int32()) for name in ("x", "y", "w", "h")])),
)

# Each size of the searched window over the one before: OpenCV's default.
SCALE_STEP = 1.1

Row = dict[str, Any]


class Box(NamedTuple):
    """A rectangle in a picture, in pixels: its left upper corner, its width and its height."""

    x: int
    y: int
    w: int
    h: int


def read_cascade(crop: CropParams) -> str | None:
    """Return the text of the cascade that faces are to be found with, None where pictures are taken whole.

    The text, and not the path, goes to the workers: a cluster's may not see the file, and it may change meanwhile.
    ParamsError where the file can't be read or OpenCV finds no cascade in it.
    """
    if crop.kind == "none":
        return None
    path = Path(crop.cascade or "")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        raise ParamsError(
            f"crawl.crop.cascade: {path} can't be read ({fault.strerror}); give the absolute path of an OpenCV cascade "
            "file (.xml)"
        ) from None
    if open_cascade(text).empty():
        raise ParamsError(
            f"crawl.crop.cascade: OpenCV finds no cascade in {path}; it must be an LBP or Haar cascade as "
            "opencv_traincascade writes them, whole and unchanged"
        )
    return text


def open_cascade(text: str) -> cv2.CascadeClassifier:
    """Return a cascade by the text of its file, `empty()` where there is none in it.

    A new one for each user: a classifier keeps the picture that it looks at, so threads can't share it.
    """
    cascade = cv2.CascadeClassifier()
    try:
        file = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        if not cascade.read(file.getFirstTopLevelNode()):
            cascade = _open_old(text)
    except (cv2.error, SystemError):  # the latter is what a constructor that raises the former looks like
        return cv2.CascadeClassifier()
    return cascade


def _open_old(text: str) -> cv2.CascadeClassifier:
    """Return a cascade by the text of a file as OpenCV 1 wrote them: OpenCV converts it where it reads a path alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cascade.xml"
        path.write_text(text, encoding="utf-8")
        return cv2.CascadeClassifier(str(path))


def with_faces(schema: pa.Schema) -> pa.Schema:
    """Return the schema of a shard of faces, by that of one of whole pictures."""
    return pa.schema([*schema, *CROP_FIELDS], metadata=schema.metadata)


def face_rows(picture: Row, cascade: cv2.CascadeClassifier, crop: CropParams, takedown: Takedown) -> Iterator[Row]:
    """Yield a row for each face on a picture, or the picture's own without its bytes: it has none, or can't be read.

    A face's row is its picture's (split, provenance, number) with the crop as its image, as PNG, and `#0`, `#1`, … from
    left to right, at the end of its path; `#00`, `#01`, … where there are more than ten, since rows are in the order of
    their paths. Of a face that is taken down itself nothing but the row is left.
    """
    # What a recipe knows of its pictures does not hold for a part of one.
    whole = picture | {"parent": picture["id"], "truth": None, "truth_copy_of": None, "pristine": None}
    if whole["error"] is not None:
        yield whole
        return
    pixels = decode_trusted(whole["image"]["bytes"])
    whole |= {"image": {"bytes": None, "path": whole["path"]}, "width": None, "height": None, "format": None}
    boxes = find_faces(pixels, cascade, crop.min_neighbors)
    if not boxes:
        yield whole | {"error": NO_FACE}
    digits = len(str(len(boxes) - 1))
    for number, box in enumerate(boxes):
        path = f"{whole['path']}#{number:0{digits}}"
        face = whole | {"id": None, "path": path, "image": {"bytes": None, "path": path}, "box": box._asdict()}
        if min(box.w, box.h) < crop.min_side:
            yield face | {"error": TOO_SMALL}
            continue
        cut = square_around(box, pixels.shape[1], pixels.shape[0], crop.pad)
        data = encode_png(pixels[cut.y : cut.y + cut.h, cut.x : cut.x + cut.w])
        face["id"] = hashlib.sha256(data).hexdigest()
        if takedown.covers(face["id"]):
            yield face | {"error": TAKEN_DOWN}
            continue
        yield face | {"image": {"bytes": data, "path": path}, "width": cut.w, "height": cut.h, "format": "PNG"}


def find_faces(pixels: Pixels, cascade: cv2.CascadeClassifier, min_neighbors: int) -> list[Box]:
    """Return the faces on a picture, RGB uint8 (H, W, 3), from left to right; none is smaller than the cascade's own.

    Viola and Jones 2001; LBP features by Liao et al. 2007. On grey with an equalised histogram, as in OpenCV's sample
    facedetect.cpp. OpenCV's own order depends on the number of threads.
    """
    grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    found = cascade.detectMultiScale(grey, scaleFactor=SCALE_STEP, minNeighbors=min_neighbors)
    return sorted(Box(*map(int, box)) for box in found)


def square_around(box: Box, width: int, height: int, pad: float) -> Box:
    """Return the square around a face with that share of its side added on each side, in a picture of that size.

    At the picture's edge it is moved inwards, and it is no larger than the picture: no pixel is made up.
    """
    side = min(round(max(box.w, box.h) * (1 + 2 * pad)), width, height)
    x = min(max(box.x + (box.w - side) // 2, 0), width - side)
    y = min(max(box.y + (box.h - side) // 2, 0), height - side)
    return Box(x, y, side, side)


def require_faces(faces: int, errors: Counter[str], crop: CropParams) -> None:
    """Raise StageError where pictures were searched and none gave a face: the cascade is at fault, or its settings.

    errors: the rows without an image, by reason.
    """
    if faces or not (errors[NO_FACE] or errors[TOO_SMALL]):
        return
    raise StageError(
        f"the cascade {crop.cascade} found no face in any picture ({errors[NO_FACE]} pictures without one, "
        f"{errors[TOO_SMALL]} faces smaller than crawl.crop.min_side {crop.min_side}). Try it on pictures that it must "
        "know; lower crawl.crop.min_neighbors or crawl.crop.min_side; take a cascade for this kind of picture; or set "
        "crawl.crop.kind to none if the pictures are faces already"
    )
