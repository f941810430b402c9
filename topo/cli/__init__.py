"""The command line: one command a file, imported only when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code: 0, 1 for a bug, 2 for bad input, 130 for Ctrl-C."""
    from topo.cli.group import topo
    from topo.cli.problems import exit_code

    sys.exit(exit_code(lambda: topo.main(arguments, prog_name="topo", standalone_mode=False)))
