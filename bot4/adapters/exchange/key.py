"""Keys of the venue's accounts: made at start, and what a signed request has to show."""

import base64
import binascii
import hmac
import re
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot4.adapters.exchange.refusal import Refused, missing

DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
AHEAD_MS = 1_000
_KEY_BYTES = 48  # 64 characters, as the venue's own keys have
_FORM = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_BAD_SIGNATURE = "Signature for this request is not valid."


@dataclass(slots=True)
class Key:
    """One API key: it signs with a shared secret (HMAC-SHA256) or an Ed25519 key, whichever a client prefers."""

    account: int
    api_key: str
    secret: bytes
    public: Ed25519PublicKey
    private: Ed25519PrivateKey = field(repr=False)

    def derived(self, name: str) -> str:
        """64 letters and digits that nobody guesses without the secret, the same for the same name."""
        return hmac.digest(self.secret, name.encode(), "sha256").hex()

    def private_pem(self) -> bytes:
        """The Ed25519 private key as a PEM file (PKCS8), which clients read."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_key(account: int) -> Key:
    """A fresh key for an account."""
    private = Ed25519PrivateKey.generate()
    secret = secrets.token_urlsafe(_KEY_BYTES).encode()
    return Key(account, secrets.token_urlsafe(_KEY_BYTES), secret, private.public_key(), private)


class KeyRing:
    """All keys of the venue."""

    def __init__(self, keys: list[Key]) -> None:
        self._keys = {key.api_key: key for key in keys}

    def of(self, account: int) -> Key:
        """The key of an account."""
        return next(key for key in self._keys.values() if key.account == account)

    def known(self, api_key: str | None) -> Key | None:
        """The key of that name, if there is one."""
        return self._keys.get(api_key or "")

    def name_of(self, account: int) -> str:
        """The API key of an account."""
        return next(key.api_key for key in self._keys.values() if key.account == account)

    def find(self, api_key: str) -> Key:
        """The key of a request; Refused where there is none of that name."""
        if not _FORM.fullmatch(api_key):
            raise Refused(-2014, "API-key format invalid.", 401)
        key = self._keys.get(api_key)
        if key is None:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return key


def check_signature(key: Key, payload: bytes, signature: str, ed25519_only: bool = False) -> None:
    """Refused with -1022 unless `signature` is the key's over `payload` (hex: HMAC-SHA256, base64: Ed25519)."""
    if len(signature) == 64 and not ed25519_only:
        made = hmac.digest(key.secret, payload, "sha256").hex()
        if hmac.compare_digest(made.encode(), signature.lower().encode()):
            return
        raise Refused(-1022, _BAD_SIGNATURE)
    try:
        key.public.verify(base64.b64decode(signature, validate=True), payload)
    except (InvalidSignature, binascii.Error, ValueError):
        raise Refused(-1022, _BAD_SIGNATURE) from None


def check_time(now_ms: int, timestamp: int | None, window_ms: int | None) -> None:
    """-1021 unless the request was made within its window; the window is given in ms, at most a minute."""
    if timestamp is None:
        raise missing("timestamp")
    if timestamp >= 10**15:  # microseconds
        timestamp //= 1_000
    window_ms = DEFAULT_WINDOW_MS if window_ms is None else window_ms
    if window_ms > MAX_WINDOW_MS:
        raise Refused(-1131, "recvWindow must be less than 60000.")
    if timestamp >= now_ms + AHEAD_MS:
        raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - timestamp > window_ms:
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")
