"""Draws the plans into docs/rollover.md, from the data that the steps run by: `python -m scripts.draw_plans`."""

from datetime import timedelta
from pathlib import Path

from scripts import drawing
from shared.overdue import FOR_DEVICES, OF_BREACH, OF_EXPIRY
from shared.plans import ESTABLISHES, PLANS, Plan, Step

PAGE = Path(__file__).resolve().parents[1] / "docs" / "rollover.md"
BEGIN = "<!-- {name}: drawn from PLANS by scripts/draw_plans.py; a test compares -->\n"


def draw(plan: Plan) -> str:
    """A Mermaid state diagram of a plan, with what each step establishes below it."""
    steps = PLANS[plan]
    begins = "event or sweep" if plan.expires else "a person's call"
    lines = ["```mermaid", "stateDiagram-v2", "    direction TB", f"    [*] --> {steps[0]}: {begins}"]
    for step, following in zip(steps, (*steps[1:], "done"), strict=True):
        lines.append(f"    {step} --> {following}")
        lines.append(f"    {step} --> {step}: waits, looks again")
    lines += ["    done --> [*]", "```", "", "| step | what it establishes |", "|---|---|"]
    lines += [f"| `{step}` | {ESTABLISHES[step]} |" for step in steps]
    return "\n".join(lines)


def draw_budgets() -> str:
    """How long each step may wait before that is announced."""
    lines = ["| step | expiry | breach, `disallow`, `allow` |", "|---|---|---|"]
    for step in Step:
        cells = ["as long as devices are given" if step in FOR_DEVICES else _long(of.get(step)) for of in _BUDGETS]
        lines.append(f"| `{step}` | {' | '.join(cells)} |")
    return "\n".join(lines)


_BUDGETS = (OF_EXPIRY, OF_BREACH)


def _long(budget: timedelta | None) -> str:
    if budget is None:
        return "-"
    minutes = int(budget.total_seconds()) // 60
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def drawn(page: str) -> str:
    """The page with its drawings made anew, one for each plan, and the table of budgets."""
    return drawing.drawn(page, BEGIN, {**{plan: draw(plan) for plan in Plan}, "budgets": draw_budgets()})


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
