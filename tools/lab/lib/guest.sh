# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The database guest: a small Debian root with mariadb-server, and a data disk
# that was loaded beforehand, natively, by sysbench.  Both are raw images; what
# the guest part of migdb needs comes on a third, read-only disk, so that a new
# module does not mean a new image.
#
# guest_ready            builds what is missing, then sets
#   GUEST_KERNEL GUEST_INITRD   direct kernel boot (the stock cloud kernel)
#   GUEST_ROOT GUEST_DATA       pristine images: copy before use
#   GUEST_KEY                   ssh key of root in the guest
# guest_disks_fresh DIR  fresh copies DIR/root.img and DIR/data.img
# guest_tools_image OUT FILE...   a disk with these files, seen by the guest at
#                        /opt/migdb-guest; mem_hints.ko and migdb-hints are
#                        loaded from there before mariadbd starts.  A directory
#                        gives its content.

. "$(dirname "${BASH_SOURCE[0]}")/kernel.sh"

GUEST_TABLES=4
GUEST_ROWS=432000		# per table: together just under the pool
GUEST_MEM=${GUEST_MEM:-640}	# MiB
GUEST_POOL=${GUEST_POOL:-416}	# MiB of InnoDB buffer pool
GUEST_IP=10.77.0.21
GUEST_ACCOUNTS=200		# rows of the ledger, 1000 each
export GUEST_TABLES GUEST_ROWS GUEST_MEM GUEST_POOL GUEST_IP GUEST_ACCOUNTS

guest_packages() {
	install_packages mmdebstrap e2fsprogs cpio kmod busybox-static openssh-client \
		util-linux sysbench mariadb-client-core
}

# The recipe: whatever changes the images.
guest_key() {
	{
		sed -n '/^guest_debian()/,/^}/p;/^guest_root()/,/^}/p;/^guest_load()/,/^}/p;/^guest_initrd()/,/^}/p' "${BASH_SOURCE[0]}"
		cat "$TOP"/tools/lab/guest/{init,initramfs,my.cnf}
		printf '%s\n' "$KPKG" "$GUEST_TABLES" "$GUEST_ROWS" "$GUEST_ACCOUNTS"
	} | sha256sum | cut -c1-16
}

# guest_modules DIR LIST MODULE...: copies them with their dependencies into
# DIR and appends their file names to LIST in the order to load them.
guest_modules() {
	local dir=$1 list=$2 m path
	shift 2
	for m; do
		modprobe -d "$CACHE/kernel/$KPKG/image" -S "$KVER" --show-depends "$m"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
		cp "$path" "$dir/"
		basename "$path" >>"$list"
	done
}

# guest_debian ROOT PACKAGES INIT: a Debian root with these packages (a,b,c), what
# every guest has besides, and INIT as PID 1; the key to it is beside ROOT.
guest_debian() {
	local root=$1 m
	mmdebstrap --quiet --mode=root --variant=minbase \
		--include="$2,busybox-static,dropbear-bin,iproute2,kmod,procps,msr-tools" \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/mysql/*/errmsg.sys' \
		--dpkgopt='path-include=/usr/share/mysql/english/errmsg.sys' \
		bookworm "$root" "$(mirror_uri)" >"$root.log" 2>&1 ||
		{ tail -20 "$root.log" >&2; die "mmdebstrap failed (log: $root.log)"; }
	install -m 755 "$3" "$root/sbin/migdb-init"
	mkdir -p "$root/lib/modules/$KVER" "$root/root/.ssh" "$root/etc/dropbear"
	for m in virtio_net vmw_vsock_virtio_transport vsock_loopback msr; do
		modprobe -d "$CACHE/kernel/$KPKG/image" -S "$KVER" --show-depends $m
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r m; do
		install -D -m 644 "$m" "$root/lib/modules/$KVER/${m#*/lib/modules/"$KVER"/}"
	done
	cp "$KMODS"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$KVER/"
	depmod -b "$root" "$KVER"
	chroot "$root" dropbearkey -t ed25519 -f /etc/dropbear/host_ed25519 >/dev/null 2>&1
	ssh-keygen -q -t ed25519 -N '' -C guest -f "${root%/*}/key"
	install -m 600 "${root%/*}/key.pub" "$root/root/.ssh/authorized_keys"
	chmod 700 "$root/root/.ssh"
	rm -rf "${root:?}"/var/cache/apt/* "${root:?}"/var/lib/apt/lists/* "${root:?}"/boot/*
}

guest_root() {
	local root=$1
	step "guest: Debian root with mariadb-server"
	guest_debian "$root" mariadb-server "$TOP/tools/lab/guest/init"
	install -m 644 "$TOP/tools/lab/guest/my.cnf" "$root/etc/mysql/mariadb.conf.d/99-lab.cnf"
	rm -rf "${root:?}"/var/lib/mysql/*
}

# Loads the data directory of ROOT with the server of ROOT, on this machine's
# own CPU.  Fast settings here only: the server is shut down cleanly.
guest_load() {
	local root=$1 sock=$1/run/mysqld/mysqld.sock pid i
	step "guest: loading $GUEST_TABLES tables of $GUEST_ROWS rows"
	chroot "$root" mariadb-install-db --force --user=mysql --skip-test-db --auth-root-authentication-method=normal \
		>"$root.load.log" 2>&1 || { tail "$root.load.log" >&2; die "mariadb-install-db failed"; }
	mkdir -p "$root/run/mysqld"
	chroot "$root" chown mysql:mysql /run/mysqld
	chroot "$root" mariadbd --user=mysql --skip-networking --innodb-buffer-pool-size=1G \
		--innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-fast-shutdown=0 \
		>>"$root.load.log" 2>&1 9>&- &
	pid=$!
	# shellcheck disable=SC2064 # this pid, now
	trap "kill $pid 2>/dev/null; wait $pid" EXIT
	for i in $(seq 100); do
		[ -S "$sock" ] && mariadb -S "$sock" -u root -e 'SELECT 1' >/dev/null 2>&1 && break
		[ "$i" != 100 ] || die "mariadbd did not start in the image (log: $root.load.log)"
		sleep 0.3
	done
	mariadb -S "$sock" -u root <<-END || die "cannot make the databases in the image"
		CREATE DATABASE sbtest; CREATE DATABASE ledger;
		CREATE USER sbtest@'%' IDENTIFIED BY 'sbtest';
		GRANT ALL ON sbtest.* TO sbtest@'%'; GRANT ALL ON ledger.* TO sbtest@'%';
		GRANT PROCESS, RELOAD ON *.* TO sbtest@'%';
		CREATE TABLE ledger.account (id INT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB;
		INSERT INTO ledger.account SELECT seq, 1000 FROM ledger.seq_1_to_$GUEST_ACCOUNTS;
		CREATE TABLE ledger.journal (client INT, seq INT, src INT, dst INT, amount BIGINT,
			PRIMARY KEY (client, seq)) ENGINE=InnoDB;
	END
	sysbench --db-driver=mysql --mysql-socket="$sock" --mysql-user=root --threads=2 \
		--tables="$GUEST_TABLES" --table-size="$GUEST_ROWS" --rand-seed=1 oltp_common prepare \
		>>"$root.load.log" 2>&1 || { tail "$root.load.log" >&2; die "sysbench prepare failed"; }
	for i in $(seq "$GUEST_TABLES"); do
		mariadb -S "$sock" -u root -e "ANALYZE TABLE sbtest.sbtest$i" >>"$root.load.log" 2>&1 || die "ANALYZE TABLE failed in the image"
	done
	mariadb -S "$sock" -u root -e SHUTDOWN || die "mariadbd cannot be shut down in the image"
	wait $pid || die "mariadbd ended badly in the image (log: $root.load.log)"
	trap - EXIT
}

guest_initrd() {
	local out=$1 dir
	dir=$(mktemp -d)
	mkdir -p "$dir"/{bin,dev,proc,sys,newroot,modules}
	cp /bin/busybox "$dir/bin/"
	ln -s busybox "$dir/bin/sh"
	install -m 755 "$TOP/tools/lab/guest/initramfs" "$dir/init"
	: >"$dir/modules/order"
	guest_modules "$dir/modules" "$dir/modules/order" virtio_blk
	(cd "$dir" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -9) >"$out"
	rm -rf "$dir"
}

guest_build() {
	local dir=$1 tmp=$1.tmp root mib
	[ -e "$dir/.complete" ] && return 0
	need_space "$CACHE" 5000
	rm -rf "$dir" "$tmp"
	mkdir -p "$tmp"
	root=$tmp/root
	guest_root "$root"
	# In a process of its own, so that the server ends with it.  (No errexit in
	# there, bash switches it off in a condition: each step checks by itself.)
	mkdir -p "$root/proc"
	mount -t proc proc "$root/proc"
	if ! (guest_load "$root"); then
		umount "$root/proc"
		die "the guest's database could not be loaded"
	fi
	umount "$root/proc"
	step "guest: images"
	mkdir "$tmp/data"
	mv "$root/var/lib/mysql" "$tmp/data/"
	mkdir "$root/var/lib/mysql"
	guest_mkfs "$tmp/data.img" "$tmp/data/mysql" 1536
	mib=$(du -sm "$root" | cut -f1)
	guest_mkfs "$tmp/root.img" "$root" $((mib + mib / 4 + 128))
	guest_initrd "$tmp/initrd"
	rm -rf "$tmp/root" "$tmp/data"
	mv "$tmp" "$dir"
	touch "$dir/.complete"
	find "$CACHE/guest" -mindepth 1 -maxdepth 1 ! -path "$dir" -mmin +600 -exec rm -rf {} +
}

# guest_mkfs OUT DIR MIB: everything initialised now, so that no lazy thread
# writes in the guest.
guest_mkfs() {
	rm -f "$1"
	truncate -s "$3M" "$1"
	mke2fs -q -t ext4 -b 4096 -m 0 -E lazy_itable_init=0,lazy_journal_init=0 -J size=16 -d "$2" "$1" ||
		die "mke2fs $1 failed"
}

guest_ready() {
	local dir
	need_root
	guest_packages
	kernel_ready
	mkdir -p "$CACHE/guest"
	dir=$CACHE/guest/$(guest_key)
	with_lock guest guest_build "$dir"
	GUEST_KERNEL=$KIMG
	GUEST_INITRD=$dir/initrd
	GUEST_ROOT=$dir/root.img
	GUEST_DATA=$dir/data.img
	GUEST_KEY=$dir/key
	chmod 600 "$GUEST_KEY"
	export GUEST_KERNEL GUEST_INITRD GUEST_ROOT GUEST_DATA GUEST_KEY
}

guest_disks_fresh() {
	mkdir -p "$1"
	need_space "$1" 2500
	cp --sparse=always --reflink=auto "$GUEST_ROOT" "$1/root.img"
	cp --sparse=always --reflink=auto "$GUEST_DATA" "$1/data.img"
}

guest_tools_image() {
	local out=$1 dir f
	shift
	dir=$(mktemp -d)
	for f; do
		if [ -d "$f" ]; then
			cp -a "$f/." "$dir/"
		else
			cp -a "$f" "$dir/"
		fi
	done
	rm -f "$out"
	truncate -s "$(($(du -sm "$dir" | cut -f1) + 8))M" "$out"
	mke2fs -q -t ext4 -O ^has_journal -b 4096 -m 0 -d "$dir" "$out" || die "mke2fs $out failed"
	rm -rf "$dir"
}
