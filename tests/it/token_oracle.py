"""Tokens and signed URLs made and verified without any code of keyrung's, for tests/it/token.rs: RFC 7515 by hand, and the
package `cryptography` (OpenSSL).

    make FOLDER    keys, their key set, and a token of each
    read FOLDER    verifies FOLDER/ours.json, and prints the claims of each
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import sys
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

SECRET = b"an oracle's secret of at least 32 bytes"
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert b64(data) == text, "not canonical"
    return data


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def sign(alg, key, message):
    if alg == "HS256":
        return hmac.new(key, message, hashlib.sha256).digest()
    if alg == "EdDSA":
        return key.sign(message)
    if alg == "ES256":
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return key.sign(message, padding.PKCS1v15() if alg == "RS256" else PSS, hashes.SHA256())


def verify(alg, key, message, signature):
    """Raises when the signature is not the key's."""
    if alg == "HS256":
        assert hmac.compare_digest(sign(alg, key, message), signature), "HMAC"
    elif alg == "EdDSA":
        key.public_key().verify(signature, message)
    elif alg == "ES256":
        assert len(signature) == 64, "R and S of 32 bytes each"
        der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        key.public_key().verify(der, message, ec.ECDSA(hashes.SHA256()))
    else:
        key.public_key().verify(signature, message, padding.PKCS1v15() if alg == "RS256" else PSS, hashes.SHA256())


def jwk(alg, key):
    public = key.public_key()
    common = {"kid": alg, "alg": alg, "use": "sig"}
    if alg == "EdDSA":
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {**common, "kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    numbers = public.public_numbers()
    if alg == "ES256":
        return {**common, "kty": "EC", "crv": "P-256", "x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big"))}
    return {**common, "kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}


def write(path, data):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def make(folder):
    pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    keys = {
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "RS256": pair,
        "PS256": pair,
    }
    write(folder / "HS256.secret", SECRET)
    for alg, key in keys.items():
        plain = serialization.NoEncryption()
        write(folder / f"{alg}.pem", key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        write(folder / f"{alg}.pub.pem", public)
    write(folder / "jwks.json", json.dumps({"keys": [jwk(alg, key) for alg, key in keys.items()]}).encode())
    now = int(time.time())
    tokens = {}
    for alg, key in {**keys, "HS256": SECRET}.items():
        header = {"typ": "JWT", "alg": alg, "kid": alg}
        claims = {"iss": "https://oracle.example", "aud": ["keyrung"], "iat": now, "nbf": now, "exp": now + 300, "contents": ["film"]}
        message = ".".join(b64(json.dumps(part).encode()) for part in [header, claims])
        tokens[alg] = f"{message}.{b64(sign(alg, key, message.encode()))}"
    lines = f"read\n/v1/keys/3f2b8c1e-6a4d-4f7b-9e0c-5d1a2b3c4e5f\n{now + 300}\n\n203.0.113.0/24"
    message = f"v1.1.{b64(lines.encode())}"
    tokens["signed"] = f"{message}.{b64(sign('HS256', SECRET, message.encode()))}"
    write(folder / "theirs.json", json.dumps(tokens).encode())


def read(folder):
    found = {}
    for alg, token in json.loads((folder / "ours.json").read_text()).items():
        message, _, signature = token.rpartition(".")
        if alg == "signed":
            verify("HS256", SECRET, message.encode(), unb64(signature))
            found[alg] = unb64(message.split(".")[2]).decode().split("\n")
            continue
        header, claims = (json.loads(unb64(part)) for part in message.split("."))
        assert header["alg"] == alg, header
        pem = lambda: serialization.load_pem_private_key((folder / f"{alg}.pem").read_bytes(), None)
        verify(alg, SECRET if alg == "HS256" else pem(), message.encode(), unb64(signature))
        found[alg] = claims
    print(json.dumps(found))


{"make": make, "read": read}[sys.argv[1]](pathlib.Path(sys.argv[2]))
