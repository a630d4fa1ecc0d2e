# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A guest with Debian's MariaDB, PostgreSQL, Redis and memcached, on the stock
# kernel, booted by itself: an emulated machine, no host below it.  It has the
# guest part of migdb, and plays the host to itself (vsock loopback), so that what
# its hint table says can be held against its memory and its disks.
#
# dbs_ready              builds what is missing (images are cached)
# dbs_boot DIR           fresh disks in DIR, and the guest up with its tools in
#                        /opt/migdb-guest
# dbs_sh SCRIPT          a root shell in the guest; its output and exit code
# dbs_hints on|off|agent-only     mem_hints.ko anew, with the BPF program or without:
#                        the table is empty after that
# dbs_share ARG...       hintshare in the guest (guest/hintshare.c); prints JSON
# dbs_off                ends the guest
#
# Needs lib/lab-lib.sh.

. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"

DBS_MEM=${DBS_MEM:-1024}	# MiB
DBS_ROWS=240000			# of each of two sysbench tables: 58 MB
DBS_SCALE=5			# of pgbench: 75 MB
DBS_PID=

dbs_key() {
	{
		guest_key
		sed -n '/^dbs_root()/,/^}/p;/^dbs_load_postgres()/,/^}/p' "${BASH_SOURCE[0]}"
		cat "$TOP/tools/lab/guest/init-databases"
		printf '%s\n' "$DBS_ROWS" "$DBS_SCALE"
	} | sha256sum | cut -c1-16
}

dbs_root() {
	local root=$1
	step "databases: Debian root with mariadb, postgresql, redis, memcached"
	guest_debian "$root" mariadb-server,postgresql-15,redis-server,memcached "$TOP/tools/lab/guest/init-databases"
	install -m 644 "$TOP/tools/lab/guest/my.cnf" "$root/etc/mysql/mariadb.conf.d/99-lab.cnf"
	rm -rf "${root:?}"/var/lib/{mysql,postgresql,redis}/*
}

# A cluster with data checksums; a test switches them off for its copy.
dbs_load_postgres() {
	local root=$1 bin=/usr/lib/postgresql/15/bin rc=0
	step "databases: loading PostgreSQL"
	mkdir -p "$root/srv/postgres" "$root/run/postgresql" "$root/dev/shm"
	chroot "$root" chown -R postgres:postgres /srv/postgres /run/postgresql
	chmod 1777 "$root/dev/shm"
	chroot "$root" su postgres -s /bin/bash -c "set -e
		$bin/initdb -D /srv/postgres/data --auth=trust --data-checksums --locale=C.UTF-8 --no-sync
		$bin/pg_ctl -D /srv/postgres/data -w -o '-c listen_addresses= -c fsync=off' -l /srv/postgres/load.log start
		$bin/pgbench -i -q -s $DBS_SCALE postgres
		$bin/psql -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pg_buffercache' -c 'CREATE EXTENSION pg_prewarm' \
			-c 'VACUUM FREEZE ANALYZE' -c CHECKPOINT postgres
		$bin/pg_ctl -D /srv/postgres/data -w stop" >"$root.pg.log" 2>&1 9>&- || rc=$?
	[ $rc = 0 ] || { tail -20 "$root.pg.log" >&2; die "PostgreSQL could not be loaded (log: $root.pg.log)"; }
}

dbs_build() {
	local dir=$1 tmp=$1.tmp root mib
	[ -e "$dir/.complete" ] && return 0
	need_space "$CACHE" 5000
	rm -rf "$dir" "$tmp"
	mkdir -p "$tmp"
	root=$tmp/root
	dbs_root "$root"
	mkdir -p "$root/proc"
	mount -t proc proc "$root/proc"
	if ! (GUEST_TABLES=2 GUEST_ROWS=$DBS_ROWS guest_load "$root" && dbs_load_postgres "$root"); then
		umount "$root/proc"
		die "the databases could not be loaded"
	fi
	umount "$root/proc"
	step "databases: images"
	mkdir "$tmp/data"
	mv "$root/var/lib/mysql" "$tmp/data/mysql"
	mv "$root/srv/postgres" "$tmp/data/postgres"
	chroot "$root" install -d -o redis -g redis /srv/redis
	mv "$root/srv/redis" "$tmp/data/redis"
	ln -s /srv/mysql "$root/var/lib/mysql"
	guest_mkfs "$tmp/data.img" "$tmp/data" 1536
	mib=$(du -sm "$root" | cut -f1)
	guest_mkfs "$tmp/root.img" "$root" $((mib + mib / 4 + 128))
	guest_initrd "$tmp/initrd"
	rm -rf "$tmp/root" "$tmp/data"
	mv "$tmp" "$dir"
	touch "$dir/.complete"
	find "$CACHE/databases" -mindepth 1 -maxdepth 1 ! -path "$dir" -mmin +600 -exec rm -rf {} +
}

dbs_ready() {
	need_root
	guest_packages
	install_packages qemu-system-x86 clang bpftool libbpf-dev libelf-dev zlib1g-dev jq python3
	kernel_ready
	mkdir -p "$CACHE/databases"
	DBS_DIR=$CACHE/databases/$(dbs_key)
	with_lock databases dbs_build "$DBS_DIR"
	chmod 600 "$DBS_DIR/key"
}

# dbs_build_tools DIR: the guest part and what measures it, as the guest's
# /opt/migdb-guest.
dbs_build_tools() {
	local dir=$1 tests=$TOP/tools/testing/selftests/migdb/mem_hints
	"$TOP/tools/build/modules" && "$TOP/tools/build/tools" || return
	mkdir -p "$dir"
	make -s -C "$TOP" install DESTDIR="$dir/root" ROLE=guest || return
	gcc -O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -static -isystem "$TOP/include/uapi" \
		-I"$KSRC/tools/testing/selftests" -I"$tests" "$TOP/tools/lab/guest/hintshare.c" "$tests/guest.c" \
		-o "$dir/hintshare" || return
	cp "$BUILD/mem_hints.ko" "$dir/"
}

# dbs_port: a port of this machine that nobody listens on.
dbs_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 12000))
		(: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo $port; return; }
	done
}

dbs_boot() {
	local dir=$1 d drives=()
	DBS_WORK=$dir
	mkdir -p "$dir"
	need_space "$dir" 3000
	need_memory $((DBS_MEM + 300))
	for d in root data; do
		cp --sparse=always --reflink=auto "$DBS_DIR/$d.img" "$dir/$d.img"
	done
	dbs_build_tools "$dir/tools" >"$dir/build.log" 2>&1 ||
		{ tail -20 "$dir/build.log" >&2; die "what the guest needs does not build (log: $dir/build.log)"; }
	guest_tools_image "$dir/tools.img" "$dir/tools"
	for d in root data tools; do
		drives+=(-drive "if=none,id=$d,file=$dir/$d.img,format=raw,cache=unsafe"
			-device "virtio-blk-pci,drive=$d,serial=migdb-$d")
	done
	DBS_PORT=$(dbs_port) DBS_SQL_PORT=$(dbs_port) DBS_MC_PORT=$(dbs_port) DBS_QMP_PORT=$(dbs_port)
	: >"$dir/console"
	# It ends with this script, whatever ends that.
	setpriv --pdeathsig KILL qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m "$DBS_MEM" -smp 2 \
		-nodefaults -display none -no-reboot -serial "file:$dir/console" \
		-kernel "$KIMG" -initrd "$DBS_DIR/initrd" \
		-append "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0 random.trust_cpu=on" "${drives[@]}" \
		-netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$DBS_PORT-:22,hostfwd=tcp:127.0.0.1:$DBS_SQL_PORT-:3306,hostfwd=tcp:127.0.0.1:$DBS_MC_PORT-:11211" \
		-qmp "tcp:127.0.0.1:$DBS_QMP_PORT,server=on,wait=off" \
		-device virtio-net-pci,netdev=net,romfile= \
		</dev/null >"$dir/qemu.log" 2>&1 9>&- &
	DBS_PID=$!
	at_exit dbs_off
	wait_for 300 dbs_sh true || { tail -n 5 "$dir/console" "$dir/qemu.log" >&2; die "the guest does not come up"; }
}

dbs_off() {
	[ -n "$DBS_PID" ] || return 0
	kill "$DBS_PID" 2>/dev/null || true
	wait "$DBS_PID" 2>/dev/null || true
	DBS_PID=
	rm -f "$DBS_WORK"/*.img
}

dbs_sh() {
	kill -0 "$DBS_PID" 2>/dev/null || die "the guest has ended: $(tail -n 3 "$DBS_WORK/console" "$DBS_WORK/qemu.log")"
	ssh -p "$DBS_PORT" -i "$DBS_DIR/key" -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=20 \
		-o ControlMaster=auto -o "ControlPath=$DBS_WORK/ssh" -o ControlPersist=600 \
		root@127.0.0.1 "$@" </dev/null
}

# Whoever has the device open keeps the module: no server with an agent may run.
dbs_hints() {
	dbs_sh 'kill $(pidof migdb-hintd) 2>/dev/null
		for i in $(seq 300); do
			[ -d /sys/module/mem_hints ] || break
			rmmod mem_hints 2>/dev/null && break
			sleep 0.1
		done
		[ ! -d /sys/module/mem_hints ]' || die "mem_hints cannot be unloaded in the guest"
	[ "$1" != off ] || return 0
	dbs_sh 'insmod /opt/migdb-guest/mem_hints.ko allow_local=1 ready_ms=2000 walk_ms=10000' ||
		die "mem_hints.ko does not load in the guest"
	[ "$1" = on ] || return 0
	dbs_sh 'setsid /opt/migdb-guest/root/usr/local/sbin/migdb-hintd </dev/null >/run/hintd.log 2>&1 &
		for i in $(seq 300); do
			/opt/migdb-guest/root/usr/local/sbin/migdb-hintd --status >/run/hintd.status 2>&1 && exit 0
			sleep 0.2
		done
		cat /run/hintd.log /run/hintd.status
		exit 1' || die "migdb-hintd does not attach in the guest"
}

dbs_share() {
	dbs_sh "/opt/migdb-guest/hintshare $*"
}

# dbs_measure ARG...: keeps what it says for share_of NAME FIELD.
dbs_measure() {
	dbs_share "$@" >"$DBS_WORK/shares"
}

share_of() {
	jq -c "select(.what == \"$1\") | $2" "$DBS_WORK/shares"
}

# dbs_no_fault: of the guest's kernel, since it was booted.
dbs_no_fault() {
	local said
	said=$(dbs_sh dmesg | grep -aE -m3 "$KERNEL_FAULT") || return 0
	printf '%s\n' "$said"
	return 1
}
