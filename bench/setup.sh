#!/bin/sh
# Installs what the benchmarks compare with: Debian packages (as root), a Python environment and
# the crates.io peer under target/bench. Whatever cannot be had is named and left out.
cd "$(dirname "$0")/.." || exit 1
build=${BENCH_BUILD:-target/bench}
mkdir -p "$build"
build=$(cd "$build" && pwd)

packages="libpcap-dev tcpdump netsniff-ng valgrind iproute2 util-linux ethtool python3-venv golang-go
golang-github-google-gopacket-dev golang-golang-x-net-dev golang-golang-x-sys-dev"
if command -v apt-get >/dev/null; then
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
        [ "$(id -u)" = 0 ] || { echo "missing: $package (run bench/setup.sh as root, or install it)"; continue; }
        echo "installing $package"
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" \
            >"$build/apt.log" 2>&1 || echo "missing: $package (see $build/apt.log)"
    done
else
    echo "not Debian: install the equivalents of:" $packages
fi

if [ ! -x "$build/python/bin/python" ]; then
    python3 -m venv "$build/python" || { echo "needed: python3 with venv"; exit 1; }
fi
"$build/python/bin/pip" install -q -r bench/requirements.txt || {
    echo "needed: the packages of bench/requirements.txt"; exit 1; }

echo "building netring from crates.io"
CARGO_TARGET_DIR="$build/netring" cargo build -q --release --locked \
    --manifest-path bench/netring/Cargo.toml &&
    cp "$build/netring/release/netring-peer" "$build/netring-peer" ||
    echo "missing: netring (cargo could not build it)"

if command -v go >/dev/null; then
    (cd bench/gopacket && GO111MODULE=off GOPATH=/usr/share/gocode \
        go build -o "$build/gopacket-peer" .) || echo "missing: gopacket"
else
    echo "missing: gopacket (no go)"
fi
exit 0
