#!/bin/sh
# The tests with the lowest, or the newest, version of each dependency that pyproject.toml allows.
#   scripts/bounds.sh lowest|newest [PYTEST ARGUMENT]...
set -eu
case ${1:-} in
  lowest) resolution=lowest-direct ;;
  newest) resolution=highest ;;
  *)
    echo "usage: scripts/bounds.sh lowest|newest [PYTEST ARGUMENT]..." >&2
    exit 2
    ;;
esac
shift
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" --resolution "$resolution" --editable '.[dev]'
[ $# -gt 0 ] || set -- tests/model tests/commands tests/diagnosis tests/runs tests/transport tests/site
"$folder/venv/bin/python" -m pytest -q -n 2 --dist loadfile "$@"
