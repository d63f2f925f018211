#!/usr/bin/env bash
# Lints the Helm chart, and renders it twice: the same bytes must come out, or an upgrade that changes
# nothing would roll the pods.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

chart=charts/keystead
build_cluster_command

helm="$("$CLUSTER" path helm)"

render() {
    "$helm" template keystead "$chart" --namespace keystead-system --include-crds "$@"
}

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

"$helm" lint --strict "$chart"
render >"$scratch/first.yaml"
render >"$scratch/second.yaml"
cmp "$scratch/first.yaml" "$scratch/second.yaml" ||
    die "the chart renders differently each time: see the first difference above"
say "the chart renders the same $(wc -l <"$scratch/first.yaml") lines twice"
for values in "$chart"/ci/*.yaml; do
    [[ -e "$values" ]] || continue
    "$helm" lint --strict "$chart" --values "$values" --quiet
    render --values "$values" >/dev/null
    say "the chart renders with $values"
done
