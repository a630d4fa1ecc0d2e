# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The stock kernel that everything runs on: image, headers and source of
# *exactly* one version.  vhost.h is private to the kernel source, so a source
# of another version would mean a wrong struct layout in our module.
#
# After kernel_ready:
#   KVER   release, as uname -r says it
#   KPKG   package version
#   KDIR   headers tree to build modules against
#   KSRC   the full source tree
#   KIMG   vmlinuz;  KMODS  lib/modules/$KVER unpacked (modules uncompressed)

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Every version of linux-source-6.12 that the pool has, newest first.
kernel_candidates() {
	apt-cache madison linux-source-6.12 | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' | uniq
}

has_version() {
	apt-cache madison "$1" 2>/dev/null | awk -F'|' -v v="$2" '{ gsub(/ /, "", $2); if ($2 == v) ok = 1 } END { exit !ok }'
}

# kernel_resolve: prints "version release image-package".
kernel_resolve() {
	local v abi rel hdr seen=
	for v in $(kernel_candidates); do
		# 6.12.117-1~deb12u1 -> ABI name 6.12.117+deb12 (Debian's rule since 6.12)
		abi=${v%%-*}+deb12
		rel=$abi-cloud-amd64
		hdr=linux-headers-$rel
		seen="$seen $v"
		has_version "$hdr" "$v" || continue
		if has_version "linux-image-$rel" "$v"; then
			printf '%s %s %s\n' "$v" "$rel" "linux-image-$rel"
			return
		fi
		if has_version "linux-image-$rel-unsigned" "$v"; then
			printf '%s %s %s\n' "$v" "$rel" "linux-image-$rel-unsigned"
			return
		fi
	done
	die "no cloud kernel image and headers of a version that linux-source-6.12 has; source versions:${seen:- none}; images:$(
		apt-cache search --names-only '^linux-image-6\.12.*-cloud-amd64(-unsigned)?$' | awk '{ printf " %s", $1 }')"
}

kernel_fetch() {
	local ver=$1 rel=$2 image=$3 dir=$CACHE/kernel/$1 tmp
	[ -e "$dir/.complete" ] && return 0
	need_space "$CACHE" 6000
	step "kernel $ver: image and source into $dir"
	rm -rf "$dir"
	mkdir -p "$dir/debs"
	tmp=$(mktemp -d)
	(cd "$tmp" && apt-get -qq download "$image=$ver" "linux-source-6.12=$ver") ||
		die "cannot download $image=$ver and linux-source-6.12=$ver"
	dpkg-deb -x "$tmp"/linux-image-*.deb "$dir/image"
	dpkg-deb -x "$tmp"/linux-source-*.deb "$tmp/src"
	mkdir "$dir/source"
	tar -C "$dir/source" --strip-components=1 -xf "$tmp"/src/usr/src/linux-source-6.12.tar.xz
	rm -rf "$tmp" "$dir/debs"
	find "$dir/image/lib/modules" -name '*.ko.xz' -exec xz -d -T2 {} +
	depmod -b "$dir/image" "$rel"
	touch "$dir/.complete"
}

kernel_ready() {
	local line image
	install_packages xz-utils kmod util-linux
	with_lock apt apt_ready
	# Asking apt takes two seconds; the answer holds as long as its lists do.
	if [ "$CACHE/.kernel-resolved" -nt "$CACHE/.apt-updated" ]; then
		line=$(cat "$CACHE/.kernel-resolved")
	else
		line=$(kernel_resolve)
		printf '%s\n' "$line" >"$CACHE/.kernel-resolved.$$"
		mv "$CACHE/.kernel-resolved.$$" "$CACHE/.kernel-resolved"
	fi
	read -r KPKG KVER image <<<"$line"
	install_packages "linux-headers-$KVER" build-essential bc flex bison libelf-dev libssl-dev dwarves cpio rsync
	with_lock kernel kernel_fetch "$KPKG" "$KVER" "$image"
	KDIR=/usr/src/linux-headers-$KVER
	KSRC=$CACHE/kernel/$KPKG/source
	KIMG=$CACHE/kernel/$KPKG/image/boot/vmlinuz-$KVER
	KMODS=$CACHE/kernel/$KPKG/image/lib/modules/$KVER
	[ -e "$KDIR/Makefile" ] || die "$KDIR is missing although linux-headers-$KVER is installed"
	export KPKG KVER KDIR KSRC KIMG KMODS
}
