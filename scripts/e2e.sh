#!/usr/bin/env bash
# Runs tests on a real node; the arguments are those of `cargo test`. Where another cluster is in the way, a demo or what a
# killed run left, they have a network of their own.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build_cluster_command
# What needs the machine's network comes before.
"$CLUSTER" prepare
cargo test --locked --workspace --no-run "$@"

KEYSTEAD_IMAGE="$(<"$KEYSTEAD_CACHE/image/name")"
export KEYSTEAD_IMAGE KEYSTEAD_IMAGE_TAR="$KEYSTEAD_CACHE/image/keystead.tar"
apart=()
if ip link show ks0 >/dev/null 2>&1 && unshare --net ip link set lo up 2>/dev/null; then
    say "interface ks0 exists: the tests run in a network of their own"
    # shellcheck disable=SC2016 # the inner shell's
    apart=(env CARGO_NET_OFFLINE=true unshare --net sh -c 'ip link set lo up && exec "$@"' sh)
fi
exec "${apart[@]}" cargo test --locked --workspace "$@"
