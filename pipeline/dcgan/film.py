"""The pictures of the fixed noise through training: evenly spaced, and few, however long the training is."""

from __future__ import annotations

from pipeline.faces import Faces


def spacing(step: int, first: int, most: int) -> int:
    """Return the steps between two frames when training is at `step`: first, doubled until `most` frames suffice."""
    steps = first
    while step > steps * most:
        steps *= 2
    return steps


def add_frame(frames: dict[int, Faces], step: int, pictures: Faces, first: int, most: int) -> dict[int, Faces]:
    """Return frames with one more, without those that the spacing at this step leaves out."""
    steps = spacing(step, first, most)
    return {at: frame for at, frame in (frames | {step: pictures}).items() if at % steps == 0}
