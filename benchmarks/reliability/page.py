"""The results as docs/reliability.md, and as one line of JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["counts", "write_page"]

Result = Mapping[str, object]
_MARK = "<!-- below this line the page is written by `make reliability` -->\n"


def counts(results: Sequence[Result]) -> dict[str, int]:
    """What is promised to be zero, and of how many."""

    def n(group: str, wrong: str = "") -> int:
        return sum(result["group"] == group and (not wrong or result["wrong"] == wrong) for result in results)

    return {
        "faults": n("fault"),
        "lost": n("fault", "lost"),
        "bad_inputs": n("bad input"),
        "tracebacks": sum(result["wrong"] == "traceback" for result in results),
        "hostile": n("hostile"),
        "got_in": n("hostile", "got in"),
        "silent": sum(result["wrong"] == "silent" for result in results),
    }


def write_page(path: Path, results: Sequence[Result], *, seed: int, seconds: float) -> None:
    """Fill the page below its introduction, which stays."""
    head = path.read_text(encoding="utf-8").partition(_MARK)[0]
    found = counts(results)
    lines = [
        f"Seed {seed}, Python {platform.python_version()}, {platform.system()}, {seconds / 60:.0f} min for the cases "
        "that were run last.",
        "",
        "| | tried | wrong |",
        "|---|---:|---|",
        f"| faults in the middle of a run | {found['faults']} | {found['lost']} lost |",
        f"| bad inputs | {found['bad_inputs']} | {found['tracebacks']} tracebacks or internal errors |",
        f"| hostile files and names | {found['hostile']} | {found['got_in']} got in |",
        f"| all of them | {len(results)} | {found['silent']} accepted in silence |",
        "",
        *_latency(results),
        "| group | kind | tried | right | wrong |",
        "|---|---|---:|---:|---:|",
    ]
    for group, kind in dict.fromkeys((result["group"], result["kind"]) for result in results):
        own = [result for result in results if (result["group"], result["kind"]) == (group, kind)]
        n_wrong = sum(bool(result["wrong"]) for result in own)
        lines.append(f"| {group} | {kind} | {len(own)} | {len(own) - n_wrong} | {n_wrong} |")
    wrong = [result for result in results if result["wrong"]]
    if wrong:
        lines += ["", "What went wrong:", ""]
        lines += [f"- {r['wrong']}: {r['group']}, {_plain(r['name'])}: {_plain(r['said'])}" for r in wrong]
    path.write_text(head + _MARK + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _latency(results: Sequence[Result]) -> list[str]:
    """How long signals took to end a command."""
    lines = []
    for kind in ("Ctrl-C", "Ctrl-C in other commands", "SIGTERM", "SIGHUP"):
        seconds = sorted(float(str(r["seconds"])) for r in results if r["kind"] == kind and r["seconds"] is not None)
        if seconds:
            middle = seconds[len(seconds) // 2]
            lines.append(f"- {kind}, {len(seconds)} times: {middle:.2f} s in the middle, {seconds[-1]:.2f} s at most.")
    return [*lines, ""] if lines else []


def _plain(text: object) -> str:
    return " ".join(ascii(str(text))[1:-1].replace("|", "/").split())[:300]
