"""Writes docs/performance.md and its curves from the JSON of a run: `python -m bench.docs JSON`.

The words are in `performance.template`; the tables are made here. The JSON is kept beside the curves.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from bench.report import figure
from bench.svg import chart

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "performance"
LATEST = FOLDER / "latest.json"

Row = Mapping[str, Any]

#: The curves by the picture in which they are, and what each is called there.
CHARTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "orders": ("Orders and polls, p95", {"growth_accept": "order", "growth_poll": "poll", "growth_balance": "balance"}),
    "lists": (
        "First pages of lists, p95",
        {
            "growth_list": "projects",
            "growth_list_entries": "entries",
            "growth_list_explore": "Explore",
            "growth_list_admin": "all generations",
        },
    ),
    "workers": ("Claim and sweep, p95", {"growth_claim": "claim", "growth_sweep": "sweep"}),
}

_MET = {True: "met", False: "**missed**"}


def write(source: Path) -> None:
    """Write the page and its pictures from this JSON, and keep it as the latest."""
    if failed := json.loads(source.read_text())["how"]["failed"]:
        raise SystemExit(f"This run is not whole: {', '.join(failed)} could not be measured.")
    FOLDER.mkdir(exist_ok=True)
    if source.resolve() != LATEST.resolve():
        shutil.copyfile(source, LATEST)
    for path, text in pages(json.loads(source.read_text())).items():
        path.write_text(text)


def pages(run: Mapping[str, Any]) -> dict[Path, str]:
    """Return the page and its pictures by where they belong."""
    rows, machine, how = run["rows"], run["machine"], run["how"]
    pictures = {FOLDER / f"{name}.svg": picture for name, picture in _pictures(rows)}
    aimed = [row for row in rows if row["target"]]
    words = {
        "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
        "rounds": f"{how['rounds']} round{'s' if how['rounds'] > 1 else ''}",
        "seconds": f"{how['seconds']:g}",
        "verdict": f"{sum(row['met'] for row in aimed)} of {len(aimed)} targets are met.",
        "targets": _table(("what", "against", "target", "found", "spread", ""), map(_aimed, aimed)),
        "figures": _table(("what", "figure", "ours", "peer", "theirs", "ratio", "more"), map(_measured, rows)),
        "curves": "\n\n".join(f"![{CHARTS[path.stem][0]}](performance/{path.name})" for path in pictures),
    }
    template = Template((Path(__file__).parent / "performance.template").read_text())
    return {PAGE: template.substitute(words), **pictures}


def _pictures(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    by_name = {row["name"]: row["more"] for row in rows}
    for picture, (title, names) in CHARTS.items():
        curves = {
            label: {int(key.removeprefix("at_")): value for key, value in by_name[name].items()}
            for name, label in names.items()
            if name in by_name
        }
        if curves:
            yield picture, chart(title, curves)


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [" | ".join(heads), "|".join("---" for _ in heads), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def _aimed(row: Row) -> Sequence[str]:
    found = f"{row['ratio']:.2f}" if row["target"].startswith("ratio") else _with_unit(row["value"], row["unit"])
    return _name(row), row["against"] or "", row["target"], found, f"{row['spread']:.0%}", _MET[row["met"]]


def _measured(row: Row) -> Sequence[str]:
    theirs = "" if row["peer_value"] is None else _with_unit(row["peer_value"], row["unit"])
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.3f}"
    more = ", ".join(f"{name} {value}" for name, value in row["more"].items())
    return (
        f"`{row['name']}`",
        row["figure"],
        _with_unit(row["value"], row["unit"]),
        row["against"] or "",
        theirs,
        ratio,
        more,
    )


def _name(row: Row) -> str:
    return f"`{row['name']}`" if row["figure"] == "rate" else f"`{row['name']}`, {row['figure']}"


def _with_unit(value: float, unit: str) -> str:
    return f"{figure(value)} {unit}"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
