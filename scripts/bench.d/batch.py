"""What a catalogue costs: titles beside the packaging itself, and one process beside two."""

import json
import os
import shutil
import subprocess
import time

import inputs

TINY, MANY = 10_000, 200


def jobs(path: str, count: int, files: list[str], out: str) -> str:
    with open(path, "w") as file:
        for number in range(count):
            title = {"content_id": f"t{number}", "inputs": files, "out": os.path.join(out, f"t{number}")}
            file.write(json.dumps(title) + "\n")
    return path


class Place:
    """A home and a folder for packages, emptied for each run."""

    def __init__(self, keyrung: str, work: str):
        self.keyrung, self.work = keyrung, work
        self.out = os.path.join(work, "batch-out")
        self.home = os.path.join(work, "batch-home")

    def empty(self) -> None:
        for folder in (self.out, self.home):
            shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(self.out)

    def start(self, *arguments: str) -> subprocess.Popen:
        environment = {"KEYRUNG_HOME": self.home, "PATH": os.environ["PATH"]}
        return subprocess.Popen([self.keyrung, "-q", *arguments], env=environment, stdout=subprocess.DEVNULL)

    def timed(self, *commands: list[str]) -> float:
        """Seconds until all of these commands, started at once, have ended well."""
        began = time.monotonic()
        running = [self.start(*command) for command in commands]
        if any(process.wait() != 0 for process in running):
            raise SystemExit(f"error: {' '.join(commands[0])} failed")
        return time.monotonic() - began


def report(path: str) -> list[dict]:
    with open(path + ".report.jsonl") as file:
        return [json.loads(line) for line in file]


def measure(keyrung: str, work: str) -> dict:
    """Figures of a catalogue of tiny titles, and of one of some size."""
    place = Place(keyrung, work)
    cores = os.cpu_count() or 1
    tiny = inputs.cached("160p-2s.ts", lambda path: inputs.encode(path, 284, 160, 100, seconds=2))
    tiny = shutil.copyfile(tiny, os.path.join(work, "tiny.ts"))
    figures: dict = {"cores": cores, "tiny_bytes": os.path.getsize(tiny), "tiny_titles": TINY}

    place.empty()
    list_of_tiny = jobs(os.path.join(work, "tiny.jsonl"), TINY, [tiny], place.out)
    wall = place.timed(["batch", list_of_tiny])
    ended = report(list_of_tiny)
    if len(ended) != TINY or any(line["status"] != "made" for line in ended):
        raise SystemExit("error: not every title was made")
    packaging = sum(line["elapsed"] for line in ended)
    figures["ms_per_title"] = wall / TINY * 1000
    figures["ms_packaging"] = packaging / TINY * 1000
    # What the places did besides packaging: reading the jobs file, scheduling, the report.
    figures["ms_overhead"] = (wall * cores - packaging) / TINY * 1000
    again = place.timed(["batch", list_of_tiny])
    figures["ms_per_title_complete"] = again / TINY * 1000
    figures["ms_per_title_dry_run"] = place.timed(["batch", list_of_tiny, "--dry-run"]) / TINY * 1000

    place.empty()
    some = 200
    began = time.monotonic()
    for number in range(some):
        out = os.path.join(place.out, f"p{number}")
        place.timed(["package", tiny, "--out", out, "--content-id", f"p{number}", "--durability", "power"])
    figures["ms_package_alone"] = (time.monotonic() - began) / some * 1000

    ladder = inputs.ladder("batch", work, seconds=20, renditions=inputs.RENDITIONS[1:4])
    figures["titles"], figures["title_bytes"] = MANY, ladder.bytes
    list_of_many = jobs(os.path.join(work, "many.jsonl"), MANY, ladder.files, place.out)
    runs = {
        "one_process_s": [["batch", list_of_many]],
        "one_process_one_thread_s": [["batch", list_of_many, "--threads", "1"]],
        "two_processes_s": [["batch", list_of_many, "--shard", f"{n}/2", "--threads", "1"] for n in (1, 2)],
    }
    for name, commands in runs.items():
        times = []
        for _ in range(3):
            place.empty()
            times.append(place.timed(*commands))
        figures[name] = sorted(times)[1]
    return figures


def tell(figures: dict) -> None:
    print(f"{figures['tiny_titles']} titles of {figures['tiny_bytes'] >> 10} KiB on {figures['cores']} cores, durability power:")
    print(f"  a title, wall                    {figures['ms_per_title']:.2f} ms")
    print(f"  of it packaging, in one place    {figures['ms_packaging']:.2f} ms")
    print(f"  beside the packaging             {figures['ms_overhead']:.2f} ms (at most 5 wanted)")
    print(f"  a title that is complete         {figures['ms_per_title_complete']:.2f} ms")
    print(f"  a title in a dry run             {figures['ms_per_title_dry_run']:.2f} ms")
    print(f"  keyrung package, one by one      {figures['ms_package_alone']:.2f} ms")
    print(f"{figures['titles']} titles of {figures['title_bytes'] >> 20} MiB in three renditions:")
    for name in ("one_process_one_thread_s", "one_process_s", "two_processes_s"):
        rate = figures["titles"] / figures[name]
        print(f"  {name[:-2].replace('_', ' '):32} {figures[name]:.2f} s, {rate:.0f} titles a second")
