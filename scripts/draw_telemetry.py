"""Draws the tables of docs/telemetry.md from what is declared: `python -m scripts.draw_telemetry`."""

from pathlib import Path

from scripts import drawing
from shared.telemetry import FIELDS, METRICS, SPANS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "telemetry.md"
BEGIN = "<!-- {name}: drawn by scripts/draw_telemetry.py; a test compares -->\n"


def _table(*rows: tuple[str, ...]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


def tables() -> dict[str, str]:
    """Name of a place in the page → its table."""
    events = sorted((event.value, _code(tuple(fields))) for event, fields in FIELDS.items())
    metrics = [(f"`{name}`", one.kind, one.unit, one.what, _code(one.attributes)) for name, one in METRICS.items()]
    spans = [(f"`{name}`", what, _code(attributes)) for name, (what, attributes) in SPANS.items()]
    return {
        "events": _table(("event", "fields"), *((f"`{event}`", fields) for event, fields in events)),
        "metrics": _table(("metric", "kind", "unit", "of", "attributes"), *metrics),
        "spans": _table(("span", "is", "attributes"), *spans),
    }


def drawn(page: str) -> str:
    """The page with its tables made anew."""
    return drawing.drawn(page, BEGIN, tables())


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
