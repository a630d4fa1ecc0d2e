#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The database VM moves with migdb while something goes wrong: the link is cut and
# comes back, or stays away until the operator gives up; the destination's storage
# fails, or hangs; its operator switches migdb off.  Nothing is lost, and the oracle
# is on.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/scene.sh"

plan 32
dir=$BUILD/tests/vm-faults
scene_up "$dir" migdb
mapfile -t masks < <(vm_masks db)
caps=(--cap x-migdb=on --cap return-path=on --param max-bandwidth=12500000000)
vm_lab link --delay 1ms --rate 80mbit
vm_lab storage --rate 60000000

# in_mid_move HOST COMMAND...: COMMAND, 4 s after a session has begun on HOST.
in_mid_move() {
	local host=$1
	shift
	wait_for 120 eval "! sessions_left $host"
	sleep 4
	"$@"
}

cut_and_back() {
	vm_lab link --cut
	sleep 6
	vm_lab link --restore
}

in_mid_move a cut_and_back >&2 &
moved migdb-ro a b
wait $! || true
check "link cut and back: pages were built" test "$(field migdb-ro '.pages_built > 10000')" = true

# Away until the operator gives up: the VM stays, and moves when the link is back.
vm_start db a --incoming
vm_migrate db b a "$dir/cut" "${caps[@]}" --cancel-after 12 >/dev/null 2>&1 &
mover=$!
in_mid_move b vm_lab link --cut
wait $mover || true
check "link gone, cancelled: the VM runs on where it was" vm_wait_db db 60
check "and no session is left at the source" wait_for 30 sessions_left b
vm_quit db a
vm_lab link --restore
check "nor at the destination" wait_for 30 sessions_left a

# The destination's disk behind a device that can be made to fail: under host a,
# where the VM is going.
on a 'modprobe dm_mod && size=$(blockdev --getsz /dev/lab/db-data) && real=$(readlink -f /dev/lab/db-data) &&
	echo "$real $size" >/run/faulty && echo "0 $size linear $real 0" | dmsetup create faulty && dmsetup mknodes && test -b /dev/mapper/faulty &&
	ln -sfn /dev/mapper/faulty /dev/lab/db-data' || die "no device-mapper in host a"

# faulty good|bad: bad: every second MiB cannot be read.
faulty() {
	on a "read -r real size </run/faulty
		if [ $1 = bad ]; then
			seq 0 2048 \$((size - 2048)) | awk -v real=\$real '{ if (NR % 2) print \$1, 2048, \"linear\", real, \$1; else print \$1, 2048, \"error\" }' >/run/table
			rest=\$((size % 2048))
			[ \$rest = 0 ] || echo \"\$((size - rest)) \$rest linear \$real \$((size - rest))\" >>/run/table
		else
			echo \"0 \$size linear \$real 0\" >/run/table
		fi
		dmsetup load faulty </run/table && dmsetup resume faulty"
}

fails_for_a_while() {
	sleep 4
	faulty good
}

faulty bad
in_mid_move a fails_for_a_while >&2 &
moved migdb-rw b a
wait $! || true
# the session's record is in the kernel log of the host that it ended on
io_errors() { on a "dmesg | sed -n 's/.*migdb-json: //p' | jq -s 'map(select(.role == \"destination\")) | last.by_reason.io_error'"; }
check "storage fails: pages were returned for it" test "$(io_errors)" -gt 100
check "and others were built" test "$(field migdb-rw '.pages_built > 1000')" = true

# It hangs for longer than a move would wait, then goes on.
vm_lab link --rate off
vm_start db b --incoming
check "goes back while storage is well" vm_migrate db a b "$dir/back" "${caps[@]}"
check "and all memory is the same" vm_oracle db a b "$dir/back.cmp" "${masks[@]}"
vm_cont db b
vm_quit db a
vm_lab link --rate 80mbit

hangs() {
	on a 'dmsetup suspend --noflush --nolockfs faulty; sleep 8; dmsetup resume faulty'
}

in_mid_move a hangs >&2 &
moved migdb-ro b a
wait $! || true
check "storage hangs: pages were built" test "$(field migdb-ro '.pages_built > 1000')" = true

switch_off() {
	on b 'echo 0 >/sys/kernel/migdb/enabled'
}

vm_start db b --incoming
in_mid_move b switch_off >&2 &
switch=$!
check "switched off in mid-move: moves all the same" vm_migrate db a b "$dir/off" "${caps[@]}"
wait $switch || true
check "the destination says why" jq -e '.destination["x-migdb"] | .state == "ordinary" and .reason == "disabled by the operator"' "$dir/off"
check "and what was not built was returned" jq -e '.source["x-migdb"] | .["recorded-pages"] == .["built-pages"] + .["revoked-pages"] + .["returned-pages"]' "$dir/off"
check "and all memory is the same" vm_oracle db a b "$dir/off.cmp" "${masks[@]}"
vm_cont db b
check "and the database answers" vm_wait_db db 60
check "and no session is left on either side" wait_for 30 eval 'sessions_left a && sessions_left b'
finish
