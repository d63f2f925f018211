#!/usr/bin/env bash
# Builds the static binary and the image IMAGE as a tar file, without a container daemon.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=x86_64-unknown-linux-gnu
say "building the static release binary (a few minutes the first time)"
RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --release --locked --target "$target" -p keystead --bin keystead
build_cluster_command

tar="$KEYSTEAD_CACHE/image/keystead.tar"
mkdir -p "$(dirname "$tar")"
"$CLUSTER" image-build \
    --binary "$CARGO_TARGET_DIR/$target/release/keystead" --name "$IMAGE" --output "$tar"
say "image $IMAGE is in $tar"
