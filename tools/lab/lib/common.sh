# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by every script of the lab: where things live, how to say things,
# how to get packages.  Source it; it changes nothing by itself.

set -o errexit -o nounset -o pipefail

# Top of the source tree, and the two places that we write to: build/ inside
# the tree (made anew at will) and a cache outside it (kept between clones).
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
BUILD=${MIGDB_BUILD:-$TOP/build}
CACHE=${MIGDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/migdb}
export TOP BUILD CACHE

say()  { printf '%s\n' "$*" >&2; }
step() { printf '[%s] %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die()  { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() {
	[ "$(id -u)" = 0 ] || die "this needs root (it installs packages and makes network namespaces): run it as root"
}

# need_space DIR MIB: refuse before a long job that would fill the disk.
need_space() {
	local free
	mkdir -p "$1"
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] || die "$1 has $free MiB free, $2 MiB are needed; free some or set MIGDB_CACHE/MIGDB_BUILD to another disk"
}

# need_memory MIB
need_memory() {
	local avail
	avail=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
	[ "$avail" -ge "$1" ] || die "$avail MiB of memory are available, $1 MiB are needed"
}

# with_lock NAME CMD...: one at a time over all clones that share the cache.
with_lock() {
	local name=$1
	shift
	mkdir -p "$CACHE"
	(
		flock 9
		"$@"
	) 9>"$CACHE/.lock-$name"
}

# mirror_uri, mirror_key: the machine's own Debian mirror, for another suite.
mirror_field() {
	awk -v f="$1:" '$1 == f { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true
}

mirror_uri() {
	local uri
	uri=$(mirror_field URIs)
	[ -n "$uri" ] || uri=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) { print $i; exit } }' \
		/etc/apt/sources.list 2>/dev/null || true)
	[ -n "$uri" ] || die "no Debian mirror in /etc/apt: add one (deb822 debian.sources or sources.list)"
	printf '%s\n' "$uri"
}

BACKPORTS_LIST=/etc/apt/sources.list.d/migdb-backports.sources

# apt_ready: backports (binaries and sources) beside the machine's suites, and
# package lists that are not older than a day.
apt_ready() {
	local key
	. /etc/os-release
	[ "${VERSION_CODENAME:-}" = bookworm ] || die "this lab is made for Debian 12 (bookworm), this is ${PRETTY_NAME:-another system}"
	if ! [ -s "$BACKPORTS_LIST" ]; then
		key=$(mirror_field Signed-By)
		printf 'Types: deb deb-src\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: %s\n' \
			"$(mirror_uri)" "${key:-/usr/share/keyrings/debian-archive-keyring.gpg}" >"$BACKPORTS_LIST"
		rm -f "$CACHE/.apt-updated"
	fi
	mkdir -p "$CACHE"
	if [ -z "$(find "$CACHE/.apt-updated" -mmin -1440 2>/dev/null)" ] ||
	   ! [ -d /var/lib/apt/lists ] || [ -z "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ]; then
		step "apt-get update"
		apt-get -qq update || die "apt-get update failed: is the Debian mirror of /etc/apt reachable?"
		touch "$CACHE/.apt-updated"
	fi
}

# install_packages [-t SUITE] PKG...: installs what is missing, nothing else.
install_packages() {
	local suite=() missing=() p
	if [ "$1" = -t ]; then
		suite=(-t "$2")
		shift 2
	fi
	for p; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	need_root
	with_lock apt apt_ready
	step "installing: ${missing[*]}"
	with_lock apt env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends "${suite[@]}" \
		install "${missing[@]}" </dev/null >"$CACHE/apt.log" 2>&1 ||
		{ tail -20 "$CACHE/apt.log" >&2; die "apt-get could not install: ${missing[*]} (log: $CACHE/apt.log)"; }
}
