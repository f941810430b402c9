"""Errors as people want them: one line on stderr that says what is wrong and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from topo.errors import InternalError, TopoError

BUG, BAD_INPUT, INTERRUPTED = 1, 2, 130


def exit_code(command: Callable[[], Any]) -> int:
    """Run a command; print what goes wrong as one line and return the exit code.

    With ``TOPO_DEBUG=1`` in the environment the error itself comes through, with its traceback.
    """
    debug = os.environ.get("TOPO_DEBUG", "") not in ("", "0")
    try:
        result = command()
    except click.Abort:
        return _complain("stopped", INTERRUPTED)
    except KeyboardInterrupt:
        return _complain("stopped", INTERRUPTED)
    except click.ClickException as problem:
        if debug:
            raise
        return _complain(f"error: {_usage(problem)}", BAD_INPUT)
    except InternalError as problem:
        if debug:
            raise
        return _complain(f"internal error: {problem}; this is a bug in topo, and no result is given", BUG)
    except TopoError as problem:
        if debug:
            raise
        return _complain(f"error: {problem}", BAD_INPUT)
    except MemoryError:
        if debug:
            raise
        return _complain(
            "error: not enough memory for this; take a smaller system, or fewer chunks", BAD_INPUT
        )
    except OSError as problem:
        if debug:
            raise
        where = f"{problem.filename}: " if problem.filename else ""
        return _complain(
            f"error: {where}{problem.strerror or problem}; check the path and its permissions", BAD_INPUT
        )
    except Exception as problem:
        if debug:
            raise
        what = f"{type(problem).__name__}: {problem}"
        return _complain(f"internal error: {what}; this is a bug in topo: TOPO_DEBUG=1 shows where", BUG)
    return result if isinstance(result, int) else 0


def _complain(message: str, code: int) -> int:
    click.echo(f"topo: {' '.join(message.split())}", err=True)
    return code


def _usage(problem: click.ClickException) -> str:
    """A click error in the style of a TopoError."""
    from topo.errors import nearest

    message = problem.format_message().rstrip(".")
    context = getattr(problem, "ctx", None)
    hint = f"see {context.command_path} --help" if context is not None else "see topo --help"
    if isinstance(problem, click.NoSuchOption):
        options = [name for p in (context.command.params if context else ()) for name in p.opts]
        return f"option {problem.option_name} is unknown; {nearest(problem.option_name, options) or hint}"
    if isinstance(problem, click.FileError):
        return message
    message = message[:1].lower() + message[1:]
    return message if ";" in message else f"{message}; {hint}"
