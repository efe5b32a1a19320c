"""Bybit's signatures: HMAC-SHA256 in hex over what is said. Nothing is kept here."""

import hmac


def signature(secret: bytes, payload: bytes) -> str:
    """Of a payload."""
    return hmac.digest(secret, payload, "sha256").hex()


def signed_head(api_key: bytes, secret: bytes, now_ms: int, window_ms: int, payload: bytes) -> bytes:
    """The header lines of a signed request, each with its line end.

    Parameters
    ----------
    now_ms : the venue's clock
    window_ms : the venue refuses what it begins with later than that
    payload : query of a GET without "?", body of a POST
    """
    origin = b"%d%s%d%s" % (now_ms, api_key, window_ms, payload)
    return (
        b"X-BAPI-API-KEY: %s\r\nX-BAPI-TIMESTAMP: %d\r\nX-BAPI-RECV-WINDOW: %d\r\nX-BAPI-SIGN: %s\r\n"
        % (api_key, now_ms, window_ms, signature(secret, origin).encode())
    )  # fmt: skip


def logon_args(api_key: str, secret: bytes, expires_ms: int) -> list[str | int]:
    """Arguments of a websocket's `auth`, good until then."""
    return [api_key, expires_ms, signature(secret, b"GET/realtime%d" % expires_ms)]
