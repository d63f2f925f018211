# Sourced by the scripts beside it: paths, messages, and the helper command.
# shellcheck shell=bash
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

KEYSTEAD_CACHE="${KEYSTEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keystead}"
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$KEYSTEAD_CACHE/target}"
IMAGE_REPOSITORY="${IMAGE_REPOSITORY:-localhost/keystead}"
export KEYSTEAD_CACHE CARGO_TARGET_DIR IMAGE_REPOSITORY

say() { printf '%s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Names every missing command at once, so that nobody installs them one by one.
require() {
    local missing=() command
    for command in "$@"; do
        command -v "$command" >/dev/null || missing+=("$command")
    done
    [[ ${#missing[@]} -eq 0 ]] || die "these commands are needed and missing: ${missing[*]}"
}

# Seconds, as people say them.
took() {
    local seconds="$1"
    if ((seconds < 60)); then
        printf '%d s' "$seconds"
    else
        printf '%d min %02d s' $((seconds / 60)) $((seconds % 60))
    fi
}

# Builds the command that starts clusters, if its source changed. Cargo's progress stays visible.
build_cluster_command() {
    cargo build --locked -p keystead-cluster
    export CLUSTER="$CARGO_TARGET_DIR/debug/keystead-cluster"
}

# Installs a cargo tool of a fixed version once. A cheap profile: the tools run for seconds, and their
# optimised builds take minutes.
cargo_tool() {
    local name="$1" version="$2" started
    export PATH="$KEYSTEAD_CACHE/tools/bin:$PATH"
    [[ "$("$KEYSTEAD_CACHE/tools/bin/$name" --version 2>/dev/null)" != "$name $version" ]] || return 0
    started=$SECONDS
    say "building $name $version once, into $KEYSTEAD_CACHE/tools (a few minutes)"
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR="$KEYSTEAD_CACHE/tools/target" \
        cargo install --locked --debug --no-track --force \
        --version "$version" --root "$KEYSTEAD_CACHE/tools" "$name"
    rm -rf "$KEYSTEAD_CACHE/tools/target"
    say "built $name in $(took $((SECONDS - started)))"
}
