"""The ladder that is measured: five renditions, H.264 at 25 frames a second in GOPs of 2 s, and AAC. Made once."""

import os
import shutil
import subprocess

CACHE = "target/bench/inputs"
# Height, width, video kbit/s: about 1.2 GB in 10 minutes.
RENDITIONS = [(1080, 1920, 8000), (720, 1280, 3500), (540, 960, 1800), (360, 640, 900), (240, 426, 450)]
# Seconds that are encoded; the rest is this again and again, with timestamps that go on.
ENCODED = 20


class Ladder:
    """The files of a ladder where they are measured, from the largest to the smallest."""

    def __init__(self, files: list[str], seconds: int):
        self.files = files
        self.seconds = seconds
        self.bytes = sum(os.path.getsize(file) for file in files)


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True)


def cached(name: str, make) -> str:
    """The file of that name in the cache, made by `make(path)` if it is not there."""
    os.makedirs(CACHE, exist_ok=True)
    path = os.path.join(CACHE, name)
    if not os.path.exists(path):
        print(f"making {path}", flush=True)
        # The ending tells ffmpeg the format.
        part = os.path.join(CACHE, "making-" + name)
        make(part)
        os.rename(part, path)
    return path


def encode(path: str, width: int, height: int, kbits: int, *x264: str, seconds: int = ENCODED, gop: int = 50) -> None:
    ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=s={width}x{height}:r=25,noise=alls=40:allf=t",
        "-f", "lavfi", "-i", "sine=f=440:r=48000", "-t", str(seconds),
        "-c:v", "libx264", "-preset", "ultrafast", "-b:v", f"{kbits}k", "-maxrate", f"{kbits}k", "-bufsize", f"{kbits}k",
        "-x264-params", "nal-hrd=cbr:scenecut=0", "-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0", *x264,
        "-c:a", "aac", "-b:a", "128k", "-f", "mpegts", path,
    )  # fmt: skip


def rendition(height: int, width: int, kbits: int, seconds: int) -> str:
    once = cached(f"{height}p-{ENCODED}s.ts", lambda path: encode(path, width, height, kbits))
    if seconds == ENCODED:
        return once
    loops = ["-stream_loop", str(seconds // ENCODED)] if seconds > ENCODED else []

    def again(path: str) -> None:
        ffmpeg(*loops, "-i", once, "-t", str(seconds), "-map", "0", "-c", "copy", "-f", "mpegts", path)

    return cached(f"{height}p-{seconds}s.ts", again)


def ladder(name: str, work: str, seconds: int, renditions: list[tuple[int, int, int]] = RENDITIONS) -> Ladder:
    """A ladder in `work`, in the page cache."""
    folder = os.path.join(work, "in-" + name)
    os.makedirs(folder, exist_ok=True)
    files = []
    for height, width, kbits in renditions:
        source = rendition(height, width, kbits, seconds)
        files.append(shutil.copyfile(source, os.path.join(folder, f"{height}p.ts")))
    return Ladder(files, seconds)


def multiplex(parts: Ladder, work: str) -> str:
    """All renditions as programs of one stream, in `work`."""

    def make(path: str) -> None:
        arguments = []
        for file in parts.files:
            arguments += ["-i", file]
        for number in range(len(parts.files)):
            arguments += ["-map", f"{number}:v", "-map", f"{number}:a"]
        for number in range(len(parts.files)):
            title = f"title=p{number + 1}"
            arguments += ["-program", f"{title}:program_num={number + 1}:st={2 * number}:st={2 * number + 1}"]
        ffmpeg(*arguments, "-c", "copy", "-f", "mpegts", path)

    made = cached(f"multiplex-{parts.seconds}s.ts", make)
    return shutil.copyfile(made, os.path.join(work, "multiplex.ts"))


def many_cuts(work: str, cuts: int) -> str:
    """A stream with so many key frames, 0.52 s apart: each can begin a segment of half a second."""
    once = cached("cuts-100.ts", lambda path: encode(path, 160, 90, 50, seconds=52, gop=13))
    loops = ["-stream_loop", str(cuts // 100 - 1)]
    made = cached(f"cuts-{cuts}.ts", lambda path: ffmpeg(*loops, "-i", once, "-map", "0", "-c", "copy", "-f", "mpegts", path))
    return shutil.copyfile(made, os.path.join(work, "cuts.ts"))
