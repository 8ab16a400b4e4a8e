"""Draws the plans into docs/rollover.md, from the data that the steps run by: `python -m scripts.draw_plans`."""

from pathlib import Path

from shared.rollover import ESTABLISHES, PLANS, Plan

PAGE = Path(__file__).resolve().parents[1] / "docs" / "rollover.md"
BEGIN = "<!-- drawn from PLANS by scripts/draw_plans.py; a test compares -->\n"
END = "\n<!-- end -->"


def draw(plan: Plan) -> str:
    """A Mermaid state diagram of a plan, with what each step establishes below it."""
    steps = PLANS[plan]
    lines = ["```mermaid", "stateDiagram-v2", "    direction TB", f"    [*] --> {steps[0]}: event or sweep"]
    for step, following in zip(steps, (*steps[1:], "done"), strict=True):
        lines.append(f"    {step} --> {following}")
        lines.append(f"    {step} --> {step}: waits, looks again")
    lines += ["    done --> [*]", "```", "", "| step | what it establishes |", "|---|---|"]
    lines += [f"| `{step}` | {ESTABLISHES[step]} |" for step in steps]
    return "\n".join(lines)


def drawn(page: str) -> str:
    """The page with its drawing made anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + draw(Plan.EXPIRY) + END + tail


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
