"""The deployment package holds what runs, and nothing else. That it runs is seen by ``make check-infra``."""

from scripts.check_package import package_files


def test_the_package_holds_only_what_runs() -> None:
    top = {path.parts[0] for path in package_files()}
    assert top == {"function_app.py", "functions", "shared", "host.json", "requirements.txt", "constraints.txt"}


def test_the_packages_folders_hold_only_python() -> None:
    assert {path.suffix for path in package_files() if len(path.parts) > 1} == {".py"}
