#!/usr/bin/env bash
# Runs make targets one after the other, with a banner and the time each took; stops at the first failure.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

total=$#
number=0
summary=()
export KEYSTEAD_STEPS=1
for step in "$@"; do
    number=$((number + 1))
    printf '\n==> [%d/%d] %s\n' "$number" "$total" "$step"
    started=$SECONDS
    if ! "${MAKE:-make}" --no-print-directory "$step"; then
        printf '\n==> %s FAILED after %s (again: make %s)\n' \
            "$step" "$(took $((SECONDS - started)))" "$step" >&2
        exit 1
    fi
    summary+=("$(printf '%-12s %s' "$step" "$(took $((SECONDS - started)))")")
    printf '==> [%d/%d] %s passed in %s\n' \
        "$number" "$total" "$step" "$(took $((SECONDS - started)))"
done

printf '\nAll %d steps passed in %s:\n' "$total" "$(took "$SECONDS")"
printf '  %s\n' "${summary[@]}"
