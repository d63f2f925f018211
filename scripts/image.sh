#!/usr/bin/env bash
# Builds the static binaries and the image as a tar file, without a container daemon. The tag is a hash of
# the binaries, so that an unchanged build never rolls a pod and a changed one always does.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=x86_64-unknown-linux-gnu
built="$CARGO_TARGET_DIR/$target/release"
folder="$KEYSTEAD_CACHE/image"

say "building the static release binaries (a few minutes the first time)"
RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --release --locked --target "$target" -p keystead --bin keystead --bin keystead-node
build_cluster_command

hash="$(cat "$built/keystead" "$built/keystead-node" | sha256sum)"
image="$IMAGE_REPOSITORY:${hash:0:12}"
mkdir -p "$folder"
"$CLUSTER" image-build --binary "$built/keystead" --binary "$built/keystead-node" --name "$image" --out "$folder/keystead.tar"
printf '%s' "$image" >"$folder/name"
say "image $image is in $folder/keystead.tar"
