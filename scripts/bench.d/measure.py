"""Runs commands as whole processes and says what they took: wall clock, CPU and the memory they had together."""

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import Callable

# Names as the report shows them.
FIGURES = {"wall": "wall s", "cpu": "CPU s", "memory": "peak MiB"}


@dataclass
class Case:
    """Commands that are started together, and what has to be done before and checked after."""

    name: str
    commands: list[list[str]]
    fresh: list[str]
    """Folders that are empty when the clock starts."""
    check: Callable[[], None] = lambda: None
    environment: dict[str, str] = field(default_factory=dict)
    stdin: list[str] = field(default_factory=list)
    """Files that are fed to the (only) command's standard input, one after the other."""
    then_sync: str = ""
    """A folder whose file system is synced before the clock stops."""


@dataclass
class Result:
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def median(self, figure: str) -> float:
        return statistics.median(getattr(self, figure))

    def range(self, figure: str) -> tuple[float, float]:
        return min(getattr(self, figure)), max(getattr(self, figure))


def build() -> str:
    """The program as it ships."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], check=True)
    return os.path.abspath("target/release/keyrung")


def build_local() -> str:
    """Without AWS and the server, of which local jobs use nothing: built in a third of the time."""
    target = "target/bench/local"
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--no-default-features", "--target-dir", target]
    subprocess.run(command, check=True)
    return os.path.abspath(f"{target}/release/keyrung")


@contextlib.contextmanager
def workplace(disk: str | None, needed: int):
    """A folder for inputs and outputs that goes away afterwards: on a tmpfs, unless a disk is asked for."""
    if disk:
        base = disk
    else:
        base = "/dev/shm"
        kind = subprocess.run(["stat", "-f", "-c", "%T", base], capture_output=True, text=True).stdout.strip()
        if kind != "tmpfs":
            sys.exit("error: /dev/shm is no tmpfs\nhint: mount one and name it with --disk DIR")
    free = shutil.disk_usage(base).free
    if free < needed:
        sys.exit(f"error: {base} has {free >> 20} MiB free, and {needed >> 20} are needed")
    with tempfile.TemporaryDirectory(prefix="keyrung-bench-", dir=base) as work:
        yield work


class Peak(threading.Thread):
    """The most memory that processes had, together, in MiB. The kernel's own count of a child's peak, ru_maxrss, begins
    with what its parent had; looking costs time, so it is done in the round that is not counted."""

    def __init__(self, processes: list[int]):
        super().__init__()
        self.most = dict.fromkeys(processes, 0)
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.done.wait(0.002):
            for process in self.most:
                try:
                    with open(f"/proc/{process}/status") as status:
                        found = re.search(r"VmHWM:\s*(\d+)", status.read())
                except OSError:
                    continue
                if found:
                    self.most[process] = max(self.most[process], int(found[1]))

    def end(self) -> float:
        self.done.set()
        self.join()
        return sum(self.most.values()) / 1024


def run(case: Case, result: Result, counted: bool) -> None:
    for folder in case.fresh:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    environment = os.environ | case.environment
    log = tempfile.TemporaryFile()
    feeder = subprocess.Popen(["cat", *case.stdin], stdout=subprocess.PIPE) if case.stdin else None
    start = time.perf_counter()
    running = {}
    for command in case.commands:
        stdin = feeder.stdout if feeder else subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, env=environment)
        running[process.pid] = process
    peak = None if counted else Peak(list(running))
    cpu = 0.0
    for process in running.values():
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu += usage.ru_utime + usage.ru_stime
    if case.then_sync:
        subprocess.run(["sync", "-f", case.then_sync], check=True)
    wall = time.perf_counter() - start
    if feeder:
        feeder.stdout.close()
        feeder.wait()
    if any(process.returncode for process in running.values()):
        log.seek(0)
        sys.exit(f"error: {case.name} failed:\n{log.read().decode(errors='replace')[-4000:]}")
    if counted:
        result.wall.append(wall)
        result.cpu.append(cpu)
    if peak:
        result.memory.append(peak.end())


def touch(folder: str, size: int) -> None:
    """Has the kernel fetch `size` bytes of memory and free them. The host of a virtual machine takes back what is free;
    without this, whoever comes after a pause or a small case pays for getting it again, and the next one has it."""
    block = b"\0" * (1 << 20)
    with tempfile.TemporaryFile(dir=folder) as scratch:
        for _ in range(size >> 20):
            scratch.write(block)


def drop_caches() -> None:
    """Empties the page cache, as root."""
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w") as drop:
        drop.write("3\n")


def in_turn(cases: list[Case], runs: int, ready: Callable[[], None] = lambda: None) -> dict[str, Result]:
    """Every case once to warm up and be checked, then all of them in turn, `runs` times, each time beginning with
    another one, so that none has the same one before it always. `ready` is called before each."""
    results = {case.name: Result() for case in cases}
    for number in range(runs + 1):
        first = number * len(cases) // (runs + 1)
        for case in cases[first:] + cases[:first]:
            ready()
            run(case, results[case.name], counted=number > 0)
            if number == 0:
                case.check()
            for folder in case.fresh:
                shutil.rmtree(folder, ignore_errors=True)
        print(f"round {number} of {runs}: " + ", ".join(
            f"{name} {result.wall[-1]:.3f}" for name, result in results.items() if result.wall
        ), flush=True)
    return results
