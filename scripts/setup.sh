#!/bin/sh
# Makes .venv (Python 3.13) and node_modules (Azurite). Does nothing when both are as the lock files say.
set -eu
cd "$(dirname "$0")/.."
want=3.13
uv_version=0.13.9

say() { echo "setup: $*" >&2; }

make_venv() {
    rm -rf .venv
    for python in python3 python$want; do
        if $python -c "import sys; raise SystemExit(sys.version_info[:2] != (3, 13))" 2>/dev/null; then
            $python -m venv .venv && return 0
        fi
    done
    say "python3 is not $want; asking uv $uv_version to find or fetch one"
    rm -rf .bootstrap
    # From the root folder, where no .python-version can ask a version manager for a Python that is not there.
    here=$PWD
    if (cd / && python3 -m venv "$here/.bootstrap") 2>/dev/null \
        && .bootstrap/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version" \
        && .bootstrap/bin/uv venv --quiet --seed --python "$want" .venv; then
        return 0
    fi
    say "no Python $want here: install Python $want (python.org, pyenv install $want, or your package manager) and run this again"
    exit 1
}

python_stamp=$(cat .python-version requirements.txt requirements-dev.txt constraints.txt | cksum)
if [ "$(cat .venv/.stamp 2>/dev/null)" != "$python_stamp" ]; then
    say "installing Python packages into .venv"
    [ -x .venv/bin/python ] && .venv/bin/python -c "import sys; raise SystemExit(sys.version_info[:2] != (3, 13))" 2>/dev/null || make_venv
    .venv/bin/python -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
    echo "$python_stamp" > .venv/.stamp
fi

node_stamp=$(cat package.json package-lock.json | cksum)
if [ "$(cat node_modules/.stamp 2>/dev/null)" != "$node_stamp" ]; then
    if ! command -v npm >/dev/null 2>&1; then
        say "npm is missing: install Node.js 20 or newer (nodejs.org or your package manager) and run this again"
        exit 1
    fi
    say "installing Azurite into node_modules"
    npm ci --no-audit --no-fund --silent --ignore-scripts
    echo "$node_stamp" > node_modules/.stamp
fi
