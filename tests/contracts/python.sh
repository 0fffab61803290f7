#!/bin/sh
# Prints the path of a Python that has what requirements.txt names, making its environment when there is none yet (once, some
# 10 seconds). Exit code 3: it cannot be had here, and standard error says why.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
wanted=$(cksum <"$here/requirements.txt" | cut -d ' ' -f 1)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/ticketwright/contracts"
environment="$cache/$wanted"

[ -x "$environment/ready/bin/python" ] && { echo "$environment/ready/bin/python"; exit 0; }

say() { printf 'contracts: %s\n' "$*" >&2; }

command -v python3 >/dev/null || { say "python3 is missing"; exit 3; }
mkdir -p "$environment"
# Made beside its place and moved there whole: two that start together both get a good one.
made=$(mktemp -d "$environment/making-XXXXXX")
trap 'rm -rf "$made"' EXIT
if ! python3 -m venv "$made/new" >"$made/log" 2>&1; then
    say "python3 -m venv does not work here (on Debian: apt-get install python3-venv)"
    exit 3
fi
if ! "$made/new/bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 10 \
    --only-binary :all: --require-hashes -r "$here/requirements.txt" >"$made/log" 2>&1; then
    say "PyPI did not give us botocore:" "$(tail -n 1 "$made/log")"
    exit 3
fi
mv -T "$made/new" "$environment/ready" 2>/dev/null || [ -x "$environment/ready/bin/python" ]
echo "$environment/ready/bin/python"
