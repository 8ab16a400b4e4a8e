"""The page that explains the plan shows the plan that runs."""

from scripts.draw_plans import PAGE, drawn


def test_the_drawing_in_the_documentation_is_the_plan_that_runs() -> None:
    """After a change of PLANS: `python -m scripts.draw_plans`."""
    assert PAGE.read_text() == drawn(PAGE.read_text())
