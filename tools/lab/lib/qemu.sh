# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The QEMU that runs the nested guests: Debian's QEMU 10 source, x86_64 only,
# in two variants: "plain" (the baseline) and "migdb" (our series applied).  The
# plain one also emulates the hosts; tools/lab/qemu/ mends its emulation of AMD's
# virtualisation, which hosts and guests died of now and then.
#
# qemu_ready [plain|migdb]   builds what is missing, then sets
#   QEMU_PAYLOAD  directory for `lab up --payload`: qemu/ inside it has the
#                 wrapper qemu-system-x86_64, lib/ (its libraries, dynamic
#                 loader included) and fw/ (firmware), so that it runs in any
#                 root image.
#   QEMU_BIN      the wrapper, usable on the outer machine too
#   QEMU_TREE     the source and (in build/) the build that it came from
#
# qemu_in_build CMD...       afterwards: CMD in QEMU_TREE's build directory
#
# The patched variant is an incremental build: a copy of the plain tree is
# mounted at the plain tree's own path in a private mount namespace, so that
# every absolute path meson has written stays true, and ninja rebuilds only
# what the series touches.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

QEMU_FEATURES=(--target-list=x86_64-softmmu --python=/usr/bin/python3
	--without-default-features --enable-kvm --enable-tcg --enable-slirp
	--enable-linux-aio --enable-linux-io-uring --enable-vhost-kernel --enable-vhost-net
	--enable-trace-backends=log
	--disable-docs --disable-install-blobs --disable-tools --disable-download)

qemu_packages() {
	install_packages build-essential dpkg-dev ninja-build pkg-config \
		python3-venv python3-setuptools python3-wheel flex bison rsync \
		libfdt-dev libglib2.0-dev libslirp-dev libaio-dev liburing-dev zlib1g-dev xz-utils
	install_packages -t bookworm-backports meson python3-pycotap
	install_packages -t bookworm-backports qemu-system-data seabios
}

# The source packages of backports vanish from the pool while its index still
# names them, so the suites that carry QEMU 10.0 are all asked, with a package
# list of our own that leaves the machine's apt configuration alone.
QEMU_APT=()

qemu_apt_ready() {
	local dir=$CACHE/qemu/apt key sec
	key=$(mirror_field Signed-By)
	key=${key:-/usr/share/keyrings/debian-archive-keyring.gpg}
	sec=$(grep -rhoE 'https?://[^ ]*debian-security/?' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
		grep -v snapshot | head -1)
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	{
		printf 'Types: deb-src\nURIs: %s\nSuites: trixie bookworm-backports\nComponents: main\nSigned-By: %s\n' \
			"$(mirror_uri)" "$key"
		[ -z "$sec" ] ||
			printf '\nTypes: deb-src\nURIs: %s\nSuites: trixie-security\nComponents: main\nSigned-By: %s\n' "$sec" "$key"
	} >"$dir/debian.sources"
	QEMU_APT=(-o "Dir::Etc::sourcelist=$dir/debian.sources" -o Dir::Etc::sourceparts=-
		-o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root)
	[ -n "$(find "$dir/.updated" -mmin -1440 2>/dev/null)" ] && return 0
	apt-get -qq "${QEMU_APT[@]}" update || die "apt-get update of the source suites failed"
	touch "$dir/.updated"
}

# Debian's QEMU 10.0 sources, newest first.
qemu_candidates() {
	apt-cache "${QEMU_APT[@]}" madison qemu |
		awk -F'|' '/Sources/ { gsub(/ /, "", $2); print $2 }' | grep -E '^(1:)?10\.0\.' | sort -Vru
}

# qemu_source: sets QEMU_SRC to the unpacked newest source that the pool really
# has; what was unpacked within a week is taken without asking again.
qemu_source() {
	local v dir tmp seen=
	QEMU_SRC=$(find "$CACHE/qemu" -maxdepth 1 -name 'source-10.0.*' -mtime -7 2>/dev/null | sort -V | tail -1)
	[ -z "$QEMU_SRC" ] || return 0
	qemu_apt_ready
	for v in $(qemu_candidates); do
		dir=$CACHE/qemu/source-${v#*:}
		seen="$seen $v"
		if [ -d "$dir" ]; then
			touch "$dir"
			QEMU_SRC=$dir
			return 0
		fi
		tmp=$(mktemp -d "$CACHE/qemu/.src.XXXXXX")
		step "QEMU $v: source"
		if (cd "$tmp" && apt-get -qq "${QEMU_APT[@]}" source "qemu=$v" >"$tmp/log" 2>&1); then
			mv "$(find "$tmp" -mindepth 1 -maxdepth 1 -type d)" "$dir"
			rm -rf "$tmp"
			qemu_placeholders "$dir"
			touch "$dir"
			QEMU_SRC=$dir
			return 0
		fi
		say "  not in the pool: $(grep -m1 -E '404|E:' "$tmp/log" || tail -1 "$tmp/log")"
		rm -rf "$tmp"
	done
	die "no QEMU 10.0 source package can be had (tried:${seen:- none}); needs deb-src of trixie or bookworm-backports"
}

qemu_source_print() {
	qemu_source
	printf '%s\n' "${QEMU_SRC##*/source-}"
}

qemu_series() {
	find "$TOP/patches/qemu" -maxdepth 1 -name '*.patch' 2>/dev/null | sort
}

qemu_fixes() {
	find "$TOP/tools/lab/qemu" -maxdepth 1 -name '*.patch' | sort
}

# qemu_apply TREE LOG: patches named on standard input.
qemu_apply() {
	local f
	while read -r f; do
		patch -d "$1" -p1 --no-backup-if-mismatch -F0 <"$f" >>"$2" 2>&1 ||
			{ tail -20 "$2" >&2; die "$(basename "$f") does not apply to QEMU"; }
	done
}

# Key of the plain build: version, features and fixes.
qemu_plain_key() {
	{
		printf '%s\n' "$1" "${QEMU_FEATURES[@]}"
		qemu_fixes | xargs -r cat
	} | sha256sum | cut -c1-16
}

# Key of the patched build: the above, the series and our uapi headers.
qemu_migdb_key() {
	local f
	{
		qemu_plain_key "$1"
		qemu_series | while read -r f; do basename "$f"; cat "$f"; done
		cat "$TOP/include/uapi/linux/migdb.h" 2>/dev/null || true
	} | sha256sum | cut -c1-16
}

# The "+ds" source has no binary firmware; meson wants to see the edk2 images
# although nothing of them is installed.
qemu_placeholders() {
	local f
	for f in edk2-aarch64-code.fd edk2-arm-code.fd edk2-arm-vars.fd edk2-riscv-code.fd \
		edk2-riscv-vars.fd edk2-i386-code.fd edk2-i386-secure-code.fd edk2-i386-vars.fd \
		edk2-x86_64-code.fd edk2-x86_64-secure-code.fd edk2-loongarch64-code.fd \
		edk2-loongarch64-vars.fd; do
		[ -e "$1/pc-bios/$f.bz2" ] || bzip2 -c </dev/null >"$1/pc-bios/$f.bz2"
	done
}

# qemu_pack TREE DIR: the payload directory of a finished build.
qemu_pack() {
	local tree=$1 dir=$2/qemu lib f
	mkdir -p "$dir/lib" "$dir/fw"
	strip -o "$dir/qemu-system-x86_64.bin" "$tree/build/qemu-system-x86_64"
	ldd "$tree/build/qemu-system-x86_64" |
		awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' |
		while read -r lib; do cp -L "$lib" "$dir/lib/"; done
	for f in bios-256k.bin bios-microvm.bin; do
		cp -L "/usr/share/seabios/$f" "$dir/fw/"
	done
	for f in linuxboot_dma.bin linuxboot.bin kvmvapic.bin pvh.bin multiboot_dma.bin multiboot.bin; do
		cp -L "/usr/share/qemu/$f" "$dir/fw/"
	done
	cat >"$dir/qemu-system-x86_64" <<-'END'
	#!/bin/sh
	d=${0%/*}
	exec "$d/lib/ld-linux-x86-64.so.2" --library-path "$d/lib" \
		"$d/qemu-system-x86_64.bin" -L "$d/fw" "$@"
	END
	chmod 755 "$dir/qemu-system-x86_64"
}

qemu_build_plain() {
	local src=$1 base=$2
	[ -e "$base/.complete" ] && return 0
	need_space "$CACHE" 4000
	need_memory 1500
	rm -rf "$base"
	mkdir -p "$base"
	cp -a --reflink=auto "$src" "$base/tree"
	step "QEMU ${src##*/source-}: building (about 3 minutes on two idle cores; log: $base/build.log)"
	qemu_fixes | qemu_apply "$base/tree" "$base/build.log"
	mkdir "$base/tree/build"
	(cd "$base/tree/build" && ../configure "${QEMU_FEATURES[@]}" && nice ninja qemu-system-x86_64) \
		>>"$base/build.log" 2>&1 ||
		{ tail -30 "$base/build.log" >&2; die "QEMU did not build (log: $base/build.log)"; }
	qemu_pack "$base/tree" "$base/payload"
	touch "$base/.complete"
}

# qemu_at_base TREE BASE-TREE CMD...: CMD in TREE's build directory, at the path
# that meson knows.
qemu_at_base() {
	# shellcheck disable=SC2016
	unshare -m --propagation private sh -c 'mount --bind "$1" "$2" && cd "$2/build" && shift 2 && exec "$@"' sh "$@"
}

qemu_in_build() {
	qemu_at_base "$QEMU_TREE" "$QEMU_BASE/tree" "$@"
}

qemu_build_migdb() {
	local base=$1 dir=$2
	[ -e "$dir/.complete" ] && return 0
	need_space "$CACHE" 4000
	rm -rf "$dir"
	mkdir -p "$dir"
	step "QEMU with our series ($(qemu_series | wc -l) patches; log: $dir/build.log)"
	cp -a --reflink=auto "$base/tree" "$dir/tree"
	qemu_series | qemu_apply "$dir/tree" "$dir/build.log"
	if [ -e "$TOP/include/uapi/linux/migdb.h" ]; then
		install -D -m 644 "$TOP/include/uapi/linux/migdb.h" "$dir/tree/linux-headers/linux/migdb.h"
	fi
	qemu_at_base "$dir/tree" "$base/tree" nice ninja qemu-system-x86_64 >>"$dir/build.log" 2>&1 ||
		{ grep -A8 -E 'error:|FAILED' "$dir/build.log" | head -40 >&2; die "QEMU with our series did not build (log: $dir/build.log)"; }
	qemu_pack "$dir/tree" "$dir/payload"
	# Older patched builds are worth nothing and are large.  Not those of today: another
	# branch may be at work with one.
	find "$CACHE/qemu" -mindepth 1 -maxdepth 1 -name 'migdb-*' ! -path "$dir" -mmin +1440 -exec rm -rf {} +
	touch "$dir/.complete"
}

qemu_ready() {
	local variant=${1:-migdb} version base dir
	need_root
	qemu_packages
	mkdir -p "$CACHE/qemu"
	version=$(with_lock qemu qemu_source_print)
	base=$CACHE/qemu/plain-$(qemu_plain_key "$version")
	with_lock qemu qemu_build_plain "$CACHE/qemu/source-$version" "$base"
	case $variant in
	plain)
		dir=$base ;;
	migdb)
		dir=$CACHE/qemu/migdb-$(qemu_migdb_key "$version")
		with_lock qemu qemu_build_migdb "$base" "$dir" ;;
	*)
		die "qemu_ready: $variant is neither plain nor migdb" ;;
	esac
	QEMU_PAYLOAD=$dir/payload
	QEMU_BIN=$dir/payload/qemu/qemu-system-x86_64
	QEMU_TREE=$dir/tree
	QEMU_BASE=$base
	export QEMU_PAYLOAD QEMU_BIN QEMU_TREE QEMU_BASE
}
