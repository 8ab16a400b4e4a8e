"""Draws the plans into docs/rollover.md, from the data that the steps run by: `python -m scripts.draw_plans`."""

from pathlib import Path

from scripts import drawing
from shared.rollover import ESTABLISHES, PLANS, Plan

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


def drawn(page: str) -> str:
    """The page with its drawings made anew, one for each plan."""
    return drawing.drawn(page, BEGIN, {plan: draw(plan) for plan in Plan})


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
