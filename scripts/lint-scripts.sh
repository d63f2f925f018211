#!/usr/bin/env bash
# Checks the shell scripts: shellcheck when it is installed, else the shell's own parser.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts=(scripts/*.sh .ci/run)
if command -v shellcheck >/dev/null; then
    shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
    say "shellcheck: ${#scripts[@]} scripts are clean"
else
    for script in "${scripts[@]}"; do
        bash -n "$script"
    done
    say "shellcheck is not installed: only the syntax of ${#scripts[@]} scripts was checked"
fi
