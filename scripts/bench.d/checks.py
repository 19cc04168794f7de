"""Whether what was measured did its work."""

import glob
import hashlib
import os
import re
import subprocess
import sys

from inputs import Ladder


def fail(what: str) -> None:
    sys.exit(f"error: {what}")


def complete(folder: str, seconds: int, playlists: int) -> None:
    """Every media playlist is as long as the input, and names encrypted segments that are there."""
    found = [path for path in glob.glob(f"{folder}/**/*.m3u8", recursive=True) if "#EXTINF" in open(path).read()]
    if len(found) != playlists:
        fail(f"{len(found)} media playlists in {folder}, and {playlists} were due")
    for path in found:
        text = open(path).read()
        total = sum(float(value) for value in re.findall(r"#EXTINF:([0-9.]+)", text))
        # AAC frames do not end with the last picture.
        if abs(total - seconds) > 0.2:
            fail(f"{path} is {total:.3f} s long, and the input {seconds}")
        protected = "#EXT-X-KEY:METHOD=AES-128" in text
        for line in text.splitlines():
            if line and not line.startswith("#"):
                size = os.path.getsize(os.path.join(os.path.dirname(path), line))
                if size == 0 or (protected and size % 16):
                    fail(f"{line} of {path} has {size} bytes")


def ours(keyrung: str, ladder: Ladder, work: str) -> None:
    """What openssl decrypts of our segments, put together, holds the very frames of the input."""
    home = {"KEYRUNG_HOME": os.path.join(work, "home")}
    out = os.path.join(work, "check")
    command = [keyrung, "--quiet", "--json", "package", *ladder.files, "--out", out, "--force", "--content-id", "check"]
    made = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | home)
    key_id = re.search(r'"key_id":\s*"([^"]+)"', made.stdout)[1]
    export = [keyrung, "key", "export", key_id, "--hex"]
    key = subprocess.run(export, check=True, capture_output=True, text=True, env=os.environ | home).stdout.strip()
    playlists = glob.glob(f"{out}/*/index.m3u8")
    if len(playlists) != len(ladder.files):
        fail(f"{len(playlists)} renditions were made of {len(ladder.files)} files")
    got = sorted(frames(decrypted(path, key), work) for path in playlists)
    due = sorted(frames(open(path, "rb").read(), work) for path in ladder.files)
    if got != due:
        fail("the decrypted segments do not hold the frames of the input")
    print(f"right: openssl and ffmpeg find the input's frames in all {len(playlists)} renditions", flush=True)
    subprocess.run(["rm", "-rf", out], check=True)


def decrypted(playlist: str, key: str) -> bytes:
    parts, iv = [], None
    for line in open(playlist).read().splitlines():
        iv = re.search(r"IV=0x([0-9A-Fa-f]{32})", line)[1] if line.startswith("#EXT-X-KEY") else iv
        if line and not line.startswith("#"):
            path = os.path.join(os.path.dirname(playlist), line)
            command = ["openssl", "enc", "-d", "-aes-128-cbc", "-K", key, "-iv", iv, "-in", path]
            parts.append(subprocess.run(command, check=True, capture_output=True).stdout)
    return b"".join(parts)


def frames(stream: bytes, work: str) -> str:
    """A hash over every frame's stream, timestamps and content."""
    path = os.path.join(work, "frames.ts")
    with open(path, "wb") as file:
        file.write(stream)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-copyts", "-i", path, "-map", "0:v", "-map", "0:a", "-c", "copy",
               "-f", "framemd5", "-"]  # fmt: skip
    listing = subprocess.run(command, check=True, capture_output=True).stdout
    os.remove(path)
    return hashlib.sha256(listing).hexdigest()
