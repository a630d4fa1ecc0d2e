# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What a host boots from: a root image made of Debian packages (cached, shared
# by all labs, never written to: hosts run on a snapshot of it), and a small
# initramfs made anew for each host that carries everything that is of this
# lab only: addresses, keys, the start script.
#
# After image_ready:
#   HOST_ROOT     ext4 root image
#   HOST_INITRD   base initramfs, to which a host's own archive is appended
#   HOST_KIMG     the hosts' kernel: the stock one, or that of LAB_KERNEL
#   HOST_KMODS    its lib/modules/RELEASE, when it is not in the root image

. "$(dirname "${BASH_SOURCE[0]}")/kernel.sh"

# What is in a host.  qemu-system-x86 is Debian's own QEMU: it brings the
# libraries and the firmware that a QEMU in /opt/migdb needs (run that one with
# -L /usr/share/seabios -L /usr/share/qemu), and it is the unpatched peer.
HOST_PACKAGES=(
	busybox-static kmod procps util-linux iproute2 iputils-ping ethtool
	openssh-server socat jq python3 strace bpftool
	e2fsprogs xfsprogs dmsetup fio xxhash
	libelf1 zlib1g libbpf1 libxxhash0 libaio1 liburing2
	libglib2.0-0 libpixman-1-0 libslirp0 libfdt1
	qemu-system-x86 seabios ipxe-qemu
)

# What the initramfs must load to reach the root image, unless it is built in.
BOOT_MODULES=(virtio_pci virtio_blk ext4)

# Size of the root file system.  The file is sparse: a host sees free space,
# the cache holds only what is in it.
HOST_ROOT_MIB=6144

apt_source_files() {
	local f
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources "$BACKPORTS_LIST"; do
		if [ -s "$f" ] && grep -q '^[^#]' "$f"; then
			printf '%s\n' "$f"
		fi
	done
}

# image_tree DIR: the packages, unpacked and configured.  In a mount namespace
# of its own, so that an interrupted run leaves no mount behind.
image_tree() {
	local dir=$1 tmp=$1.tmp log=$CACHE/host/mmdebstrap.log sources
	[ -e "$dir/.complete" ] && return 0
	mapfile -t sources < <(apt_source_files)
	step "host image: installing ${#HOST_PACKAGES[@]} packages into $dir (log: $log)"
	rm -rf "$tmp" "$dir"
	mkdir -p "$CACHE/host"
	# shellcheck disable=SC2016 # $1 is for the hook's shell
	unshare --mount --propagation private mmdebstrap --mode=root --variant=minbase \
		--include="$(IFS=,; printf '%s' "${HOST_PACKAGES[*]}")" \
		--aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		--setup-hook='mkdir -p "$1/etc/apt/preferences.d"' \
		--setup-hook='printf "Package: qemu-* seabios ipxe-qemu\nPin: release n=bookworm-backports\nPin-Priority: 990\n" >"$1/etc/apt/preferences.d/lab"' \
		--customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/etc/ssh/ssh_host_*' \
		bookworm "$tmp" "${sources[@]}" >"$log" 2>&1 ||
		{ tail -20 "$log" >&2; rm -rf "$tmp"; die "mmdebstrap could not make the host image (log: $log)"; }
	[ -x "$tmp/bin/busybox" ] || die "no busybox in $tmp: the package list is wrong"
	touch "$tmp/.complete"
	mv "$tmp" "$dir"
}

# image_root TREE IMAGE: tree plus the modules of KVER, as ext4.  No journal:
# each boot starts from a clean snapshot.
image_root() {
	local tree=$1 image=$2
	[ -e "$image" ] && return 0
	step "host image: $image"
	rm -rf "$tree/usr/lib/modules" "$image.tmp"
	mkdir -p "$tree/usr/lib/modules" "$tree/opt/migdb"
	cp -a --reflink=auto "$KMODS" "$tree/usr/lib/modules/"
	depmod -b "$tree" "$KVER"
	ln -sf /bin/busybox "$tree/usr/sbin/init"
	mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -d "$tree" "$image.tmp" "${HOST_ROOT_MIB}M" >/dev/null ||
		die "mke2fs could not make $image"
	mv "$image.tmp" "$image"
}

# image_initrd TREE OUT KERNEL RELEASE: busybox, the boot modules (from KERNEL's
# lib/modules) in load order, /init.
image_initrd() {
	local tree=$1 out=$2 dir mod what ko order
	[ -e "$out" ] && return 0
	dir=$(mktemp -d)
	mkdir -p "$dir"/{bin,dev,proc,sys,modules,newroot,lab}
	cp "$tree/bin/busybox" "$dir/bin/busybox"
	ln -s busybox "$dir/bin/sh"
	install -m 755 "$TOP/tools/lab/host/initramfs" "$dir/init"
	: >"$dir/modules/order"
	for mod in "${BOOT_MODULES[@]}"; do
		order=$(modprobe -d "$3" -S "$4" --show-depends "$mod") ||
			{ rm -rf "$dir"; die "the kernel in $3 has no $mod: a host could not reach its root"; }
		while read -r what ko _; do
			[ "$what" = insmod ] && [ ! -e "$dir/modules/${ko##*/}" ] || continue
			cp "$ko" "$dir/modules/"
			printf '%s\n' "${ko##*/}" >>"$dir/modules/order"
		done <<<"$order"
	done
	(cd "$dir" && find . | cpio -o -H newc --quiet | gzip -1) >"$out.tmp"
	rm -rf "$dir"
	mv "$out.tmp" "$out"
}

image_build() {
	local tree=$1
	if ! [ -e "$HOST_ROOT" ] || ! [ -e "$HOST_INITRD" ]; then
		need_space "$CACHE" 3000
	fi
	image_tree "$tree"
	image_root "$tree" "$HOST_ROOT"
	if [ -n "${LAB_KERNEL:-}" ]; then
		image_initrd "$tree" "$HOST_INITRD" "$LAB_KERNEL" "${HOST_KMODS##*/}"
	else
		image_initrd "$tree" "$HOST_INITRD" "$tree" "$KVER"
	fi
}

# lab_kernel DIR: the hosts run on another kernel; its modules come with the host's
# own archive, so that the root image stays the same.
lab_kernel() {
	local dir=$1 f rel
	[ -d "$dir" ] || die "LAB_KERNEL=$dir: there is no such directory (tools/build/kernel makes build/kernel/y and others)"
	for f in bzImage release; do
		[ -s "$dir/$f" ] || die "LAB_KERNEL=$dir: $f is missing; tools/build/kernel makes such a directory"
	done
	rel=$(cat "$dir/release")
	for f in modules.builtin modules.dep; do
		[ -e "$dir/lib/modules/$rel/$f" ] ||
			die "LAB_KERNEL=$dir: lib/modules/$rel/$f is missing; its build did not end"
	done
	HOST_KIMG=$dir/bzImage
	HOST_KMODS=$dir/lib/modules/$rel
	HOST_INITRD=$BUILD/host-initrd/$(cat "$HOST_KIMG" "$HOST_KMODS/modules.dep" "$TOP/tools/lab/host/initramfs" |
		sha256sum | cut -c1-16).cpio.gz
	mkdir -p "${HOST_INITRD%/*}"
}

# image_ready: keyed by what the image is made of, so that it is rebuilt when
# the list above or the kernel changes and at no other time.
image_ready() {
	local tree
	kernel_ready
	install_packages mmdebstrap e2fsprogs cpio gzip kmod
	tree=$CACHE/host/tree-$(printf '%s\n' "${HOST_PACKAGES[@]}" | sha256sum | cut -c1-12)
	HOST_ROOT=$tree-$KVER.ext4
	HOST_KIMG=$KIMG HOST_KMODS=''
	HOST_INITRD=$tree-$KVER-$(sha256sum "$TOP/tools/lab/host/initramfs" | cut -c1-12).cpio.gz
	[ -z "${LAB_KERNEL:-}" ] || lab_kernel "$LAB_KERNEL"
	export HOST_ROOT HOST_INITRD HOST_KIMG HOST_KMODS
	with_lock host-image image_build "$tree"
}
