#!/bin/sh
# Makes dist/, exactly what is deployed: the static Linux binary, host.json, the folders of the functions, bindings.json
# and its stamp. Run by azd before packaging, and by hand.
#
#   infra/package.sh [--binary FILE] [--out DIR]
#
# --binary takes a binary that is built already. DIR is replaced as a whole, and only when everything is in order.
set -eu
here=$PWD
cd -P "$(dirname "$0")/.."

absolute() {
    case "$1" in
        /*) printf '%s' "$1" ;;
        *) printf '%s' "$here/$1" ;;
    esac
}

binary=
out=dist
while [ $# -gt 0 ]; do
    case "$1" in
        --binary) binary=$(absolute "${2:?--binary wants a file}") ;;
        --out) out=$(absolute "${2:?--out wants a folder}") ;;
        *)
            echo "usage: infra/package.sh [--binary FILE] [--out DIR]" >&2
            exit 2
            ;;
    esac
    shift 2
done

fail() {
    echo "package: $*" >&2
    exit 1
}

# Under this name the host starts it.
name=$(sed -n 's/.*"defaultExecutablePath"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' host.json)
case "$name" in
    '' | */* | *%*) fail "host.json names no plain file as customHandler.description.defaultExecutablePath" ;;
esac

installed() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1" ]
}

# Flags of rustc, kept apart by the character that cargo wants between them: a folder may have a blank in its name.
flags=
flag() {
    flags="$flags${flags:+$(printf '\037')}$1"
}

# Panics and log records of dependencies name source files. Those names begin at the checkout, at cargo's home and at the
# toolchain, wherever these are on the machine that builds.
name_no_paths() {
    for word in ${RUSTFLAGS:-}; do flag "$word"; done
    prefix "${CARGO_HOME:-$HOME/.cargo}" cargo
    prefix "$(rustc --print sysroot)" toolchain
    prefix "$PWD" .
    case "${CARGO_TARGET_DIR:-}" in
        /*) prefix "$CARGO_TARGET_DIR" target ;;
    esac
}
prefix() {
    flag "--remap-path-prefix=$1=$2"
    export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$1=$2"
}

# Static: which C library the instances have is not documented. musl where it can be built; glibc else, whose name
# lookup may want the library that it was built with.
build() {
    command -v cargo >/dev/null 2>&1 || fail "cargo is needed to build the binary: install Rust, or give --binary"
    musl=x86_64-unknown-linux-musl
    gnu=x86_64-unknown-linux-gnu
    name_no_paths
    if installed $musl && { command -v musl-gcc || [ -n "${CC_x86_64_unknown_linux_musl:-}" ]; } >/dev/null 2>&1; then
        target=$musl
    elif [ "$(rustc -vV | sed -n 's/^host: //p')" = $gnu ]; then
        echo "package: no musl target here (rustup target add $musl, and musl-tools): linking glibc statically" >&2
        target=$gnu
        flag -Ctarget-feature=+crt-static
    else
        fail "a binary for Linux on x86-64 cannot be built here: run rustup target add $musl, name a C compiler for it \
in CC_x86_64_unknown_linux_musl and a linker in CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER, or give --binary"
    fi
    export CARGO_ENCODED_RUSTFLAGS="$flags"
    cargo build --locked --profile dist --no-default-features --bin azure-backup-scim --target $target
    binary=${CARGO_TARGET_DIR:-target}/$target/dist/azure-backup-scim
}

[ -n "$binary" ] || build
[ -f "$binary" ] || fail "$binary is not a file"
if command -v ldd >/dev/null 2>&1 && ldd "$binary" 2>/dev/null | grep -q '=>'; then
    fail "$binary is not static: an instance may lack the libraries that it wants"
fi

refuse_names_below() {
    named=$(LC_ALL=C grep -aoE "$1" "$binary" | wc -l | tr -d ' ')
    [ "$named" -eq 0 ] || fail "$binary names $named path(s) of the machine that built it, below $2; this script \
builds it without"
}

# The usual places of checkouts, of cargo and of toolchains, wherever they begin.
for place in /home /root '/[.]cargo' '/[.]rustup' /usr/local/cargo /usr/local/rustup; do
    refuse_names_below "$place/" "$place"
done
# Those of this machine, where a path begins: `/src/` is also a part of the names that are left.
for place in "$PWD" "${HOME:-}" "${CARGO_HOME:-}" "${RUSTUP_HOME:-}" "$(rustc --print sysroot 2>/dev/null || :)" \
    "${CARGO_TARGET_DIR:-}"; do
    place=${place%/}
    case "$place" in
        /*) ;;
        *) continue ;;
    esac
    escaped=$(printf '%s' "$place" | sed 's/[][\.*^$+?(){}|]/\\&/g')
    refuse_names_below "(^|[^A-Za-z0-9_.-])$escaped/" "$place"
done

stage=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT TERM HUP
cp host.json bindings.json "$stage/"
functions=0
for function in */function.json; do
    [ -f "$function" ] || continue
    mkdir "$stage/$(dirname "$function")"
    cp "$function" "$stage/$function"
    functions=$((functions + 1))
done
[ $functions -gt 0 ] || fail "there is no function.json"
cp "$binary" "$stage/$name"
find "$stage" -type d -exec chmod 755 {} +
find "$stage" -type f -exec chmod 644 {} +
chmod 755 "$stage/$name"

# The packaged binary itself where this machine can run it, the same source where not.
config() {
    if "$stage/$name" --version >/dev/null 2>&1; then
        "$stage/$name" config "$@"
    else
        cargo run --quiet --locked --no-default-features -- config "$@"
    fi
}
config check "$stage/bindings.json" || fail "bindings.json is not in order"
# Drills go through a binding of their own, at the resource group that main.bicep makes for them.
setting() {
    eval "value=\${$1:-}"
    [ -n "$value" ] || value=$(azd env get-value "$1" 2>/dev/null) || value=
    printf '%s' "$value"
}
if [ "$(setting DRILL)" = true ]; then
    subscription=$(setting AZURE_SUBSCRIPTION_ID)
    environment=$(setting AZURE_ENV_NAME)
    [ -n "$subscription" ] && [ -n "$environment" ] ||
        fail "DRILL is true, and AZURE_SUBSCRIPTION_ID or AZURE_ENV_NAME is not known"
    config stamp --file "$stage/bindings.json" --out "$stage/bindings.stamp" \
        --drill "/subscriptions/$subscription/resourceGroups/rg-$environment-drill" ||
        fail "the binding of drills was not added"
else
    config stamp --file "$stage/bindings.json" --out "$stage/bindings.stamp" || fail "bindings.json was not stamped"
fi
[ -s "$stage/bindings.stamp" ] || fail "bindings.stamp is empty"
chmod 644 "$stage/bindings.stamp"

if [ -e "$out" ] && [ ! -f "$out/host.json" ]; then
    fail "$out is there and is not a package: it is not replaced"
fi
rm -rf "$out"
mv "$stage" "$out"
trap - EXIT
echo "package: $out, $functions functions, binary of $(wc -c <"$out/$name" | tr -d ' ') bytes"
