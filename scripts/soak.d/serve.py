"""The key server for minutes on end, while its KMS is killed, stopped and started again, SIGHUPs come, and keys come and go.

    target/moto/bin/python scripts/soak.d/serve.py [MINUTES] [--keyrung PATH] [--seed N]

Counts requests that should have had their key and did not, and requests that should not and did. Both have to be 0.
"""

import argparse
import base64
import collections
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "load.d"))

import boto3  # noqa: E402
import keystore  # noqa: E402
import tokens  # noqa: E402
from botocore.config import Config  # noqa: E402
from server import Keyrung, free_port  # noqa: E402

KMS_KEYS, LOCAL_KEYS, VIEWERS = 150, 50, 8
# Short, so that keys are opened anew all the time; KMS is away for longer than this.
LIFE, NEGATIVE_LIFE, STALE_FOR = 10, 1, 600
# After this a change in the store has been seen, however busy the machine is.
SEEN = 3

SETTINGS = f"""
[limits]
connections_per_client = 0
client_rate = 0
subject_rate = 0
[keys]
life = "{LIFE}s"
negative_life = "{NEGATIVE_LIFE}s"
stale_for = "{STALE_FOR}s"
"""


class Provider:
    """KMS, which comes and goes."""

    def __init__(self):
        self.port, self.key_id, self.material = free_port(), str(uuid.uuid4()), os.urandom(32)
        self.arn = f"arn:aws:kms:us-east-1:123456789012:key/{self.key_id}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.start()

    def start(self):
        command = [sys.executable, os.path.join(HERE, "provider.py"), str(self.port), self.key_id, self.material.hex()]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise SystemExit("error: moto does not start; hint: scripts/moto") from None
                time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number: int):
        self.process.send_signal(number)


class World:
    """The keys, and who may have which when."""

    def __init__(self, home: str, provider: Provider):
        self.home, self.provider, self.lock = home, provider, threading.Lock()
        self.keyring = keystore.Keyring(home)
        os.makedirs(os.path.join(home, "keys"), mode=0o700)
        self.live: dict[str, tuple[str, bytes]] = {}
        self.fresh: dict[str, tuple[str, bytes, float]] = {}
        self.gone: dict[str, float] = {}
        config = Config(retries={"max_attempts": 3}, connect_timeout=5, read_timeout=10)
        kms = boto3.client(
            "kms", endpoint_url=provider.url, region_name="us-east-1", aws_access_key_id="testing",
            aws_secret_access_key="testing", config=config,
        )
        for number in range(KMS_KEYS):
            self.kms_key(kms, f"film-{number}")
        for number in range(LOCAL_KEYS):
            key_id, content_id, key = self.local_key(f"short-{number}")
            self.live[key_id] = (content_id, key)

    def kms_key(self, kms, content_id: str):
        made = kms.generate_data_key(KeyId=self.provider.arn, KeySpec="AES_128", EncryptionContext={"content-id": content_id})
        key_id = str(uuid.uuid4())
        record = keystore.record(self.keyring, key_id, content_id, made["Plaintext"])
        record |= {"provider": "aws-kms", "key": made["KeyId"], "ciphertext": base64.b64encode(made["CiphertextBlob"]).decode()}
        self.put(record)
        self.live[key_id] = (content_id, made["Plaintext"])

    def local_key(self, content_id: str) -> tuple[str, str, bytes]:
        key_id, key = str(uuid.uuid4()), os.urandom(16)
        self.put(keystore.record(self.keyring, key_id, content_id, key))
        return key_id, content_id, key

    def path(self, key_id: str) -> str:
        return os.path.join(self.home, "keys", f"{key_id}.json")

    def put(self, record: dict):
        whole, hidden = self.path(record["key_id"]), self.path("." + record["key_id"])
        keystore.write(hidden, record)
        os.rename(hidden, whole)

    def add(self):
        key_id, content_id, key = self.local_key(f"new-{uuid.uuid4().hex[:8]}")
        with self.lock:
            self.live[key_id] = (content_id, key)

    def remove(self):
        """Takes a key away; until it can have been seen, it may be given or not."""
        with self.lock:
            key_id = random.choice(list(self.live))
            del self.live[key_id]
        os.unlink(self.path(key_id))
        with self.lock:
            self.gone[key_id] = time.monotonic()

    def good(self) -> tuple[str, str, bytes]:
        with self.lock:
            key_id = random.choice(list(self.live))
            return key_id, *self.live[key_id]

    def bad(self, kind: str) -> str | None:
        """A key that is not there, or no longer."""
        if kind == "deleted":
            with self.lock:
                old = [key_id for key_id, when in self.gone.items() if time.monotonic() - when > LIFE + SEEN]
            return random.choice(old) if old else None
        return str(uuid.uuid4())


class Tally:
    def __init__(self):
        self.lock, self.counts, self.lost, self.leaked = threading.Lock(), collections.Counter(), [], []
        self.longest = 0.0

    def add(self, what: str, took: float):
        with self.lock:
            self.counts[what] += 1
            self.longest = max(self.longest, took)

    def complain(self, of: list, text: str):
        with self.lock:
            of.append(text)


def target(signed: tokens.Signed, key_id: str, kind: str, other: str) -> str:
    """A request for a key that must not be answered with it, of this kind; or one that must."""
    path, now = f"/v1/keys/{key_id}", int(time.time())
    query = signed.query(path, now + 600)
    if kind == "unsigned":
        return path
    if kind == "of another key":
        return f"{path}?{signed.query(f'/v1/keys/{other}', now + 600)}"
    if kind == "expired":
        return f"{path}?{signed.query(path, now - 1)}"
    if kind == "tampered":
        at = query.rindex(".") + 5
        return f"{path}?{query[:at]}{'A' if query[at] != 'A' else 'B'}{query[at + 1:]}"
    return f"{path}?{query}"


def view(port: int, world: World, signed: tokens.Signed, tally: Tally, until: float, seed: int):
    """One viewer after another on one connection."""
    choose = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    kinds = ["unsigned", "of another key", "expired", "tampered", "deleted", "made up"]
    while time.monotonic() < until:
        key_id, _, key = world.good()
        kind = "good" if choose.random() < 0.7 else choose.choice(kinds)
        if kind in ("deleted", "made up"):
            key_id = world.bad(kind)
            if key_id is None:
                continue
        other = world.good()[0]
        if other == key_id:
            continue
        asked = target(signed, key_id, kind, other)
        began = time.monotonic()
        try:
            connection.request("GET", asked)
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, repr(error).encode()
            connection.close()
        took = time.monotonic() - began
        tally.add(f"{kind}: {status}", took)
        if kind == "good" and (status != 200 or body != key):
            with world.lock:
                # It was taken away while it was asked for.
                still = key_id in world.live
            if still:
                tally.complain(tally.lost, f"{key_id}: {status} after {took:.2f} s: {body[:200]!r}")
        elif kind != "good" and (status == 200 or key in body):
            tally.complain(tally.leaked, f"{kind} {key_id}: {status}")
        time.sleep(choose.random() * 0.02)
    connection.close()


def disturb(server: Keyrung, provider: Provider, world: World, tally: Tally, until: float, seed: int):
    """Everything that may happen to the server, at random."""
    choose = random.Random(seed)
    while time.monotonic() < until:
        what = choose.choice(["kill", "kill", "stop", "reload", "reload", "spoil", "add", "add", "remove"])
        tally.add(f"event: {what}", 0)
        if what == "kill":
            provider.kill()
            if choose.random() < 0.5:
                server.process.send_signal(signal.SIGHUP)
            time.sleep(choose.random() * 2 * LIFE)
            provider.start()
        elif what == "stop":
            provider.signal(signal.SIGSTOP)
            time.sleep(choose.random() * 1.5 * LIFE)
            provider.signal(signal.SIGCONT)
        elif what == "reload":
            server.process.send_signal(signal.SIGHUP)
        elif what == "spoil":
            # Half a file, as somebody who writes it leaves it for a moment: without all of what stands at its end.
            start = server.settings.index("[[authorizer]]")
            server.configure(server.settings[: choose.choice([start, choose.randrange(start, len(server.settings) - 1)])])
            server.process.send_signal(signal.SIGHUP)
            time.sleep(choose.random())
            server.configure(server.settings)
            server.process.send_signal(signal.SIGHUP)
        elif what == "add":
            world.add()
        elif what == "remove":
            world.remove()
        time.sleep(choose.random() * 3)


def warm(port: int, world: World, signed: tokens.Signed):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for key_id, (_, key) in world.live.items():
        connection.request("GET", target(signed, key_id, "good", ""))
        answer = connection.getresponse()
        if (answer.status, answer.read()) != (200, key):
            raise SystemExit(f"error: {key_id} is answered with {answer.status} while all is well")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak.d/serve.py")
    parser.add_argument("minutes", nargs="?", type=float, default=10)
    parser.add_argument("--keyrung", metavar="PATH", help="that program instead of a fresh release build")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    random.seed(options.seed)
    os.chdir(os.path.join(HERE, "..", ".."))
    program = os.path.abspath(options.keyrung) if options.keyrung else None
    if not program:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], check=True)
        program = os.path.abspath("target/release/keyrung")
    with tempfile.TemporaryDirectory(prefix="keyrung-soak-") as work:
        provider = Provider()
        try:
            return soak(program, work, provider, options)
        finally:
            provider.signal(signal.SIGCONT)
            provider.kill()


def soak(program: str, work: str, provider: Provider, options) -> int:
    home = os.path.join(work, "home")
    world, signed, tally = World(home, provider), tokens.Signed(work), Tally()
    environment = {
        "KEYRUNG_HOME": home, "AWS_ENDPOINT_URL": provider.url, "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    settings = f'key_store = "{home}/keys"\n{SETTINGS}{signed.settings()}'
    with Keyrung(program, work, "soak", settings, environment) as server:
        warm(server.port, world, signed)
        memory, until = server.memory_mib(), time.monotonic() + options.minutes * 60
        threads = [
            threading.Thread(target=view, args=(server.port, world, signed, tally, until, options.seed + number), daemon=True)
            for number in range(VIEWERS)
        ]
        for thread in threads:
            thread.start()
        disturb(server, provider, world, tally, until, options.seed)
        for thread in threads:
            thread.join(60)
        alive = server.process.poll() is None
        print(f"memory {memory:.1f} -> {server.memory_mib():.1f} MiB, longest answer {tally.longest:.2f} s, vault {server.figures()}")
    for what, count in sorted(tally.counts.items()):
        print(f"{count:8}  {what}")
    for name, found in (("lost", tally.lost), ("given to who may not have it", tally.leaked)):
        print(f"{len(found):8}  {name}")
        for text in found[:20]:
            print(f"          {text}")
    good = sum(count for what, count in tally.counts.items() if what == "good: 200")
    failed = tally.lost or tally.leaked or not alive or good < 100 * options.minutes
    print("FAILED" if failed else "passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
