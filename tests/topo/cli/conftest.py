"""The command line, run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from topo.cli import main


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON; nothing else may stand there."""
        return json.loads(self.out)

    @property
    def problem(self) -> str:
        """The one line on standard error of a command that refused."""
        assert self.out == ""
        assert self.err.count("\n") == 1 and self.err.endswith("\n")
        assert self.err.startswith("topo: ")
        return self.err


@pytest.fixture
def topo(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run ``topo`` with some arguments."""

    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Said(left.value.code, captured.out, captured.err)

    return run
