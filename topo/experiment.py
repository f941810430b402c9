"""Experiments: one question a file, its parameters, how a point is measured, and what the records come to."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from topo.errors import ReportError, SweepError
from topo.report.chart import Chart
from topo.sweep.evaluate import OK
from topo.sweep.point import Point
from topo.sweep.spec import bad_parameter

Record = Mapping[str, Any]
PARTS = ("Question", "Method", "Falsified if")


@dataclass(frozen=True)
class Parameter:
    """Something that an experiment varies.

    Parameters
    ----------
    name : str
        As on the command line, such as ``domain``.
    default : tuple
        Values that are run when none are given; they end within a minute.
    help : str
        One line, with the unit.
    """

    name: str
    default: tuple[Any, ...]
    help: str

    @property
    def kind(self) -> type:
        """str, float or int, as the default values are."""
        kinds = {type(value) for value in self.default if value is not None}
        return float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else str

    def read(self, value: Any) -> Any:
        """A value as this parameter wants it.

        Raises
        ------
        SweepError
            A value of another kind.
        """
        if value is None or isinstance(value, self.kind):
            return value
        try:
            if self.kind is bool or (
                self.kind is int and isinstance(value, float) and not value.is_integer()
            ):
                raise ValueError
            return self.kind(value)
        except (TypeError, ValueError):
            raise SweepError(
                f"{value!r} is no value for {self.name!r}", f"give one such as {self.default[0]!r}"
            ) from None


@dataclass(frozen=True)
class Finding:
    """What the records come to.

    Parameters
    ----------
    text : str
        One paragraph, written from the numbers.
    evidence : sequence of mapping
        The records that its numbers come from.
    """

    text: str
    evidence: Sequence[Record] = ()


@dataclass(frozen=True)
class Experiment:
    """A question and how it is answered.

    Parameters
    ----------
    doc : str
        The module's docstring: a title, then paragraphs that begin with ``Question:``, ``Method:`` and
        ``Falsified if:``.
    parameters : sequence of Parameter
    measure : callable
        From one value of each parameter, by name with underscores, to a flat record.  It must depend on nothing else.
    finding : callable
        From the records without errors, as :func:`results_of` gives them, to a Finding.
    charts : sequence of Chart
    """

    doc: str
    parameters: Sequence[Parameter]
    measure: Callable[..., Mapping[str, Any]]
    finding: Callable[[list[Record]], Finding]
    charts: Sequence[Chart] = field(default_factory=tuple)

    def part(self, name: str) -> str:
        """A paragraph of the docstring: ``Question``, ``Method`` or ``Falsified if``.

        Raises
        ------
        ReportError
            The docstring has none.
        """
        for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(self.doc)):
            head, colon, text = paragraph.partition(":")
            if colon and head == name:
                return " ".join(text.split())
        raise ReportError(
            f"the experiment's docstring has no paragraph {name}:", f"it needs {', '.join(PARTS)}"
        )

    @property
    def title(self) -> str:
        """First line of the docstring."""
        return self.doc.strip().splitlines()[0].rstrip(".")

    def values(
        self, given: Mapping[str, Sequence[Any]], name: str = "the experiment"
    ) -> dict[str, tuple[Any, ...]]:
        """The values of all parameters: those given, else their defaults; ``name`` is for messages."""
        known = {parameter.name: parameter for parameter in self.parameters}
        found = {name: parameter.default for name, parameter in known.items()}
        for key, values in given.items():
            parameter = key.replace("_", "-")
            if parameter not in known:
                raise bad_parameter(name, key, known)
            found[parameter] = tuple(known[parameter].read(value) for value in values)
        return found

    def point(self, name: str, inputs: Mapping[str, Any]) -> Point:
        """The point of some inputs, with the defaults of a single value; another way to measure is another point."""
        values = self.values({key: (value,) for key, value in inputs.items()}, name)
        several = [key for key, found in values.items() if len(found) > 1]
        if several:
            raise SweepError(f"{name} needs a value of {several[0]!r}", "name all its parameters")
        point = Point.of(name, {key: found[0] for key, found in values.items()})
        return Point(name, point.inputs, {**point.files, "measure": source_digest(self.measure)})

    def run(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Measure one point."""
        return self.measure(**{name.replace("-", "_"): value for name, value in inputs.items()})

    def conclude(self, records: Iterable[Record]) -> Finding:
        """The finding; where too few points succeeded for one, that is what it says."""
        good = results_of(records)
        if not good:
            return Finding("No point gave a result; see the errors of the records.")
        try:
            return self.finding(good)
        except (KeyError, IndexError, ValueError, ZeroDivisionError, StopIteration) as problem:
            return Finding(
                f"These {len(good)} records are too few for the finding "
                f"({type(problem).__name__}: {problem}); the charts and tables stand."
            )


def results_of(records: Iterable[Record]) -> list[Record]:
    """The records without errors, inputs under their own names where the results leave these free."""
    found: list[Record] = []
    for record in records:
        if record.get("outcome") == OK:
            inputs = {
                key.removeprefix("input_"): value for key, value in record.items() if key.startswith("input_")
            }
            found.append({**inputs, **record})
    return found


def where(records: Iterable[Record], **wanted: Any) -> list[Record]:
    """The records that have these values."""
    return [r for r in records if all(r.get(name) == value for name, value in wanted.items())]


def values_of(records: Iterable[Record], name: str) -> list[Any]:
    """The values of a column in the order of their first appearance."""
    return list(dict.fromkeys(record[name] for record in records if record.get(name) is not None))


def only(records: Iterable[Record], **wanted: Any) -> Record:
    """The one record that has these values; of several the first.

    Raises
    ------
    KeyError
        None has.
    """
    found = where(records, **wanted)
    if not found:
        raise KeyError(", ".join(f"{name}={value}" for name, value in wanted.items()))
    return found[0]


def source_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of a function's code and of everything of its module that it uses, directly or not.

    Comments, layout and the rest of the module do not matter, so that a better sentence in a finding does not
    compute a weekend again.
    """
    path = inspect.getsourcefile(function)
    if path is None:
        return ""
    defined: dict[str, ast.stmt] = {}
    for statement in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        for name in _names_defined(statement):
            defined[name] = statement
    wanted, seen = [function.__name__], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen or name not in defined:
            continue
        seen.add(name)
        wanted += [node.id for node in ast.walk(defined[name]) if isinstance(node, ast.Name)]
    text = "\n".join(ast.dump(defined[name]) for name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()


def _names_defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []
