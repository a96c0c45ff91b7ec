# What .ci/run and .ci/wheel_test.sh share. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Where it is set, each of the thousands of processes that the tests start would compile the
# project anew: half as much work again.
unset PYTHONDONTWRITEBYTECODE

export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_NO_INPUT=1
export PIP_QUIET=1

# Most of what pip installs here is never imported: Python compiles the rest when it is.
export PIP_COMPILE=0

say() {
    printf -- '--- %s\n' "$*"
}

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# Copy what a clone would have: no history, nothing that .gitignore names.
copy_tree() {
    mkdir -p "$1"
    tar -C "$root" --exclude-vcs --exclude-vcs-ignores -cf - . | tar -C "$1" -xf -
}

# Give the rest of the script an empty home, but keep the user's configuration of pip:
# it may be what says where packages come from.
new_home() {
    local config
    for config in "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf"; do
        if [ -z "${PIP_CONFIG_FILE:-}" ] && [ -f "$config" ]; then
            export PIP_CONFIG_FILE=$config
        fi
    done
    mkdir -p "$1"
    export PYENV_ROOT=${PYENV_ROOT:-$HOME/.pyenv}
    export HOME=$1
}

# Print the first working interpreter of the versions given, as in: find_python 3.13 3.12
# Fails, and prints nothing, when there is none.
find_python() {
    local version candidate
    for version in "$@"; do
        for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            if [ "$(python_version "$candidate")" = "$version" ]; then
                command -v "$candidate"
                return
            fi
        done
    done
    return 1
}

python_version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}
