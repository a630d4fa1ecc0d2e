#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests of the guest part in one emulated guest, on the stock kernel or on one that
# has it in the tree.

top=$(cd "$(dirname "$0")/../../../../.." && pwd)
. "$top/tools/lab/lib/kernel.sh"

usage() {
	cat <<-EOT
	Usage: run.sh [--bench] [--only NAME[,NAME]...] [--timeout SECONDS]

	Builds mem_hints.ko, migdb-hints and the tests, boots an emulated guest with
	them, and prints their KTAP output.  Exits with 0 if all passed.

	  --bench          also print what noting costs (not a test)
	  --only NAME      pure_test, table_test, disk_test, hang_test, channel_test, mem_hint_test,
	                   mem_hint_memory_test, mem_hint_bad_test, lib_test, share_test, policy_test,
	                   hintd_test or lockdown (a boot of its own)
	  --timeout N      give the guest so long (default 900; with checkers 3600)

	MEM_HINTS_KO, MIGDB_KO, MIGDB_HINTS, MIGDB_HINTD: use these instead of building.
	LAB_KERNEL=DIR: boot that kernel of tools/build/kernel and test its own
	mem_hints, with mem_hint(2).  Where that is built in (y), what loads it with
	other parameters cannot run: of the tests in the guest there are mem_hint_test,
	mem_hint_memory_test, mem_hint_bad_test and lib_test.
	LAB_KERNEL_ARGS adds to the command line, as kmemleak=on on one with checkers.
	MIGDB_NO_SKIP=1: a test that is skipped has failed, but for those of the system
	call on a kernel that has none.
	EOT
}

bench=0 only='' timeout=''
while [ $# -gt 0 ]; do
	case $1 in
	--bench) bench=1 ;;
	--only) only=${2:?--only needs a name}; shift ;;
	--timeout) timeout=${2:?--timeout needs a number}; shift ;;
	-h|--help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

wanted() {
	[ -z "$only" ] || [[ ",$only," = *",$1,"* ]]
}

src=$top/tools/testing/selftests/migdb/mem_hints
out=$BUILD/mem_hints_test
guest_tests=(table_test disk_test hang_test channel_test mem_hint_test mem_hint_memory_test mem_hint_bad_test lib_test share_test policy_test hintd_test)
loaded_tests=(mem_hint_test mem_hint_memory_test mem_hint_bad_test lib_test)	# the others load the module as they need it
hint_params=(allow_local=1 ready_ms=1000 walk_ms=4000)	# of loaded_tests
kimg='' mods='' krel='' memory=512M factor=1 parameters=()

# What is booted: the stock kernel, or LAB_KERNEL with its own mem_hints.
choose_kernel() {
	kimg=$KIMG mods=${KMODS%/lib/modules/*} krel=$KVER
	if [ -n "${LAB_KERNEL:-}" ]; then
		[ -s "$LAB_KERNEL/release" ] ||
			die "LAB_KERNEL=$LAB_KERNEL is no directory of tools/build/kernel"
		krel=$(cat "$LAB_KERNEL/release")
		kimg=$LAB_KERNEL/bzImage mods=$LAB_KERNEL
		MEM_HINTS_KO=$(find "$mods/lib/modules/$krel" -name mem_hints.ko)
		if [ -z "$MEM_HINTS_KO" ]; then
			grep -q '/mem_hints\.ko$' "$mods/lib/modules/$krel/modules.builtin" ||
				die "LAB_KERNEL=$LAB_KERNEL has no mem_hints"
			parameters=("${hint_params[@]/#/mem_hints.}")
			guest_tests=("${loaded_tests[@]}")
		fi
		# checkers: a shadow of an eighth of the memory, and several times slower
		if grep -q '^CONFIG_KASAN=y' "$LAB_KERNEL/config"; then
			memory=1536M
			timeout=${timeout:-3600} factor=5
		fi
	fi
	timeout=${timeout:-900}
}

built_in() {
	[ ${#parameters[@]} -gt 0 ]
}

# A question of what distributions sign: of the stock kernel only.
with_lockdown() {
	[ -z "${LAB_KERNEL:-}" ] && { [ -z "$only" ] || [ "$only" = lockdown ]; }
}

build() {
	kernel_ready
	choose_kernel
	install_packages clang libbpf-dev libelf-dev zlib1g-dev bpftool busybox-static \
		e2fsprogs xfsprogs fdisk cpio kmod qemu-system-x86
	mkdir -p "$out/tests" "$out/bpf" "$out/tree/kernel/mm"
	make -s -C "$src" KSRC="$KSRC" KDIR="$KDIR" O="$out/tests"
	if [ -z "${MIGDB_HINTS:-}" ] || [ -z "${MIGDB_HINTD:-}" ]; then
		make -s -C "$top/tools/migdb/bpf" KDIR="$KDIR" O="$out/bpf"
		MIGDB_HINTS=${MIGDB_HINTS:-$out/bpf/migdb-hints}
		MIGDB_HINTD=${MIGDB_HINTD:-$out/bpf/migdb-hintd}
	fi
	if [ -z "${MEM_HINTS_KO:-}" ] && ! built_in; then
		# A copy, so that nothing is built inside the source tree.
		rsync -a --delete "$top/include/" "$out/tree/include/"
		rsync -a "$top/kernel/mm/hints" "$out/tree/kernel/mm/"
		make -s -C "$KDIR" M="$out/tree/kernel/mm/hints" modules
		MEM_HINTS_KO=$out/tree/kernel/mm/hints/mem_hints.ko
	fi
	if [ -z "${MIGDB_KO:-}" ] && with_lockdown; then
		"$top/tools/build/modules"
		MIGDB_KO=$BUILD/migdb.ko
	fi
}

# add_modules ROOT NAME...: the modules and what they need, as a load list.
add_modules() {
	local root=$1 m kind path
	shift
	for m; do
		modprobe -d "$mods" -S "$krel" --show-depends "$m" |
		while read -r kind path _; do
			[ "$kind" = insmod ] || continue
			cp -u "$path" "$root/lib/"
			printf '%s\n' "${path##*/}"
		done
	done | awk '!seen[$0]++' >"$root/lib/load"
}

make_initramfs() {
	local root=$out/root
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,lib,mnt,proc,sys,tmp}
	cp "$(command -v busybox)" "$root/bin/busybox"
	built_in || cp "$MEM_HINTS_KO" "$root/lib/mem_hints.ko"
	! with_lockdown || cp "$MIGDB_KO" "$root/lib/migdb.ko"
	cp "$MIGDB_HINTS" "$root/bin/migdb-hints"
	cp "$MIGDB_HINTD" "$root/bin/migdb-hintd"
	cp "$src/systemctl" "$root/bin/systemctl"
	cp "$out"/tests/{table_test,disk_test,hang_test,channel_test,mem_hint_test,mem_hint_memory_test,mem_hint_bad_test,lib_test,pool-db,share_test,policy_test,hintd_test,bench} "$root/bin/"
	cp "$out"/tests/*.bpf.o "$root/lib/"
	add_modules "$root" virtio_blk virtio_scsi sd_mod loop dm_mod xfs xts cts vsock vsock_loopback
	{
		cat <<-'EOT'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		mount -t devtmpfs none /dev
		mount -t proc none /proc
		mount -t sysfs none /sys
		while read -r m; do insmod /lib/$m || echo "cannot load $m"; done </lib/load
		i=0
		while [ $i -lt 200 ]; do
			[ -b /dev/vda1 ] && [ -b /dev/vdd ] && [ -b /dev/vde ] && [ -b /dev/sda ] && [ -b /dev/nvme0n1 ] && break
			usleep 20000
			i=$((i + 1))
		done
		mount -t ext4 /dev/vda1 /mnt
		EOT
		echo "export MIGDB_TIMEOUT_FACTOR=$factor"
		for t in "${guest_tests[@]}"; do
			wanted "$t" || continue
			if [[ " ${loaded_tests[*]} " != *" $t "* ]] || built_in; then
				printf 'echo "# begin %s"; %s; echo "# end %s $?"\n' $t $t $t
				continue
			fi
			echo "insmod /lib/mem_hints.ko ${hint_params[*]}"
			printf 'echo "# begin %s"; %s; echo "# end %s $?"\n' $t $t $t
			echo 'rmmod mem_hints || echo "# kernel complained"'
		done
		[ "$bench" = 0 ] || printf 'bench\n'
		cat <<-'EOT'
		umount /mnt
		echo '# log'; dmesg | grep mem_hints | sed 's/^/# /'
		# lockdep says one thing and then nothing any more
		grep -s '^ *debug_locks: *0' /proc/lockdep_stats && echo '# kernel complained'
		if grep -qw kmemleak=on /proc/cmdline; then
			mount -t debugfs none /sys/kernel/debug
			sleep 6		# nothing younger than 5 s is suspected
			echo scan >/sys/kernel/debug/kmemleak
			echo scan >/sys/kernel/debug/kmemleak
			cat /sys/kernel/debug/kmemleak
		fi
		dmesg | grep -E 'BUG|WARNING|Oops|stall|memory leaks|Call Trace' && echo '# kernel complained'
		echo '# guest done'
		poweroff -f
		EOT
	} >"$root/init"
	# With lockdown=integrity: who is refused, and what is left behind.
	cat >"$root/lockdown" <<-'EOT'
	#!/bin/busybox sh
	/bin/busybox --install -s /bin
	mount -t devtmpfs none /dev
	mount -t proc none /proc
	mount -t sysfs none /sys
	mount -t securityfs none /sys/kernel/security
	nr=0
	result() {
		nr=$((nr + 1))
		if [ "$1" = 0 ]; then echo "ok $nr $2"; else echo "not ok $nr $2"; fi
	}
	echo "# begin lockdown"
	echo TAP version 13
	echo 1..5
	grep -q '\[integrity\]' /sys/kernel/security/lockdown
	result $? "the kernel is locked down"
	# A module that the distribution has signed is not.
	insmod /lib/signed.ko
	result $? "a module that is signed loads"
	insmod /lib/mem_hints.ko 2>/tmp/why
	[ $? != 0 ] && grep -q 'Operation not permitted' /tmp/why && dmesg | grep -q 'Lockdown: .*unsigned module loading'
	result $? "mem_hints without a signature is refused, and the kernel says why"
	[ ! -e /sys/kernel/mm/hints ] && [ ! -e /dev/mem_hints ] && migdb-hints --status >/tmp/status 2>&1
	[ $? = 1 ]
	result $? "nothing of it is there, and the tools say so"
	insmod /lib/migdb.ko 2>/tmp/why
	[ $? != 0 ] && grep -q 'Operation not permitted' /tmp/why && [ ! -e /dev/vhost-migdb ]
	result $? "so is migdb, the part of hosts"
	echo "# end lockdown 0"
	dmesg | grep -E 'BUG|WARNING|Oops|stall|leak|Call Trace' && echo '# kernel complained'
	echo '# guest done'
	poweroff -f
	EOT
	cp "$(modprobe -d "${KMODS%/lib/modules/*}" -S "$KVER" --show-depends loop | awk '$1 == "insmod" { print $2; exit }')" "$root/lib/signed.ko"
	chmod +x "$root/init" "$root/lockdown"
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$out/initrd.gz"
}

# vda: an MBR, a partition with ext4 at 1 MiB that ends at 16 MiB.
# vdd: a file system of 4 MiB at 1 MiB, for a logical volume.
# vdd at 5 MiB and sda at 1 MiB: the same, for one that is striped over both.
# vde: XFS, of the least size that it has.
make_disks() {
	local d=$out/disks files=$out/files n to at
	rm -rf "$d" "$files"
	mkdir -p "$d" "$files"
	head -c 4M /dev/urandom >"$files/data"
	truncate -s 15M "$d/part"
	mke2fs -q -t ext4 -O ^has_journal,inline_data,encrypt -b 4096 -d "$files" "$d/part"
	head -c 64M /dev/urandom >"$d/a"
	printf 'label: dos\n2048,30720,L\n' | sfdisk -q "$d/a"
	dd if="$d/part" of="$d/a" bs=1M seek=1 conv=notrunc status=none
	for n in b c d s n; do
		head -c 8M /dev/urandom >"$d/$n"
	done
	head -c 1M /dev/urandom >"$files/data"
	truncate -s 4M "$d/volume"
	mke2fs -q -t ext4 -O ^has_journal -b 4096 -d "$files" "$d/volume"
	dd if="$d/volume" of="$d/d" bs=1M seek=1 conv=notrunc status=none
	for ((n = 0; n < 64; n++)); do	# chunks of 64 KiB
		to=$d/d at=80
		[ $((n % 2)) = 0 ] || to=$d/s at=16
		dd if="$d/volume" of="$to" bs=64K skip="$n" seek=$((at + n / 2)) count=1 conv=notrunc status=none
	done
	truncate -s 320M "$d/x"
	mkfs.xfs -q -m reflink=1 "$d/x"
}

# boot INIT CONSOLE [PARAMETER]...
boot() {
	local d=$out/disks n drives=() init=$1 console=$2
	shift 2
	for n in a b c d x s n; do
		drives+=(-drive "if=none,id=$n,file=$d/$n,format=raw,cache=unsafe")
	done
	: >"$console"	# not that of an earlier guest
	timeout "$timeout" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m "$memory" -smp 2 \
		-nodefaults -display none -no-reboot -serial "file:$console" \
		-kernel "$kimg" -initrd "$out/initrd.gz" \
		-append "console=ttyS0 quiet panic=-1 rdinit=$init nvme_core.multipath=N ${LAB_KERNEL_ARGS:-} $*" "${drives[@]}" \
		-device virtio-blk-pci,drive=a,serial=dbdisk,addr=0x1a \
		-device virtio-blk-pci,drive=b,serial=twin,addr=0x1b \
		-device virtio-blk-pci,drive=c,serial=twin,addr=0x1c \
		-device virtio-blk-pci,drive=d,addr=0x1d \
		-device virtio-blk-pci,drive=x,serial=xfs,addr=0x1e \
		-device virtio-scsi-pci,id=scsi \
		-device scsi-hd,bus=scsi.0,drive=s,wwn=0x5000c500a1b2c3d4 \
		-device nvme,drive=n,serial=nv0 \
		</dev/null >"$out/qemu.log" 2>&1 || true
}

build
failed=0
if wanted pure_test; then
	"$out/tests/pure_test" || failed=1
	[ "$only" != pure_test ] || exit "$failed"
fi
make_initramfs
make_disks

# The same tests run by way of /dev/mem_hints.
may_skip='^ok [0-9]+ mem_hint\.syscall\.[a-z0-9_]+ # SKIP this kernel has no mem_hint\(\)$'
[ -z "${LAB_KERNEL:-}" ] || may_skip+='|# SKIP this kernel encrypts no files$'

# judge CONSOLE TEST...: what the guest said, and how it ended.
judge() {
	local console=$1 t skips
	shift
	tr -d '\r' <"$console" | grep -E '^(KTAP|TAP|ok|not ok|1\.\.|#)' || true
	for t; do
		wanted "$t" || continue
		grep -q "^# end $t 0" "$console" || failed=1
	done
	! grep -q '^not ok' "$console" || failed=1
	if [ -n "${LAB_KERNEL:-}" ] && grep -q 'SKIP.*no mem_hint()' "$console"; then
		say "$LAB_KERNEL has no mem_hint(2): is it in the table of system calls?"
		failed=1
	fi
	skips=$(tr -d '\r' <"$console" | grep -iE '^ok .*# SKIP' | grep -vE "$may_skip") || true
	if [ "${MIGDB_NO_SKIP:-0}" = 1 ] && [ -n "$skips" ]; then
		say "skipped, which MIGDB_NO_SKIP forbids:" "$skips"
		failed=1
	fi
	grep -q '^# guest done' "$console" || { say "the guest did not finish: see $console"; failed=1; }
	if grep -q '^# kernel complained' "$console"; then
		say "the guest's kernel complained: see $console"
		failed=1
	fi
}

if [ "$only" != lockdown ]; then
	step "booting the guest"
	boot /init "$out/console" "${parameters[@]}"
	judge "$out/console" "${guest_tests[@]}"
fi
if with_lockdown; then
	step "booting it with lockdown=integrity"
	boot /lockdown "$out/console.lockdown" lockdown=integrity
	judge "$out/console.lockdown" lockdown
fi
exit "$failed"
