# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A guest that systemd runs, with Debian's memcached and PostgreSQL as its packages
# set them up, and what "make install ROLE=guest" installs.  It is booted as the one
# of lib/databases.sh is, whose dbs_boot and dbs_sh are for it, too.
#
# sysd_ready             builds what is missing (the image is cached)
#
# Needs lib/lab-lib.sh.

. "$(dirname "${BASH_SOURCE[0]}")/databases.sh"

sysd_key() {
	{
		guest_key
		sed -n '/^sysd_root()/,/^}/p' "${BASH_SOURCE[0]}"
		cat "$TOP/tools/lab/guest/init-systemd"
	} | sha256sum | cut -c1-16
}

sysd_root() {
	local root=$1 m
	step "systemd: Debian root with systemd, memcached, postgresql"
	guest_debian "$root" systemd,udev,dmsetup,memcached,postgresql-15 "$TOP/tools/lab/guest/init-systemd"
	modprobe -d "$CACHE/kernel/$KPKG/image" -S "$KVER" --show-depends dm_mod |
		awk '$1 == "insmod" { print $2 }' | while read -r m; do
			install -D -m 644 "$m" "$root/lib/modules/$KVER/${m#*/lib/modules/"$KVER"/}"
		done
	depmod -b "$root" "$KVER"
	# Without an id each boot is the first, at which systemd enables all there is.
	printf '6d69676462%022d\n' 1 >"$root/etc/machine-id"
	cat >"$root/etc/systemd/system/dropbear.service" <<-END
		[Service]
		ExecStart=/usr/sbin/dropbear -F -s -g -r /etc/dropbear/host_ed25519 -P /run/dropbear.pid -I 0
		[Install]
		WantedBy=multi-user.target
	END
	# A database of one's own: it reads its disk, again and again.
	cat >"$root/etc/systemd/system/db.service" <<-'END'
		[Service]
		ExecStart=/bin/sh -c 'while :; do dd if=/dev/disk/by-id/virtio-migdb-data of=/dev/null bs=64k count=64 iflag=direct status=none; sleep 0.2; done'
	END
	chroot "$root" systemctl enable dropbear.service >>"$root.log" 2>&1 || die "dropbear cannot be enabled in the image"
}

sysd_build() {
	local dir=$1 tmp=$1.tmp root mib
	[ -e "$dir/.complete" ] && return 0
	need_space "$CACHE" 3000
	rm -rf "$dir" "$tmp"
	mkdir -p "$tmp/data"
	root=$tmp/root
	sysd_root "$root"
	step "systemd: images"
	guest_mkfs "$tmp/data.img" "$tmp/data" 128
	mib=$(du -sm "$root" | cut -f1)
	guest_mkfs "$tmp/root.img" "$root" $((mib + mib / 4 + 256))
	guest_initrd "$tmp/initrd"
	rm -rf "$tmp/root" "$tmp/data"
	mv "$tmp" "$dir"
	touch "$dir/.complete"
	find "$CACHE/systemd" -mindepth 1 -maxdepth 1 ! -path "$dir" -mmin +600 -exec rm -rf {} +
}

sysd_ready() {
	need_root
	guest_packages
	install_packages qemu-system-x86 clang bpftool libbpf-dev libelf-dev zlib1g-dev jq python3
	kernel_ready
	mkdir -p "$CACHE/systemd"
	DBS_DIR=$CACHE/systemd/$(sysd_key)
	with_lock systemd sysd_build "$DBS_DIR"
	chmod 600 "$DBS_DIR/key"
}
