"""Packets out of a stream of bytes that arrives in any pieces."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.binlog.packets import FIRST_SIZE, PacketBuffer


class Pieces:
    """A socket that hands out bytes in the sizes it is told."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = data
        self._at = 0
        self._sizes = sizes

    def recv_into(self, buffer: memoryview, /) -> int:
        size = min(self._sizes.pop(0) if self._sizes else len(self._data), len(buffer), len(self._data) - self._at)
        buffer[:size] = self._data[self._at : self._at + size]
        self._at += size
        return size


def packet(payload: bytes) -> bytes:
    """As a server sends it: continued where it fills a packet."""
    data = b""
    while True:
        part, payload = payload[:0xFFFFFF], payload[0xFFFFFF:]
        data += len(part).to_bytes(3, "little") + b"\0" + part
        if len(part) < 0xFFFFFF:
            return data


def received(data: bytes, sizes: list[int]) -> list[bytes]:
    buffer, socket = PacketBuffer(), Pieces(data, sizes)
    payloads: list[bytes] = []
    while True:
        while wanted := buffer.missing():
            if not buffer.fill(socket, wanted):
                assert not len(buffer)
                return payloads
        if buffer.is_continued():
            payloads.append(buffer.take_continued())
        else:
            whole = buffer.take()
            length = int.from_bytes(whole[:3], "little")
            payloads.append(whole[4 : 4 + length])
            buffer.use(4 + length)


@given(
    st.lists(st.integers(0, 3000), max_size=30),
    st.lists(st.integers(1, 2000), max_size=200),
)
def test_packets_come_out_as_they_went_in(lengths: list[int], sizes: list[int]) -> None:
    payloads = [random.Random(length).randbytes(length) for length in lengths]
    assert received(b"".join(map(packet, payloads)), sizes) == payloads


@settings(max_examples=5, deadline=None)
@given(
    st.sampled_from([FIRST_SIZE - 5, FIRST_SIZE, 3 * FIRST_SIZE, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0x1FFFFFE, 0x2000001])
)
def test_packets_larger_than_the_buffer_and_continued_ones_come_out_whole(length: int) -> None:
    large = random.Random(length).randbytes(length)
    payloads = [b"before", large, b"between", large, b"after"]
    assert received(b"".join(map(packet, payloads)), [100, 70_000, 1]) == payloads


def test_the_buffer_shrinks_again_after_a_large_packet() -> None:
    buffer = PacketBuffer()
    socket = Pieces(packet(bytes(20_000_000)) + packet(b"x") * 10, [])
    while wanted := buffer.missing():
        buffer.fill(socket, wanted)
    assert buffer.take_continued() == bytes(20_000_000)
    socket = Pieces(packet(b"y") * 3, [4, 1, 4, 1, 4, 1])
    for _ in range(13):
        while wanted := buffer.missing():
            if not buffer.fill(socket, wanted):
                break
        buffer.use(5)
    assert len(buffer._buffer) <= FIRST_SIZE


def test_a_length_is_believed_only_as_its_bytes_arrive() -> None:
    buffer = PacketBuffer()
    socket = Pieces(b"\xfe\xff\xff\0" + bytes(100), [])
    for _ in range(2):
        buffer.fill(socket, buffer.missing())
    assert len(buffer._buffer) == FIRST_SIZE
