"""Loads the key server as many viewers do, beside nginx with a static file of 16 bytes. See scripts/load."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import keystore  # noqa: E402
import tokens  # noqa: E402
from server import Keyrung, fetch, nginx, wrk  # noqa: E402

# What is promised on two cores that the load maker shares: answers a second, and milliseconds for 99 of 100.
LEAST = {"signed": 50_000, "es256": 10_000}
P99_MS = 5.0
# How much more memory the server may have after the load than after every key was opened once.
GROWTH = 1.10

# What would stop one client that plays a thousand viewers. Rates are kept and looked at as they always are, and are such
# that nobody is stopped by them.
LIMITS = """
[limits]
connections = 2048
connections_per_client = 0
client_rate = 1000000
client_burst = 1000000
subject_rate = 1000000
subject_burst = 1000000
"""


def lines(path: str, requests: list[str]) -> str:
    with open(path, "w") as file:
        file.write("\n".join(requests) + "\n")
    return path


def check(server: Keyrung, keys: list[tuple[str, str, bytes]], request) -> None:
    """The right bytes for who may have them, and nothing for others."""
    for key_id, content_id, key in keys[:: max(1, len(keys) // 50)]:
        target, _, token = request(key_id, content_id).partition(" ")
        status, body = fetch(server.url + target, token)
        if status != 200 or body != key:
            raise SystemExit(f"error: key {key_id} was answered with {status}: {body[:200]!r}")
        status, body = fetch(server.url + f"/v1/keys/{key_id}")
        if status == 200 or key in body:
            raise SystemExit(f"error: key {key_id} was given to nobody in particular: {status}")


def warm(server: Keyrung, path: str, count: int, options) -> float:
    """Has every key asked for; the seconds until all were opened."""
    began = time.monotonic()
    while server.figures().get("opened", 0) < count:
        if time.monotonic() - began > 300:
            raise SystemExit(f"error: not all keys could be opened: {server.figures()}")
        wrk(server.url, path, 2, options.connections, options.threads)
    return time.monotonic() - began


def load(name: str, server: Keyrung, path: str, options) -> dict:
    # The log is written as it always is; what a run has written is not kept.
    os.truncate(server.audit, 0)
    before = server.cpu_seconds()
    result = wrk(server.url, path, options.seconds, options.connections, options.threads)
    result["name"], result["memory_mib"] = name, round(server.memory_mib(), 1)
    result["log_mib"] = round(os.path.getsize(server.audit) / (1 << 20))
    result["cpu_us_per_request"] = round((server.cpu_seconds() - before) / max(1, result["requests"]) * 1e6, 2)
    print(row(result), flush=True)
    return result


def row(result: dict) -> str:
    failed = result["not_ok"] + result["socket_errors"] + result["timeouts"]
    memory = f"{result['memory_mib']:7.1f} MiB" if "memory_mib" in result else " " * 11
    return (
        f"{result['name']:<22} {result['per_second']:>8} /s   p50 {result['p50_us'] / 1000:6.2f} ms   "
        f"p99 {result['p99_us'] / 1000:6.2f} ms   {failed} failed   {memory}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/load")
    parser.add_argument("--short", action="store_true", help="2,000 keys, 3 s each, no least figures")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--contents", type=int, default=1_000, help="contents that the keys are of (default 1000)")
    parser.add_argument("--seconds", type=int, default=20, help="length of a run (default 20)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="threads of wrk (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server, in turn; the median counts (default 3)")
    parser.add_argument("--keyrung", metavar="PATH", help="measure that program instead of a fresh release build")
    options = parser.parse_args()
    if options.short:
        options.keys, options.contents, options.seconds, options.rounds = 2_000, 20, 3, 1

    program = os.path.abspath(options.keyrung) if options.keyrung else None
    if not program:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], check=True)
        program = os.path.abspath("target/release/keyrung")

    os.makedirs("target/load", exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="keyrung-load-", dir="/dev/shm") as work:
        home = os.path.join(work, "home")
        began = time.monotonic()
        keys = keystore.fill(home, options.keys, options.contents)
        print(f"{options.keys} keys were sealed in {time.monotonic() - began:.1f} s", flush=True)
        signed, es256 = tokens.Signed(work), tokens.Es256(work)
        paths = {
            "nginx": lines(os.path.join(work, "nginx.txt"), ["/key"]),
            "signed": lines(os.path.join(work, "signed.txt"), [signed.request(k, c) for k, c, _ in keys]),
            "es256": lines(os.path.join(work, "es256.txt"), [es256.request(k, c) for k, c, _ in keys]),
            "es256, every one new": lines(os.path.join(work, "fresh.txt"), [es256.fresh(k, c) for k, c, _ in keys]),
        }
        settings = f'key_store = "{home}/keys"\n{LIMITS}'
        environment = {"KEYRUNG_HOME": home}
        results, memory, opened = [], {}, {}
        with (
            nginx(work) as nginx_url,
            Keyrung(program, work, "signed", settings + signed.settings(), environment) as by_url,
            Keyrung(program, work, "es256", settings + es256.settings(), environment) as by_token,
        ):
            servers = {"signed": (by_url, signed.request), "es256": (by_token, es256.request)}
            for name, (server, request) in servers.items():
                check(server, keys, request)
                seconds = warm(server, paths[name], options.keys, options)
                opened[name], memory[name] = seconds, server.memory_mib()
                print(f"{name}: all keys opened under load in {seconds:.0f} s, {memory[name]:.1f} MiB", flush=True)
            for _ in range(options.rounds):
                result = wrk(nginx_url, paths["nginx"], options.seconds, options.connections, options.threads)
                results.append({**result, "name": "nginx"})
                print(row(results[-1]), flush=True)
                for name, (server, _) in servers.items():
                    results.append(load(name, server, paths[name], options))
            grown = {name: server.memory_mib() / memory[name] for name, (server, _) in servers.items()}
            # Each run shows every token several times: what is remembered of tokens and of who showed them is full after the
            # first two.
            fresh = "es256, every one new"
            runs = [load(fresh, by_token, paths[fresh], options) for _ in range(options.rounds + 1)]
            results += runs
            grown[fresh] = runs[-1]["memory_mib"] / runs[len(runs) // 2]["memory_mib"]
            figures = {name: server.figures() for name, (server, _) in servers.items()}

    def median(name: str, figure: str) -> float:
        return statistics.median(r[figure] for r in results if r["name"] == name)

    def failed(result: dict) -> int:
        return result["not_ok"] + result["socket_errors"] + result["timeouts"]

    complaints = [f"{r['name']}: {failed(r)} requests failed" for r in results if failed(r)]
    summary = {}
    for name in LEAST:
        rate, p99 = median(name, "per_second"), median(name, "p99_us") / 1000
        ratio = rate / median("nginx", "per_second")
        summary[name] = {"per_second": rate, "p99_ms": p99, "of_nginx": round(ratio, 2)}
        summary[name]["memory_growth"] = round(grown[name], 3)
        print(f"{name}: {rate:.0f} answers a second, p99 {p99:.2f} ms, {ratio:.2f} of nginx with a static file, memory x {grown[name]:.2f}")
        if options.short:
            continue
        if rate < LEAST[name]:
            complaints.append(f"{name}: {rate:.0f} a second, {LEAST[name]} are promised")
        if p99 > P99_MS:
            complaints.append(f"{name}: p99 is {p99:.2f} ms, {P99_MS} are promised")
    complaints += [f"{name}: memory grew to {by:.2f} of what it was" for name, by in grown.items() if by > GROWTH]
    report = {
        "keys": options.keys, "contents": options.contents, "connections": options.connections, "cores": os.cpu_count(),
        "summary": summary, "runs": results, "vault": figures, "opened_in_seconds": opened,
        "memory_mib_when_all_open": memory, "complaints": complaints,
    }
    with open("target/load/report.json", "w") as file:
        json.dump(report, file, indent=2)
    for complaint in complaints:
        print(f"error: {complaint}", file=sys.stderr)
    print("target/load/report.json")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
