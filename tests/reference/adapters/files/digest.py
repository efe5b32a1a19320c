"""The digest once more, record by record, with struct and tuples; imports nothing of the code under test."""

import hashlib
import struct

INTENT, DENIED, EVENT = 2, 3, 4
FILL_KIND = 3
DUPLICATE = 402

# offsets inside the 256-byte journal record and its 128-byte body
TYPE, SEQ, TS, CODE, BODY = 4, 8, 32, 48, 128


def _i8(raw: bytes, offset: int) -> int:
    return struct.unpack_from("<q", raw, offset)[0]


def _u8(raw: bytes, offset: int) -> int:
    return struct.unpack_from("<Q", raw, offset)[0]


def _order_row(raw: bytes, record: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    body = raw[BODY:]
    low, high = _u8(body, 16), _u8(body, 8)
    instrument, _, _, action, side, kind, tif, flags, leg = struct.unpack_from("<HHHBbBBBB", body, 56)
    code = _i8(raw, CODE) if record == 2 else 0
    row = (
        _i8(raw, TS), instrument, low >> 32, record, leg, low & 0xFFFFFF, high >> 32, action, side, kind, tif, flags,
        _i8(body, 24), _i8(body, 32), _i8(body, 40), _i8(body, 48), 0, 0, 0, code, _i8(body, 0),
    )  # fmt: skip
    return (*row[:4], leg, *row[4:]), row


def _fill_row(raw: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    body = raw[BODY:]
    low, high = _u8(body, 16), _u8(body, 8)
    instrument, _, _, _, side, order_type, flags, leg = struct.unpack_from("<HHBBbBBB", body, 96)
    row = (
        _i8(raw, TS), instrument, low >> 32, 3, leg, low & 0xFFFFFF, high >> 32, 0, side, order_type, 0, flags,
        _i8(body, 24), _i8(body, 32), 0, 0, _i8(body, 40), _i8(body, 48), _i8(body, 72), 0, _i8(body, 112),
    )  # fmt: skip
    return (*row[:4], _i8(body, 64), *row[4:]), row


def ref_session_digest(records: list[bytes]) -> str:
    """SHA-256 over the canonical rows of these 256-byte journal records."""
    keyed = []
    trades = set()
    for raw in sorted(records, key=lambda record: _i8(record, SEQ)):
        (kind,) = struct.unpack_from("<H", raw, TYPE)
        if kind == INTENT:
            keyed.append(_order_row(raw, 1))
        elif kind == DENIED and _i8(raw, CODE) != DUPLICATE:
            keyed.append(_order_row(raw, 2))
        elif kind == EVENT and raw[BODY + 100] == FILL_KIND:
            trade = (struct.unpack_from("<H", raw, BODY + 96)[0], _i8(raw, BODY + 64))
            if trade not in trades:
                trades.add(trade)
                keyed.append(_fill_row(raw))
    digest = hashlib.sha256(b"bot4 digest 1\n")
    for _, row in sorted(keyed):
        digest.update(struct.pack("<21q", *row))
    return digest.hexdigest()
