#!/bin/sh
# Copies the workspace's manifests to a folder, with a `fn main() {}` for every source file that they name: enough for
# Cargo to compile all dependencies and nothing else.
set -eu
cd "$(dirname "$0")/../.."
root="$(pwd)"
to="${1:?usage: manifests.sh FOLDER}"
mkdir -p "$to"
cp Cargo.lock "$to/"
[ ! -d .cargo ] || cp -R .cargo "$to/"
metadata="$(cargo metadata --no-deps --offline --format-version 1)"
paths() { printf '%s' "$metadata" | grep -o "\"$1\":\"[^\"]*\"" | cut -d'"' -f4 | sort -u; }
for manifest in "$root/Cargo.toml" $(paths manifest_path); do
    copy="$to/${manifest#"$root/"}"
    mkdir -p "$(dirname "$copy")"
    cp "$manifest" "$copy"
done
for source in $(paths src_path); do
    stub="$to/${source#"$root/"}"
    mkdir -p "$(dirname "$stub")"
    echo 'fn main() {}' >"$stub"
done
