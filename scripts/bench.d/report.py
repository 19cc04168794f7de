"""The figures of a run, for the terminal, as JSON, and as one page with a chart."""

import html
import json
import os
import platform
import re
import subprocess
import time

from measure import FIGURES, Result

# The most of a peer's median that keyrung may take: (figure, peer, ratio).
TARGETS = [
    ("wall", "ffmpeg, one process", 1 / 15),
    ("wall", "ffmpeg, five side by side", 1 / 8),
    ("wall", "ffmpeg 8.1, one process", 1 / 10),
    ("wall", "ffmpeg 8.1, five side by side", 1 / 5.5),
    ("wall", "shaka-packager 3.8", 1 / 8),
    ("cpu", "ffmpeg, five side by side", 1 / 7),
]

# The same for what is measured more often: (figure, case, peer, ratio).
CLOSE_TARGETS = [
    ("wall", "keyrung", "cp", 1.15),
    ("wall", "BLAKE3", "keyrung", 1.15),
]

STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5b6876; --paper: #fff; --line: #d9dfe6; --us: #0b7a55; --them: #9aa7b5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf1; --soft: #9aa7b5; --paper: #14181d; --line: #2c343d; --us: #35c08d; --them: #5b6876; }
}
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 13rem; }
.soft { color: var(--soft); } svg { width: 100%; height: auto; } svg text { fill: var(--ink); font: 14px system-ui, sans-serif; }
pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--line); border-radius: 6px; }
"""


def first_line(*command: str) -> str:
    try:
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        return lines[0] if lines else ""
    except FileNotFoundError:
        return "not there"


def machine(work: str) -> dict[str, str]:
    cpu = re.search(r"Model name:\s*(.*)", subprocess.run(["lscpu"], capture_output=True, text=True).stdout)
    flags = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
    memory = re.search(r"MemTotal:\s*(\d+)", open("/proc/meminfo").read())
    return {
        "CPU": cpu[1] if cpu else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        # What the AES and checksum libraries can use: their wide paths want both.
        "instructions": ", ".join(name for name in ("aes", "vaes", "pclmulqdq", "vpclmulqdq", "avx2", "avx512f") if f" {name} " in flags),
        "memory": f"{int(memory[1]) >> 20} GiB" if memory else "?",
        "kernel": platform.release(),
        "file system": first_line("stat", "-f", "-c", "%T", work),
        "ffmpeg": first_line("ffmpeg", "-version"),
        "openssl": first_line("openssl", "version"),
        "rustc": first_line("rustc", "--version"),
        "date": time.strftime("%Y-%m-%d"),
    }


def row(name: str, result: Result, base: Result) -> list[str]:
    cells = [name]
    for figure in FIGURES:
        low, high = result.range(figure)
        digits = 0 if figure == "memory" else 3
        cells.append(f"{result.median(figure):.{digits}f}")
        cells.append(f"{low:.{digits}f} to {high:.{digits}f}")
        cells.append(f"{result.median(figure) / max(base.median(figure), 1e-9):.2f}")
    return cells


HEAD = ["", *[title for figure in FIGURES.values() for title in (figure, "min to max", "ratio")]]


def text_table(rows: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    lines = []
    for line in rows:
        cells = [cell.ljust(width) if not n else cell.rjust(width) for n, (cell, width) in enumerate(zip(line, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def verdict(what: str, ratio: float, most: float) -> list[str]:
    limit = f"{most:.2f}" if most >= 1 else f"1/{1 / most:g}"
    shown = f"{ratio:.3f}" if ratio >= 0.5 else f"1/{1 / ratio:.1f}"
    return [what, shown, limit, "met" if ratio <= most else "not met"]


def verdicts(results: dict[str, Result], near: dict[str, Result]) -> list[list[str]]:
    rows = []
    for figure, case, peer, most in CLOSE_TARGETS:
        ratio = near[case].median(figure) / near[peer].median(figure)
        rows.append(verdict(f"{FIGURES[figure]} of {case} beside {peer}", ratio, most))
    for figure, peer, most in TARGETS:
        if peer in results:
            ratio = results["keyrung"].median(figure) / results[peer].median(figure)
            rows.append(verdict(f"{FIGURES[figure]} beside {peer}", ratio, most))
    memory = results["keyrung"].median("memory")
    rows.append(["peak memory", f"{memory:.0f} MiB", "48 MiB", "met" if memory <= 48 else "not met"])
    return rows


def chart(results: dict[str, Result]) -> str:
    ordered = sorted(results.items(), key=lambda one: one[1].median("wall"))
    longest = max(result.median("wall") for _, result in ordered)
    bars = []
    for number, (name, result) in enumerate(ordered):
        y, wall = 34 * number, result.median("wall")
        width = max(2, 520 * wall / longest)
        colour = "var(--us)" if name == "keyrung" else "var(--them)"
        bars.append(
            f'<text x="0" y="{y + 20}">{html.escape(name)}</text>'
            f'<rect x="290" y="{y + 4}" width="{width:.1f}" height="22" rx="3" fill="{colour}"/>'
            f'<text x="{296 + width:.1f}" y="{y + 20}">{wall:.2f} s</text>'
        )
    label = "Median wall clock of each program"
    return f'<svg viewBox="0 0 900 {34 * len(ordered) + 4}" role="img" aria-label="{label}">{"".join(bars)}</svg>'


def html_table(rows: list[list[str]]) -> str:
    def cells(line: list[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line)

    body = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in rows[1:])
    return f'<div class="scroll"><table><thead><tr>{cells(rows[0], "th")}</tr></thead><tbody>{body}</tbody></table></div>'


def write(folder: str, results: dict[str, Result], judged: list[list[str]], groups: list, work: str) -> None:
    """`judged`: what `verdicts` says, where the targets are meant for what was measured."""
    os.makedirs(folder, exist_ok=True)
    about = machine(work)
    base = results["keyrung"]
    main = [HEAD, *(row(name, result, base) for name, result in results.items())]
    parts = [("The contest", main)]
    if judged:
        parts.append(("Targets", [["target", "measured", "at most", ""], *judged]))
    for group, found in groups:
        first = next(iter(found.values()))
        parts.append((group.title, [HEAD, *(row(name, result, first) for name, result in found.items())]))

    for title, rows in parts:
        print(f"\n{title}\n{text_table(rows)}")
    everything = {"machine": about, "contest": {name: vars(result) for name, result in results.items()}}
    everything["groups"] = {group.title: {name: vars(r) for name, r in found.items()} for group, found in groups}
    with open(os.path.join(folder, "report.json"), "w") as file:
        json.dump(everything, file, indent=1)

    sections = "".join(f"<h2>{html.escape(title)}</h2>{html_table(rows)}" for title, rows in parts)
    described = html.escape("\n".join(f"{name}: {value}" for name, value in about.items()))
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>keyrung beside its peers</title>'
        f"<style>{STYLE}</style><h1>keyrung beside its peers</h1>"
        '<p class="soft">A ladder of five renditions, 10 minutes; the same files for all, in turn, page cache warm. '
        "Medians of whole processes. Ratios are to the first row.</p>"
        f"{chart(results)}{sections}<h2>The machine</h2><pre>{described}</pre></html>"
    )
    with open(os.path.join(folder, "report.html"), "w") as file:
        file.write(page)
    print(f"\nwritten: {folder}/report.html and report.json")
