#!/usr/bin/env bash
# Checks and tests the alerts of the chart with promtool, which is taken from Debian's package of Prometheus once, without installing it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tools="$KEYSTEAD_CACHE/tools/prometheus"
promtool="$(command -v promtool || printf '%s' "$tools/usr/bin/promtool")"
if [[ ! -x "$promtool" ]]; then
    if ! command -v apt-get >/dev/null; then
        say "the alerts are NOT CHECKED: promtool is not installed, and there is no apt-get to fetch it with"
        # Only a person's `make test` may go on without it.
        [[ -n "${KEYSTEAD_STEPS:-}" && -z "${CI:-}" ]] && exit 0
        exit 1
    fi
    require dpkg
    say "fetching promtool once, into $tools"
    download="$(mktemp -d)"
    trap 'rm -rf "$download"' EXIT
    fetch() { (cd "$download" && apt-get download -qq prometheus 2>/dev/null); }
    # Without the lists of packages there is nothing to download; only root can get them.
    fetch || { apt-get update -qq && fetch; } ||
        die "promtool is needed: install Debian's package prometheus, or run apt-get update and try again"
    mkdir -p "$tools"
    dpkg -x "$download"/prometheus_*.deb "$tools"
fi

"$promtool" check rules charts/keystead/rules/alerts.yaml
"$promtool" test rules tests/alerts/*_test.yaml

# What the chart renders is what was tested.
build_cluster_command
helm="$("$CLUSTER" path helm)"
rendered="$(mktemp)"
trap 'rm -rf "$rendered" "${download:-}"' EXIT
"$helm" template keystead charts/keystead --namespace keystead-system --set prometheusRule.enabled=true \
    --show-only templates/prometheusrule.yaml | sed -n '/^spec:$/,$p' | sed '1d; s/^  //' >"$rendered"
"$promtool" check rules "$rendered"
