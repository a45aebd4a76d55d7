"""What a benchmark says: one row a number, beside what it should reach and the baseline of the same run."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.console import Console
from rich.table import Table


class Row(Struct, frozen=True):
    """One figure. `target` in words, "–" for none; `baseline` in the same unit and run, None where there is none."""

    what: str
    unit: str
    value: float
    target: str
    reached: bool
    baseline: float | None = None
    ratio: float | None = None


def ratio_row(what: str, unit: str, value: float, baseline: float, at_least: float) -> Row:
    """A figure that must reach a share of its baseline."""
    ratio = round(value / baseline, 3)
    return Row(what, unit, value, f"≥ {at_least} × baseline", ratio >= at_least, baseline, ratio)


def print_rows(rows: Sequence[Row]) -> None:
    """The rows as a table."""
    table = Table("what", "figure", "unit", "baseline", "ratio", "target", "")
    for row in rows:
        table.add_row(
            row.what,
            f"{row.value:,.1f}",
            row.unit,
            "" if row.baseline is None else f"{row.baseline:,.1f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.target,
            "" if row.target == "–" else "reached" if row.reached else "MISSED",
        )
    Console(width=130).print(table)
