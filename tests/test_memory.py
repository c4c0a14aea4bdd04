"""The measure of memory that other tests go by sees what a process takes, however much this one has had."""

from __future__ import annotations

from tests.memory import measured

MB = 2**20


def test_what_is_taken_is_seen_beside_what_this_process_had() -> None:
    held = bytearray(b"\1") * (300 * MB)
    told, grown = measured("", "held = bytearray(b'\\1') * (200 << 20); print(len(held))")
    assert told == [200 * MB]
    assert 190 * MB < grown < 250 * MB
    assert len(held) == 300 * MB
