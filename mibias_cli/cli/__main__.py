"""`python -m mibias_cli.cli` is `mibias`."""

from __future__ import annotations

from mibias_cli.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
