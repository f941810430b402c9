"""``topo list``: what there is to choose from."""

from __future__ import annotations

import click

from topo.cli.options import as_json, echo_json

KINDS = ("systems", "topologies", "algorithms", "operations")


@click.command(epilog="\b\nExamples:\n  topo list\n  topo list algorithms\n  topo list systems --json")
@click.argument("kind", metavar="[systems|topologies|algorithms|operations]", required=False)
@as_json
def command(kind: str | None, as_json: bool) -> None:
    """List systems, topologies, algorithms and operations, or one of these kinds."""
    from topo.errors import nearest

    if kind is not None and kind not in KINDS:
        raise click.UsageError(
            f"{kind!r} cannot be listed; {nearest(kind, KINDS) or 'one of ' + ', '.join(KINDS)}"
        )
    chosen = KINDS if kind is None else (kind,)
    found = {name: _entries(name) for name in chosen}
    if as_json:
        echo_json(found if kind is None else found[kind])
        return
    width = max(len(entry["name"]) for entries in found.values() for entry in entries) + 2
    for number, (name, entries) in enumerate(found.items()):
        if kind is None:
            click.echo(f"{chr(10) if number else ''}{name}")
        for entry in entries:
            indent = "  " if kind is None else ""
            click.echo(f"{indent}{entry['name']:<{width}}{entry['summary']}".rstrip())


def _entries(kind: str) -> list[dict[str, str]]:
    return {
        "systems": _systems,
        "topologies": _topologies,
        "algorithms": _algorithms,
        "operations": _operations,
    }[kind]()


def _systems() -> list[dict[str, str]]:
    from topologies import catalogue

    entries = []
    for name in catalogue.system_names():
        file = catalogue.describe(name)
        summary = f"{file.vendor} {file.title}; {file.status}"
        entries.append({"name": name, "summary": summary, "vendor": file.vendor, "status": file.status})
    return entries


def _topologies() -> list[dict[str, str]]:
    from topologies.registry import TOPOLOGIES

    return [
        {
            "name": t.name,
            "shape": t.grammar,
            "summary": f"{t.summary}; shape {t.grammar}, such as {t.examples[0]}",
            "keys": " ".join(key.name for key in t.keys),
        }
        for t in TOPOLOGIES.values()
    ]


def _algorithms() -> list[dict[str, str]]:
    from topo.algorithms import ALGORITHMS

    return [
        {"name": a.name, "summary": a.summary, "operations": " ".join(a.operations)}
        for a in ALGORITHMS.values()
    ]


def _operations() -> list[dict[str, str]]:
    from topo.collective import OPERATIONS

    return [{"name": name, "summary": MEANINGS[name]} for name in OPERATIONS]


MEANINGS = {
    "all-reduce": "every rank ends with the sum of all buffers; size: the buffer of each rank",
    "all-gather": "every rank ends with the shares of all; size: the gathered output",
    "reduce-scatter": "every rank ends with its share of the sum; size: the input of each rank",
    "all-to-all": "every rank sends a block to every other; size: the send buffer of each rank",
    "broadcast": "every rank ends with the root's buffer; size: that buffer",
    "reduce": "the root ends with the sum of all buffers; size: the buffer of each rank",
    "send-recv": "one rank sends its buffer to a peer; size: that buffer",
    "barrier": "nobody goes on before all have come; no size",
}
