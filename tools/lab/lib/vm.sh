# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The database VM in the lab: a nested guest on host a or b, moved between them,
# with clients outside and the memory oracle.  Needs lib/guest.sh's images as
# the shared disks NAME-root and NAME-data (and NAME-tools, when there is one),
# and the directory of vm_payload and a QEMU as payloads of "lab up".
#
#   vm_payload DIR                  kernel, initrd and oracle for both hosts
#   vm_disks NAME DIR               prints the --disk options for "lab up"
#   vm_uuid NAME                    its UUID
#   vm_load_migdb HOST              migdb.ko of the payload, or the one of LAB_KERNEL; its
#                                   device as on a real host
#   vm_start NAME HOST [--incoming] [--no-ring] [--qemu PATH] [--mem MIB]
#            [--smp N] [--hints 0] [--global G]... [--machine M]
#   vm_wait_db NAME [SECONDS]       until the database answers
#   vm_migrate NAME FROM TO OUT [options of qmp.py migrate]   TO stays paused
#   vm_oracle NAME FROM TO OUT [MASK...]   compares all RAM; 0: identical
#   vm_oracle_again NAME HOST OUT [MASK...]   the same after a change on one side only
#   vm_built NAME HOST OUT          which pages the move to HOST that begins now builds
#   vm_ram NAME HOST                where the guest's memory is in QEMU's
#   vm_flip NAME HOST OFFSET [RAM]  a fault for the oracle to find
#   vm_died NAME HOST               has the guest ended by itself?  Prints registers
#   vm_cont NAME HOST / vm_quit NAME HOST / vm_pid NAME HOST
#   vm_qmp NAME HOST JSON / vm_hmp NAME HOST COMMAND
#   vm_ssh NAME CMD...              a root shell command in the guest
#   vm_sql NAME SQL                 as the user sbtest, from outside
#   vm_masks NAME                   for the oracle, while the guest runs: what KVM writes
#            by itself (AREA=BLOCK:OFFSET,LEN), where the hint table is (hints=ADDRESS)
#
# NAME is db, db2, db3...: db has 10.77.0.21, vsock CID 3, monitor port 4445 of
# its host; the others count on from there.

. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"
. "$(dirname "${BASH_SOURCE[0]}")/state.sh"

VM_LAB=$TOP/tools/lab/lab
[ -z "${LAB_NAME:-}" ] || lab_names
VM_DB_TIMEOUT=${VM_DB_TIMEOUT:-180}
VM_SQL_TIMEOUT=${VM_SQL_TIMEOUT:-300}	# wrong memory may keep a query for ever
VM_PREALLOC=${VM_PREALLOC:-}	# not empty: all of a VM's memory is there from the start

vm_lab() {
	"$VM_LAB" "$@"
}

vm_index() {
	local n=${1#db}
	[[ $1 =~ ^db[2-9]?$ ]] || die "a VM is called db or db2..db9, not '$1'"
	printf '%s\n' "${n:-1}"
}

vm_ip() { printf '10.77.0.%s\n' $((20 + $(vm_index "$1"))); }
# Whatever makes VMs gives them a UUID; it is how migdb calls them.
vm_uuid() { printf '6d696764-6264-4000-8000-%012d\n' "$(vm_index "$1")"; }
vm_cid() { printf '%s\n' $((2 + $(vm_index "$1"))); }
vm_port() { printf '%s\n' $((4444 + $(vm_index "$1"))); }
vm_incoming() { printf '%s\n' $((4544 + $(vm_index "$1"))); }

vm_host_ip() {
	case $1 in
	a) printf '%s.11\n' "$2" ;;
	b) printf '%s.12\n' "$2" ;;
	*) die "hosts are called a and b, not '$1'" ;;
	esac
}

vm_addr() { printf '%s:%s\n' "$(vm_host_ip "$2" 10.77.0)" "$(vm_port "$1")"; }

# vm_state NAME: a directory of this lab for sockets and files of the VM.
vm_state() {
	local dir
	[ -n "${LAB_RUN:-}" ] || lab_names
	dir=$LAB_RUN/vm-$1
	mkdir -p "$dir"
	printf '%s\n' "$dir"
}

vm_payload() {
	install_packages build-essential libxxhash-dev python3
	mkdir -p "$1/guest" "$1/oracle"
	cp "$GUEST_KERNEL" "$1/guest/vmlinuz"
	cp "$GUEST_INITRD" "$1/guest/initrd"
	make -s -C "$TOP/tools/lab/oracle" "O=$BUILD/oracle" >&2 || die "the oracle does not build"
	cp "$BUILD"/oracle/{ramhash,hintset,claims} "$1/oracle/"
}

vm_disks() {
	printf '%s\n' --disk "$1-root=$2/root.img" --disk "$1-data=$2/data.img"
	[ ! -e "$2/tools.img" ] || printf '%s\n' --disk "$1-tools=$2/tools.img:ro"
}

# The hosts have no udev: what migdb's rule says is done by hand.
vm_load_migdb() {
	local rule=$TOP/tools/migdb/udev/60-migdb.rules load='insmod /opt/migdb/migdb.ko' group mode
	[ -z "${LAB_KERNEL:-}" ] || load='modprobe migdb'
	group=$(sed -nE 's/^KERNEL=="vhost-migdb",.*GROUP="([^"]+)".*/\1/p' "$rule")
	mode=$(sed -nE 's/^KERNEL=="vhost-migdb",.*MODE="([^"]+)".*/\1/p' "$rule")
	[ -n "$group" ] && [ -n "$mode" ] || die "no group or mode in $rule"
	vm_lab exec "$1" "modprobe vhost && $load &&
		{ getent group $group >/dev/null || groupadd -r $group; } &&
		chgrp $group /dev/vhost-migdb && chmod $mode /dev/vhost-migdb" ||
		die "migdb.ko does not load on host $1: $(vm_lab log "$1" | tail -3)"
}

vm_start() {
	local name=$1 host=$2 qemu=/opt/migdb/qemu/qemu-system-x86_64 accel=kvm,dirty-ring-size=4096
	local mem=$GUEST_MEM smp=2 hints=1 machine=q35,i8042=off,smbus=off,sata=off,vmport=off,usb=off,hpet=off
	local extra=() args d i tap
	shift 2
	while [ $# -gt 0 ]; do
		case $1 in
		--incoming) extra+=(-incoming defer -S) ;;
		--no-ring) accel=kvm ;;
		--qemu) qemu=$2; shift ;;
		--mem) mem=$2; shift ;;
		--smp) smp=$2; shift ;;
		--hints) hints=$2; shift ;;
		--global) extra+=(-global "$2"); shift ;;
		--machine) machine=$2; shift ;;
		*) die "vm_start: unknown option $1" ;;
		esac
		shift
	done
	i=$(vm_index "$name")
	tap=tap-$name
	# shellcheck disable=SC2054 # the commas are QEMU's
	args=("$qemu" -name "$name" -uuid "$(vm_uuid "$name")" -nodefaults -no-user-config -display none
		# A guest that dies stays for vm_died: its registers are all that it can say.
		-action reboot=shutdown,shutdown=pause
		-machine "$machine" -accel "$accel" -cpu host -smp "$smp" -m "$mem"
		-kernel /opt/migdb/guest/vmlinuz -initrd /opt/migdb/guest/initrd
		-append "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0 random.trust_cpu=on migdb.ip=$(vm_ip "$name")/24 migdb.pool=$GUEST_POOL migdb.hints=$hints"
		-serial "file:/run/vm/$name.serial" -pidfile "/run/vm/$name.pid"
		-qmp "tcp:0.0.0.0:$(vm_port "$name"),server=on,wait=off,nodelay=on"
		-netdev "tap,id=net,ifname=$tap,script=no,downscript=no"
		-device "virtio-net-pci,netdev=net,mac=52:54:00:77:00:$((20 + i)),romfile="
		-device "vhost-vsock-pci,id=vsock,guest-cid=$(vm_cid "$name")")
	[ -z "$VM_PREALLOC" ] || args+=(-mem-prealloc)
	for d in root data tools; do
		vm_lab exec "$host" test -e "/dev/lab/$name-$d" || continue
		args+=(-blockdev "driver=host_device,node-name=$d,filename=/dev/lab/$name-$d,cache.direct=on,aio=native$([ $d != tools ] || printf ',read-only=on')"
			-device "virtio-blk-pci,drive=$d,serial=migdb-$d,id=disk-$d")
	done
	args+=("${extra[@]}")
	vm_lab exec "$host" "
		mkdir -p /run/vm
		! [ -e /run/vm/$name.pid ] || ! kill -0 \$(cat /run/vm/$name.pid) 2>/dev/null || { echo '$name is running on $host already' >&2; exit 1; }
		rm -f /run/vm/$name.pid
		ip link show $tap >/dev/null 2>&1 || ip tuntap add $tap mode tap
		ip link set $tap master br0 up
		setsid $(printf '%q ' "${args[@]}") </dev/null >/run/vm/$name.log 2>&1 &
		for i in \$(seq 200); do
			[ ! -s /run/vm/$name.pid ] || exit 0
			kill -0 \$! 2>/dev/null || break
			sleep 0.1
		done
		echo 'QEMU did not start:' >&2
		cat /run/vm/$name.log >&2
		exit 1" || die "cannot start $name on host $host"
	vm_py "$(vm_addr "$name" "$host")" wait 30 >/dev/null || die "no monitor of $name on host $host"
}

vm_py() {
	vm_lab netns /usr/bin/python3 "$TOP/tools/lab/lib/qmp.py" "$@"
}

vm_qmp() { vm_py "$(vm_addr "$1" "$2")" cmd "$3"; }
vm_hmp() { vm_py "$(vm_addr "$1" "$2")" hmp "$3"; }
vm_cont() { vm_qmp "$1" "$2" '{"execute":"cont"}' >/dev/null; }
vm_stop() { vm_qmp "$1" "$2" '{"execute":"stop"}' >/dev/null; }
vm_pid() { vm_lab exec "$2" cat "/run/vm/$1.pid"; }

# vm_quit NAME HOST: ends QEMU there; the guest itself is not asked.
vm_quit() {
	vm_lab exec "$2" "
		pid=\$(cat /run/vm/$1.pid 2>/dev/null) || exit 0
		kill \$pid 2>/dev/null
		for i in \$(seq 100); do kill -0 \$pid 2>/dev/null || break; sleep 0.1; done
		kill -9 \$pid 2>/dev/null
		rm -f /run/vm/$1.pid
		ip link del tap-$1 2>/dev/null
		true"
}

# vm_died NAME HOST: succeeds when the guest has ended by itself, by a triple
# fault say; then it prints the registers.
vm_died() {
	case $(vm_qmp "$1" "$2" '{"execute":"query-status"}' 2>/dev/null) in
	*'"status": "shutdown"'*) ;;
	*) return 1 ;;
	esac
	say "  $1 has ended by itself on host $2; its registers:"
	vm_hmp "$1" "$2" "info registers -a" >&2
}

vm_console() {
	vm_lab exec "$2" "cat /run/vm/$1.serial; cat /run/vm/$1.log"
}

vm_sql() {
	local name=$1
	shift
	vm_lab netns timeout "$VM_SQL_TIMEOUT" mariadb -h "$(vm_ip "$name")" -u sbtest -psbtest --connect-timeout=10 -N -B -e "$*"
}

vm_wait_db() {
	local end=$((SECONDS + ${2:-$VM_DB_TIMEOUT}))
	until vm_sql "$1" "SELECT 1" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 1
	done
}

vm_ssh() {
	local name=$1 dir
	shift
	dir=$(vm_state "$name")
	vm_lab netns ssh -i "$GUEST_KEY" -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=20 \
		-o ServerAliveInterval=10 -o ServerAliveCountMax=6 \
		-o ControlMaster=auto -o "ControlPath=$dir/ssh" -o ControlPersist=600 \
		"root@$(vm_ip "$name")" "$@" </dev/null
}

# vm_masks: what the host's KVM writes into the guest's memory by itself, so
# that it differs although nobody did anything wrong: the wall clock of kvmclock,
# 12 bytes, written anew when the destination sets its MSR.  Its address comes
# from the MSR.  (The areas of system time and steal time are written only when
# a vCPU is entered, which a paused VM is not: they are compared.)
# The hint table tells the oracle the construct set, in which no mask is taken.
vm_masks() {
	local msr root
	msr=$((0x$(vm_ssh "$1" rdmsr -p 0 0x4b564d00)))
	[ $msr -eq 0 ] || printf 'wall-clock=pc.ram:%d,12\n' $msr
	root=$(vm_ssh "$1" 'cat /sys/kernel/mm/hints/root_gpa 2>/dev/null') || true
	[ -z "$root" ] || printf 'hints=%s\n' "$root"
}

# vm_blocks NAME HOST: "HVA USED NAME" of each RAM block that has a name, which
# are the migratable ones.
vm_blocks() {
	vm_hmp "$1" "$2" "info ramblock" |
		sed -nE 's/^ *(.*[^ ]) +[0-9]+ [KMG]iB +0x[0-9a-f]+ +0x([0-9a-f]+) +0x[0-9a-f]+ +0x([0-9a-f]+).*$/\3 \2 \1/p'
}

# vm_ramhash NAME HOST OUT [MASK...]: the hashes of one side.
vm_ramhash() {
	local name=$1 host=$2 out=$3 m opts=
	shift 3
	for m; do
		case $m in
		hints=*) ;;
		*) opts="$opts -m $m" ;;
		esac
	done
	vm_blocks "$name" "$host" >"$out.blocks"
	[ -s "$out.blocks" ] || die "no RAM blocks of $name on host $host"
	# The compressed hashes are small beside a copy of the memory.
	vm_lab exec "$host" "/opt/migdb/oracle/ramhash$opts \$(cat /run/vm/$name.pid) /tmp/$name.ramhash" <"$out.blocks" ||
		die "ramhash failed on host $host"
	vm_lab exec "$host" cat "/tmp/$name.ramhash" >"$out"
	vm_lab exec "$host" rm "/tmp/$name.ramhash"
}

# vm_hintset NAME HOST BLOCKS OUT [MASK...]: the pages that the guest's hint table
# names, the most that the construct set of the move can have been; BLOCKS is of
# vm_blocks.  No OUT without a table.
vm_hintset() {
	local name=$1 host=$2 blocks=$3 out=$4 m
	shift 4
	rm -f "$out"
	for m; do
		[[ $m = hints=* ]] || continue
		vm_lab exec "$host" "/opt/migdb/oracle/hintset ${m#*=} \$(cat /run/vm/$name.pid) /tmp/$name.set" \
			<"$blocks" >/dev/null || die "oracle: no hint table of $name on host $host"
		vm_lab exec "$host" "cat /tmp/$name.set; rm /tmp/$name.set" >"$out"
	done
}

vm_paused() {
	case $(vm_qmp "$1" "$2" '{"execute":"query-status"}') in
	*'"running": true'*) die "oracle: $1 runs on host $2" ;;
	esac
}

# vm_compare OUT FROM TO: the hashes of two sides.
vm_compare() {
	local out=$1 sets=() rc=0
	[ ! -e "$out.set" ] || sets+=(-s "$out.set")
	[ ! -e "$out.built" ] || sets+=(-b "$out.built")
	"$BUILD/oracle/ramcmp" "${sets[@]}" "$out.$2" "$out.$3" >"$out" || rc=$?
	[ $rc -le 1 ] || die "ramcmp failed"
	tail -1 "$out" >"$out.json"
	return $rc
}

# vm_oracle NAME FROM TO OUT [MASK...]: both must not run.  OUT gets ramcmp's
# lines, OUT.json its summary, OUT.set the pages that the hint table names.
vm_oracle() {
	local name=$1 from=$2 to=$3 out=$4 pid
	shift 4
	vm_state "$name" >/dev/null
	vm_paused "$name" "$from"
	vm_paused "$name" "$to"
	vm_ramhash "$name" "$from" "$out.$from" "$@" &
	pid=$!
	vm_ramhash "$name" "$to" "$out.$to" "$@"
	wait $pid || die "the oracle failed on host $from"
	vm_hintset "$name" "$from" "$out.$from.blocks" "$out.set" "$@"
	vm_compare "$out" "$from" "$to"
}

# vm_oracle_again NAME HOST OUT [MASK...]: after a change on HOST, against what
# vm_oracle found on the other host.
vm_oracle_again() {
	local name=$1 host=$2 out=$3 other=a
	[ "$host" = b ] || other=b
	shift 3
	vm_paused "$name" "$host"
	vm_ramhash "$name" "$host" "$out.$host" "$@"
	vm_compare "$out" $other "$host"
}

# vm_built NAME HOST OUT: watches the claims of a move to HOST from outside; call it
# in the background before the move.  OUT gets the frames, OUT.json the number.
VM_FIRST_FRAME=0x200	# the QEMU series leaves the first 2 MiB alone
vm_built() {
	vm_lab exec "$2" "timeout 400 /opt/migdb/oracle/claims $VM_FIRST_FRAME 60 \$(cat /run/vm/$1.pid) /tmp/$1.built" >"$3.json" || return
	vm_lab exec "$2" "cat /tmp/$1.built; rm /tmp/$1.built" >"$3"
}

# vm_ram NAME HOST: the address of the guest's RAM in QEMU's memory.
vm_ram() {
	local hva
	hva=$(vm_blocks "$1" "$2" | awk '$3 == "pc.ram" { print $1 }')
	[ -n "$hva" ] || die "no RAM of $1 on host $2"
	printf '%d\n' "0x$hva"
}

# vm_flip NAME HOST OFFSET [RAM]: inverts one byte of the guest's RAM from outside, which
# the oracle has to find.  With RAM of vm_ram it does without the monitor, which a
# migration has for itself.
vm_flip() {
	local ram=${4:-}
	[ -n "$ram" ] || ram=$(vm_ram "$1" "$2") || return
	vm_lab exec "$2" "/opt/migdb/oracle/ramhash -f $((ram + $3)) \$(cat /run/vm/$1.pid)"
}

# vm_migrate NAME FROM TO OUT [OPTION...]: TO must wait with --incoming.
vm_migrate() {
	local name=$1 from=$2 to=$3 out=$4
	shift 4
	vm_py migrate "$(vm_addr "$name" "$from")" "$(vm_addr "$name" "$to")" \
		"tcp:$(vm_host_ip "$to" 10.78.0):$(vm_incoming "$name")" "$@" >"$out"
}
