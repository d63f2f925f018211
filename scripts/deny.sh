#!/usr/bin/env bash
# Checks all dependencies with cargo-deny. Licences, sources and bans need no network; advisories need
# their database, which is fetched when the network allows it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cargo_tool cargo-deny 0.20.2

# cargo-deny looks at the packages of every platform; a build has downloaded only those of this one.
cargo metadata --locked --offline --format-version 1 >/dev/null 2>&1 || cargo fetch --locked

cargo deny --offline check licenses bans sources

databases="${CARGO_HOME:-$HOME/.cargo}/advisory-dbs"
if timeout 120 cargo deny fetch db >/dev/null 2>&1; then
    say "advisories: the database was fetched just now"
elif compgen -G "$databases/*/.git" >/dev/null; then
    say "advisories: the database cannot be fetched, an older copy is used"
else
    say "advisories: NOT CHECKED, the database cannot be fetched and there is no copy in $databases"
    exit 0
fi
cargo deny --offline check advisories
