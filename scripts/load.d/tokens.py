"""What viewers show: signed URLs and ES256 tokens, made without keyrung, so that the server is not its own witness."""

import base64
import hmac
import json
import os
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER, AUDIENCE = "https://load.test", "keyrung"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signed:
    """Signed URLs, one for each key."""

    def __init__(self, folder: str):
        self.file, self.secret = os.path.join(folder, "signed.secret"), os.urandom(32).hex().encode()
        confide(self.file, self.secret + b"\n")

    def settings(self) -> str:
        return f'[[authorizer]]\ntype = "signed"\n[[authorizer.secret]]\nid = "1"\nfile = "{self.file}"\n'

    def query(self, path: str, expires: int, content: str = "") -> str:
        terms = f"read\n{path}\n{expires}\n{content}\n"
        signed = f"v1.1.{b64(terms.encode())}"
        return f"kr-signed={signed}.{b64(hmac.digest(self.secret, signed.encode(), 'sha256'))}"

    def request(self, key_id: str, content_id: str, life: int = 3600) -> str:
        path = f"/v1/keys/{key_id}"
        return f"{path}?{self.query(path, int(time.time()) + life)}"


class Es256:
    """JSON Web Tokens under a P-256 key, in the Authorization field."""

    def __init__(self, folder: str):
        self.file, self.key = os.path.join(folder, "es256.pem"), ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        confide(self.file, pem)
        self.tokens: dict[str, str] = {}

    def settings(self) -> str:
        head = f'[[authorizer]]\ntype = "jwt"\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
        return head + f'[[authorizer.key]]\nkid = "load"\nalgorithm = "ES256"\nfile = "{self.file}"\n'

    def mint(self, content_id: str, subject: str, life: int = 3600) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + life, "sub": subject, "contents": [content_id]}
        head = {"alg": "ES256", "typ": "JWT", "kid": "load"}
        message = ".".join(b64(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self.key.sign(message.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{message}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def request(self, key_id: str, content_id: str) -> str:
        """One token for all keys of a content, as one viewer of it has."""
        if content_id not in self.tokens:
            self.tokens[content_id] = self.mint(content_id, f"viewer of {content_id}")
        return f"/v1/keys/{key_id} {self.tokens[content_id]}"

    def fresh(self, key_id: str, content_id: str) -> str:
        """A token of its own for every key: nothing that was verified is asked for again."""
        return f"/v1/keys/{key_id} {self.mint(content_id, f'viewer of {key_id}')}"


def confide(path: str, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
