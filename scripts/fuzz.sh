#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS. The sanitizer needs a nightly compiler; any installed one will do.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds="${FUZZ_SECONDS:-20}"
nightly="$(rustup toolchain list 2>/dev/null | awk '/^nightly/ { print $1; exit }')"
if [[ -z "$nightly" ]]; then
    say "fuzzing needs a nightly toolchain and none is installed: rustup toolchain install nightly --profile minimal"
    # Only a person's `make test` may go on without it.
    [[ -n "${KEYSTEAD_STEPS:-}" && -z "${CI:-}" ]] && exit 0
    exit 1
fi

require g++ python3
cargo_tool cargo-fuzz 0.13.2

python3 fuzz/seeds.py
mapfile -t targets < <(cargo "+$nightly" fuzz list)
[[ ${#targets[@]} -gt 0 ]] || die "there is no fuzz target in fuzz/"
number=0
for target in "${targets[@]}"; do
    number=$((number + 1))
    say "fuzz target $number of ${#targets[@]}: $target, $seconds s, $nightly"
    cargo "+$nightly" fuzz run --target-dir "$KEYSTEAD_CACHE/fuzz-target" "$target" -- \
        "-max_total_time=$seconds" -print_final_stats=1 -verbosity=0
done
