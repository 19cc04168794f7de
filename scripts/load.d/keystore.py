"""Makes a keyring and a key store of many real sealed keys, as src/manual/formats.md has them: faster than one command a key,
and a second writer of the format."""

import base64
import hashlib
import hmac
import json
import os
import struct
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CREATED = "2026-01-31T23:59:59Z"


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869)."""
    return hmac.digest(salt, secret, "sha256")


def expand(prk: bytes, label: bytes) -> bytes:
    """One block of HKDF-Expand."""
    return hmac.digest(prk, label + b"\x01", "sha256")


def canonical(context: dict[str, str]) -> bytes:
    """An encryption context in the form in which it is bound."""
    out = struct.pack(">H", len(context))
    for name, value in sorted((n.encode(), v.encode()) for n, v in context.items()):
        out += struct.pack(">H", len(name)) + name + struct.pack(">H", len(value)) + value
    return out


class Keyring:
    """A local keyring, new in `home`."""

    def __init__(self, home: str):
        self.id, self.kek = str(uuid.uuid4()), os.urandom(32)
        os.makedirs(home, mode=0o700, exist_ok=True)
        document = {"version": 1, "kek_id": self.id, "kek": base64.b64encode(self.kek).decode(), "created": CREATED}
        write(os.path.join(home, "keyring.json"), document)

    def seal(self, key: bytes, context: dict[str, str]) -> bytes:
        salt = os.urandom(32)
        prk = extract(salt, self.kek)
        data = b"keyrung envelope v1\0" + self.id.encode() + canonical(context)
        sealed = AESGCM(expand(prk, b"keyrung envelope v1 encrypt")).encrypt(bytes(12), key, data)
        return b"\x01" + salt + expand(prk, b"keyrung envelope v1 commit") + sealed


def record(keyring: Keyring, key_id: str, content_id: str, key: bytes) -> dict:
    """The document of a key."""
    context = {"content-id": content_id}
    subkey = expand(extract(bytes(32), key), b"keyrung binding v1")
    return {
        "version": 1,
        "key_id": key_id,
        "content_id": content_id,
        "provider": "local",
        "key": keyring.id,
        "context": context,
        "ciphertext": base64.b64encode(keyring.seal(key, context)).decode(),
        "created": CREATED,
        "binding": hmac.digest(subkey, f"{key_id}\n{content_id}\n".encode(), "sha256").hex(),
    }


def write(path: str, document: dict) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file, indent=2)


def fill(home: str, keys: int, contents: int) -> list[tuple[str, str, bytes]]:
    """A keyring and so many keys of so many contents in a new `home`: key id, content id and key of each."""
    keyring = Keyring(home)
    store = os.path.join(home, "keys")
    os.makedirs(store, mode=0o700)
    made = []
    for number in range(keys):
        key_id, content_id, key = str(uuid.uuid4()), f"film-{number % contents}", os.urandom(16)
        write(os.path.join(store, f"{key_id}.json"), record(keyring, key_id, content_id, key))
        made.append((key_id, content_id, key))
    return made


def digest(key: bytes) -> str:
    """Names a key without telling it."""
    return hashlib.sha256(key).hexdigest()[:16]
