"""Commands as functions: what they may be given, and the record that comes out.

A sweep runs any command that prints one JSON object, by running it.  Its parameters are the command's own options, and
a point's inputs are what click makes of them, defaults included.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import lru_cache
from importlib import import_module
from typing import Any

import click

from topo.cli import experiments
from topo.cli.group import COMMANDS
from topo.errors import SweepError
from topo.sweep.point import Point
from topo.sweep.spec import bad_parameter

RECORDS = ("run", "bound", "step", "search", "place")
"""Commands whose ``--json`` is one flat record; those of them that are installed can be swept."""
_NOT_AN_INPUT = ("as_json", "output", "timeline", "figure")
_OUTPUT = threading.RLock()


def sweepable() -> list[str]:
    """The commands and experiments that can be swept."""
    return [*(name for name in RECORDS if name in COMMANDS), *experiments.names()]


@lru_cache(maxsize=64)
def _command(name: str) -> click.Command:
    command: click.Command = import_module(f"topo.cli.{name}").command
    return command


@lru_cache(maxsize=64)
def parameters(name: str) -> dict[str, click.Parameter]:
    """The parameters of a command by the names that the command line gives them."""
    found: dict[str, click.Parameter] = {}
    for parameter in _command(name).params:
        if parameter.name in _NOT_AN_INPUT or parameter.name is None:
            continue
        if isinstance(parameter, click.Option):
            found[max(parameter.opts, key=len).lstrip("-")] = parameter
        else:
            found[parameter.name.replace("_", "-")] = parameter
    return found


def point_of(name: str, inputs: Mapping[str, Any]) -> Point:
    """The point of a command or experiment with all its inputs.

    Raises
    ------
    SweepError
        A parameter that the command does not have, one that is missing, or a value of a wrong kind.
    """
    if name not in RECORDS:
        return experiments.point_of(name, inputs)
    parsed = _context(name, inputs).params
    return Point.of(name, {key: parsed[parameter.name] for key, parameter in parameters(name).items()})


def call(name: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run a command, or measure a point of an experiment, and give its record.

    Raises
    ------
    TopoError
        What the command refuses.
    """
    if name not in RECORDS:
        return experiments.call(name, inputs)
    context = _context(name, inputs)
    said, problem = io.StringIO(), ""
    with _OUTPUT, redirect_stdout(said), redirect_stderr(io.StringIO()):
        try:
            context.command.invoke(context)
        except click.ClickException as refused:
            problem = refused.format_message()
        except click.exceptions.Exit:
            pass
    if problem:
        raise SweepError(problem)
    record = json.loads(said.getvalue())
    if not isinstance(record, dict):
        raise SweepError(f"topo {name} prints no single record", "sweep another command")
    return record


def _context(name: str, inputs: Mapping[str, Any]) -> click.Context:
    command = _command(name)
    arguments = ["--json"]
    positional: dict[str, list[str]] = {}
    known = parameters(name)
    for key, value in inputs.items():
        parameter = known.get(key.replace("_", "-"))
        if parameter is None:
            raise bad_parameter(name, key, known)
        if value is None or value == []:
            continue
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        if isinstance(parameter, click.Argument):
            positional[key] = [str(entry) for entry in values]
        else:
            arguments += _option(name, parameter, key, values)
    arguments.append("--")
    arguments += [text for key in known for text in positional.get(key, ())]
    try:
        return command.make_context(f"topo {name}", arguments)
    except click.ClickException as refused:
        raise SweepError(
            f"{name}: {refused.format_message().rstrip('.')}", f"see topo {name} --help"
        ) from None


def _option(name: str, parameter: click.Parameter, key: str, values: list[Any]) -> list[str]:
    assert isinstance(parameter, click.Option)
    option = max(parameter.opts, key=len)
    if parameter.is_flag:
        if not all(isinstance(value, bool) for value in values):
            raise SweepError(f"{key!r} of {name!r} is true or false, not {values[0]!r}", f"write {key}: true")
        if values[-1]:
            return [option]
        return [max(parameter.secondary_opts, key=len)] if parameter.secondary_opts else []
    return [f"{option}={value}" if option.startswith("--") else f"{option}{value}" for value in values]
