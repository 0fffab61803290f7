#!/bin/sh
# Prints the path of a usable `temporal` (the Temporal CLI with its dev server), getting it first when there is none.
#
# In this order: $TICKETWRIGHT_TEMPORAL; `temporal` on PATH from the pinned version on; the one cached by an earlier run;
# built from the Go module beside this script, with its checksums (4 to 8 minutes, once); the official release.
# Progress goes to standard error, so that `$(tools/temporal/temporal.sh)` is the path and nothing else.
set -eu

version=1.8.2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/ticketwright/temporal/$version"
binary="$cache/temporal"

say() { printf 'temporal: %s\n' "$*" >&2; }

# `temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)` -> is it the pinned version or a newer one?
new_enough() {
    found=$("$1" --version 2>/dev/null | sed -n 's/^temporal version \([0-9][0-9.]*\).*/\1/p') || return 1
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$version" "$found" | sort -V | head -n 1)" = "$version" ]
}

found_without_work() {
    if [ -n "${TICKETWRIGHT_TEMPORAL:-}" ]; then
        if new_enough "$TICKETWRIGHT_TEMPORAL"; then echo "$TICKETWRIGHT_TEMPORAL"; return 0; fi
        say "TICKETWRIGHT_TEMPORAL=$TICKETWRIGHT_TEMPORAL is not a temporal $version or newer; looking elsewhere"
    fi
    if onpath=$(command -v temporal) && new_enough "$onpath"; then echo "$onpath"; return 0; fi
    if [ -x "$binary" ]; then echo "$binary"; return 0; fi
    return 1
}

build() {
    command -v go >/dev/null 2>&1 || { say "go is not installed, so it cannot be built here"; return 1; }
    say "building the Temporal CLI $version with Go, once (4 to 8 minutes)"
    # What Go keeps for a next build is 1.8 GB that nobody needs again: it stays beside the binary and goes when that is ready.
    # The module cache is Go's own and stays where it is.
    (
        cd "$here"
        GOCACHE="$gocache" GOFLAGS=-mod=readonly CGO_ENABLED=0 go build -trimpath \
            -ldflags "-s -w -X github.com/temporalio/cli/internal/temporalcli.Version=$version" \
            -o "$1" github.com/temporalio/cli/cmd/temporal >&2
    ) || { say "the build failed (see above)"; return 1; }
}

download() {
    command -v curl >/dev/null 2>&1 || { say "curl is not installed, so it cannot be downloaded"; return 1; }
    [ "$(uname -s)" = Linux ] || { say "only releases for Linux are known here, this is $(uname -s)"; return 1; }
    case "$(uname -m)" in
        x86_64 | amd64) arch=amd64 ;;
        aarch64 | arm64) arch=arm64 ;;
        *) say "no release for $(uname -m)"; return 1 ;;
    esac
    archive="temporal_cli_${version}_linux_${arch}.tar.gz"
    url="https://github.com/temporalio/cli/releases/download/v$version/$archive"
    say "downloading $url"
    curl -fsSL --retry 3 --proto '=https' -o "$1.tar.gz" "$url" >&2 || { say "the download failed"; return 1; }
    if [ -n "${TICKETWRIGHT_TEMPORAL_SHA256:-}" ]; then
        echo "$TICKETWRIGHT_TEMPORAL_SHA256  $1.tar.gz" | sha256sum -c - >/dev/null 2>&1 ||
            { say "the checksum of $archive is not TICKETWRIGHT_TEMPORAL_SHA256"; return 1; }
    else
        say "its checksum is not known here; TLS alone vouches for it (TICKETWRIGHT_TEMPORAL_SHA256 pins it)"
    fi
    tar -xzOf "$1.tar.gz" temporal >"$1" && rm -f "$1.tar.gz" && chmod 755 "$1"
}

if found_without_work; then exit 0; fi

mkdir -p "$cache"
# One process gets it, the others wait for it. The lock goes with the file descriptor, so a kill leaves none behind.
exec 9>"$cache/lock"
if command -v flock >/dev/null 2>&1; then
    flock 9
    # What a build left behind that was killed.
    rm -rf "$cache"/go-build.*
fi
if found_without_work; then exit 0; fi

fresh="$cache/temporal.$$"
gocache="$cache/go-build.$$"
trap 'rm -rf "$fresh" "$fresh.tar.gz" "$gocache"' EXIT
trap 'exit 1' HUP INT TERM
if { build "$fresh" || download "$fresh"; } && new_enough "$fresh"; then
    # Renaming is atomic: whoever looks sees all of it or none.
    mv -f "$fresh" "$binary"
    say "ready: $binary"
    echo "$binary"
    exit 0
fi

say "there is no usable temporal $version, and I could not get one.
  Either install Go 1.26 or newer (https://go.dev/dl) and run this again,
  or install the Temporal CLI (https://docs.temporal.io/cli/setup-cli) so that it is on PATH,
  or set TICKETWRIGHT_TEMPORAL to its path."
exit 1
