"""The size that the header of an image file declares, before a decoder allocates it."""

from __future__ import annotations

_PNG = b"\x89PNG\r\n\x1a\n"
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # markers SOF0 ... SOF15 of ITU-T T.81, table B.1
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a segment: TEM, RST0 ... RST7


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Returns (height, width) in pixels of a JPEG, PNG or WebP file; None where that cannot be found."""
    if data.startswith(_PNG):
        return (_big(data[20:24]), _big(data[16:20])) if data[12:16] == b"IHDR" else None
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # fill bytes may come before a marker
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _FRAMES:
            return _big(data[place + 5 : place + 7]), _big(data[place + 7 : place + 9])
        else:
            place += 2 + (data[place + 2] << 8) + data[place + 3]
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """RFC 9649: the canvas (VP8X), or the only frame (VP8, VP8L)."""
    if len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if data[12:16] == b"VP8 ":
        return int.from_bytes(data[28:30], "little") & 0x3FFF, int.from_bytes(data[26:28], "little") & 0x3FFF
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")
