#!/usr/bin/env bash
# Builds keystead-cluster if needed and runs it with the arguments given.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

require cargo go gcc
build_cluster_command
exec "$CLUSTER" "$@"
