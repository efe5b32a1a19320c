"""Binance's signatures over a query: HMAC-SHA256 in hex, or Ed25519 in base64. Nothing is kept here but the key.

Which of the two a key signs with is to be seen: the secret of an Ed25519 key is its private key as a PEM file has it
between the first and the last line, and that begins with the same letters for all of them.
"""

import base64
import binascii
import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED_BYTES = 32
_HEAD = bytes.fromhex("302e020100300506032b657004220420")  # of PKCS8, before the seed


def signer(secret: str) -> Callable[[bytes], str]:
    """What makes the signature of a text, for a secret of either kind."""
    try:
        found = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) == len(_HEAD) + _SEED_BYTES and found.startswith(_HEAD):
        sign = Ed25519PrivateKey.from_private_bytes(found[len(_HEAD) :]).sign
        return lambda text: base64.b64encode(sign(text)).decode()
    key = secret.encode()
    return lambda text: hmac.digest(key, text, "sha256").hex()
