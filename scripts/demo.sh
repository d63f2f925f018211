#!/usr/bin/env bash
# The demo: a one-node cluster, the product's own image and chart, the manifests in examples/, and what
# they lead to. `demo.sh up` may be run again on a running demo; `demo.sh down` removes everything.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state="$KEYSTEAD_CACHE/demo"
operator_namespace=keystead-system
namespace=shop
steps=7
step=0
step_started=0

# Says how the last step went, and which one begins.
begin() {
    finish
    step=$((step + 1))
    step_started=$SECONDS
    printf '\n[%d/%d] %s\n' "$step" "$steps" "$1"
}

finish() {
    ((step == 0)) || printf '[%d/%d] done in %s\n' "$step" "$steps" "$(took $((SECONDS - step_started)))"
}

heading() { printf '\n--- %s\n' "$1"; }

# What helps most when a step failed; the cluster stays up to be looked at.
explain_failure() {
    local code=$?
    ((code == 0)) && return
    printf '\nThe demo failed in step %d of %d.\n' "$step" "$steps" >&2
    if [[ -e "$state/kubeconfig" && -x "${kubectl:-}" ]]; then
        {
            "$kubectl" get pods -A
            "$kubectl" get managedkeys,managedsecrets -A
            "$kubectl" -n "$operator_namespace" logs deployment/keystead-controller --tail 30
        } >&2 2>&1 || true
        say "The cluster is still up: export KUBECONFIG=$state/kubeconfig. Stop it with make demo-down." >&2
    fi
    exit "$code"
}

build() {
    begin "the command that starts clusters"
    build_cluster_command

    begin "the Kubernetes programs (about ten minutes the first time, nothing later)"
    "$CLUSTER" bins >/dev/null
    kubectl="$("$CLUSTER" path kubectl)"
    helm="$("$CLUSTER" path helm)"

    begin "the image of Keystead"
    scripts/image.sh
    image="$(<"$KEYSTEAD_CACHE/image/name")"
}

start() {
    begin "the cluster"
    "$CLUSTER" up --state "$state" >/dev/null
    export KUBECONFIG="$state/kubeconfig"
    mkdir -p "$state/bin"
    ln -sfn "$kubectl" "$state/bin/kubectl"
    ln -sfn "$helm" "$state/bin/helm"
    "$CLUSTER" image-import --state "$state" "$KEYSTEAD_CACHE/image/keystead.tar"
}

install() {
    begin "Keystead, with Helm"
    # Without the notes: what they tell people to do next, the demo does.
    "$helm" upgrade --install keystead charts/keystead --hide-notes \
        --namespace "$operator_namespace" --create-namespace \
        --set "image.repository=${image%:*}" --set-string "image.tag=${image##*:}" \
        --set image.pullPolicy=Never --set "node.kubeletRoot=$state/kubelet"
    "$kubectl" -n "$operator_namespace" rollout status deployment/keystead-controller --timeout=180s
    "$kubectl" -n "$operator_namespace" rollout status deployment/keystead-server --timeout=180s
    "$kubectl" -n "$operator_namespace" rollout status daemonset/keystead-node --timeout=180s
}

# A value that the demo knows, handed over to Keystead: imported, sealed, and the source deleted. Only
# with such a value can anybody search etcd for the plaintext of a sealed secret.
hand_over_canary() {
    if [[ ! -e "$state/canary" ]]; then
        printf 'canary-%s' "$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$state/canary"
    fi
    canary="$(<"$state/canary")"
    "$kubectl" -n "$namespace" get managedsecret canary >/dev/null 2>&1 && return
    "$kubectl" -n "$namespace" delete secret canary-source --ignore-not-found
    "$kubectl" -n "$namespace" create secret generic canary-source --from-file=value="$state/canary"
    "$kubectl" apply -f - <<YAML
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata:
  name: canary
  namespace: $namespace
spec:
  keyRef: {name: orders}
  import:
  - secretRef: {name: canary-source}
    deleteAfterImport: true
YAML
}

apply_examples() {
    begin "the manifests in examples/, with kubectl"
    "$kubectl" apply -f examples/namespace.yaml
    "$kubectl" apply -f examples/
    hand_over_canary
    "$kubectl" -n "$namespace" wait managedkey --all --for=condition=Ready --timeout=120s
    "$kubectl" -n "$namespace" wait managedsecret --all --for=condition=Ready --timeout=120s
    "$kubectl" -n "$namespace" wait secret/canary-source --for=delete --timeout=60s
    "$kubectl" -n "$namespace" wait pod/orders --for=condition=Ready --timeout=180s
    "$kubectl" -n "$namespace" rollout status deployment/orders-api --timeout=180s
    "$kubectl" apply -f - <<YAML
apiVersion: batch/v1
kind: Job
metadata: {name: canary, namespace: $namespace}
spec:
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: canary
        image: localhost/busybox:1
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        command: [/bin/sh, -c, 'printf %s "\$CANARY" | sha256sum; sha256sum </etc/canary/value']
        env: [{name: CANARY, valueFrom: {secretKeyRef: {name: canary, key: value}}}]
        volumeMounts: [{name: canary, mountPath: /etc/canary}]
      volumes: [{name: canary, secret: {secretName: canary}}]
YAML
    "$kubectl" -n "$namespace" wait job/canary --for=condition=Complete --timeout=180s
}

secret_value() {
    "$kubectl" -n "$namespace" get secret "$1" -o "jsonpath={.data.$2}" | base64 --decode
}

show_resources() {
    heading "kubectl -n $namespace get managedkeys,managedsecrets"
    "$kubectl" -n "$namespace" get managedkeys,managedsecrets

    heading "The sealed Secret $namespace/orders-api: one envelope for each key, no plaintext"
    # shellcheck disable=SC2016 # the dollar signs are the template's
    "$kubectl" -n "$namespace" get secret orders-api -o go-template='type: {{ .type }}
{{ range $key, $value := .data }}{{ printf "  %-18s %.56s... (%d characters of base64)\n" $key $value (len $value) }}{{ end }}'
}

show_pod() {
    local delivered mounted
    heading "The plain Secret $namespace/orders-db, as the pod $namespace/orders reads it"
    delivered="$(secret_value orders-db password)"
    mounted="$("$kubectl" -n "$namespace" exec orders -- cat /secrets/password)"
    printf '  in the Secret:        %s\n' "$delivered"
    printf '  in /secrets/password: %s\n' "$mounted"
    [[ -n "$delivered" && "$delivered" == "$mounted" ]] ||
        die "the pod reads another password than the Secret holds"
    printf '  the same. And in /secrets/DATABASE_URL, from the template:\n  %s\n' \
        "$("$kubectl" -n "$namespace" exec orders -- cat /secrets/DATABASE_URL)"
}

# An unchanged Job read the canary by a volume and by a variable, and printed the hash of each.
show_injection() {
    local expected printed
    heading "The sealed Secret $namespace/canary, as an unchanged Job read it"
    expected="$(printf %s "$canary" | sha256sum | cut -c1-64)"
    printed="$("$kubectl" -n "$namespace" logs job/canary -c canary | cut -c1-64)"
    printf '  hash of the value:       %s\n' "$expected"
    printf '  hash by variable:        %s\n' "$(sed -n 1p <<<"$printed")"
    printf '  hash by volume:          %s\n' "$(sed -n 2p <<<"$printed")"
    [[ "$printed" == "$expected"$'\n'"$expected" ]] || die "the Job read something else"
    say "  the same, and no native Secret holds it: the Job's manifest names the Secret canary as any other would."
}

# Every current key of etcd is searched for a value, as it is and in base64.
show_etcd() {
    local found password expected="/registry/secrets/$namespace/orders-db"
    heading "What etcd holds"
    found="$("$CLUSTER" etcd-dump --state "$state" --grep "$canary")"
    [[ -z "$found" ]] || die "the canary of the sealed secret is readable in etcd, in: $found"
    say "  $namespace/canary was imported, sealed, and its source deleted. Its value"
    say "  $canary"
    say "  is in none of the $("$CLUSTER" etcd-dump --state "$state" | wc -l) keys of etcd."
    password="$(secret_value orders-db password)"
    found="$("$CLUSTER" etcd-dump --state "$state" --grep "$password")"
    [[ "$found" == "$expected" ]] ||
        die "the password of the plain Secret should be in $expected alone, and is in: ${found:-nothing}"
    say "  The same search for the plain password finds exactly the Secret that was asked for in plaintext:"
    say "  $found"
}

up() {
    require cargo go gcc python3 tar
    trap explain_failure EXIT
    build
    start
    install
    apply_examples
    begin "a look at the result"
    show_resources
    show_pod
    show_injection
    show_etcd
    trap - EXIT
    finish
    cat <<TEXT

The demo is up after $(took "$SECONDS"). To look around:
  export KUBECONFIG=$state/kubeconfig PATH=$state/bin:\$PATH
  kubectl -n $namespace get managedsecrets
  kubectl -n $operator_namespace get keymaterials
To stop it and leave nothing behind:
  make demo-down
TEXT
}

down() {
    if [[ ! -d "$state" ]]; then
        say "there is no demo to stop"
        return
    fi
    build_cluster_command
    "$CLUSTER" down --state "$state"
    rm -rf --one-file-system "$state"
    say "the demo is gone; what was built stays in $KEYSTEAD_CACHE"
}

case "${1:-}" in
up) up ;;
down) down ;;
*) die "usage: demo.sh up|down" ;;
esac
