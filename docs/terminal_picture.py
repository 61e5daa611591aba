"""A terminal recording as one static SVG: `python docs/terminal_picture.py OUT.svg 96 mibias compare runs/a runs/b`.

The command runs on a terminal of so many columns; what stands on it at the end is the picture, drawn by Rich.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

_CODES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def recorded(command: list[str], columns: int) -> str:
    """Everything that a command writes to a terminal of so many columns, control codes included."""
    parent, child = pty.openpty()
    surroundings = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR")}
    surroundings |= {"COLUMNS": str(columns), "LINES": "50", "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=surroundings) as process:
        os.close(child)
        output = bytearray()
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # how Linux says that nobody writes any more
                break
            if not part:
                break
            output += part
    os.close(parent)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with exit code {process.returncode}")
    return output.decode(errors="replace")


def on_screen(output: str) -> str:
    r"""The lines that stand there at the end: bars that were drawn over are gone, colours stay.

    Example:
        >>> on_screen("bar 1\r\x1b[2Kbar 2\r\n\x1b[1A\r\x1b[2K\x1b[32mdone\x1b[0m\r\n")
        '\x1b[32mdone\x1b[0m\n'
    """
    lines, row = [""], 0
    for part in re.split(r"(\r\n|\n|\r|\x1b\[[0-9;?]*[A-Za-z])", output):
        code = _CODES.fullmatch(part)
        if part in ("\r\n", "\n"):
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif code is not None and code.group(2) == "A":
            row = max(0, row - int(code.group(1) or 1))
        elif code is not None and code.group(2) == "K":
            lines[row] = ""
        elif part != "\r" and (code is None or code.group(2) == "m"):
            lines[row] += part
    return "\n".join(lines)


def picture(command: str, screen: str, columns: int) -> str:
    """The command and what it printed as an SVG that loads nothing from elsewhere."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {command}", style="bold"), soft_wrap=False)
    console.print(Text.from_ansi(screen.rstrip("\n")), soft_wrap=False)
    svg = console.export_svg(title="mibias", unique_id="terminal")
    # Rich names a web font first; the reader's own one will do
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, ", "")


def main() -> None:
    out, columns, *command = sys.argv[1:]
    screen = on_screen(recorded(command, int(columns)))
    Path(out).write_text(picture(shlex.join(command), screen, int(columns)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
