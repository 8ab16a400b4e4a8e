"""``make check-infra``: what ``azd deploy`` would send, and that the app can be indexed from it with nothing else.

``python -m scripts.check_package`` prints size and list; with ``--index`` it also installs ``requirements.txt`` into
a fresh environment and indexes the app there, importing what the first message would.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parents[1]
INDEX = """
import importlib, json, pathlib
import function_app
for path in sorted(pathlib.Path("shared").rglob("*.py")):
    importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
shown = {f.get_function_name(): json.loads(f.get_function_json())["bindings"] for f in function_app.app.get_functions()}
print(json.dumps(shown))
"""


def package_files(root: Path = ROOT) -> list[Path]:
    """What ``.funcignore`` leaves, by path within the app. Only what Git knows: a fresh clone is what is deployed."""
    ignored = GitIgnoreSpec.from_lines((root / ".funcignore").read_text().splitlines())
    known = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split()  # noqa: S607
    return sorted(Path(name) for name in known if not ignored.match_file(name))


def pack(target: Path) -> Path:
    """The zip file that is deployed."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in package_files():
            archive.write(ROOT / path, path)
    return target


def index(archive: Path, folder: Path) -> dict[str, list[dict[str, object]]]:
    """Function → bindings, as found in a fresh environment that has ``requirements.txt`` and nothing else."""
    app, environment = folder / "app", folder / "environment"
    shutil.unpack_archive(archive, app, "zip")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)  # noqa: S603
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-qq", "-r", "requirements.txt"], cwd=app, check=True)  # noqa: S603
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = subprocess.run(  # noqa: S603
        [python, "-c", INDEX], cwd=app, env=bare, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise SystemExit(f"the app cannot be indexed from its package:\n{ran.stderr}")
    found: dict[str, list[dict[str, object]]] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        archive = pack(folder / "app.zip")
        files = package_files()
        unpacked = sum((ROOT / path).stat().st_size for path in files)
        print("\n".join(map(str, files)))  # noqa: T201  what it is run for
        print(f"package: {len(files)} files, {unpacked:,} bytes, {archive.stat().st_size:,} zipped")  # noqa: T201
        if "--index" in sys.argv:
            golden = json.loads((ROOT / "tests" / "functions" / "function_app.json").read_text())
            found = index(archive, folder)
            if found != {name: one["bindings"] for name, one in golden.items()}:
                raise SystemExit("the app that is indexed from its package is not that of function_app.json")
            print(f"package: {len(found)} functions indexed with requirements.txt alone, as in function_app.json")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
