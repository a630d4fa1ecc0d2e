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

plan 48
dir=$BUILD/tests/vm-faults
scene_up "$dir" migdb
mapfile -t masks < <(vm_masks db)
caps=(--cap x-migdb=on --param max-bandwidth=12500000000)
scene_rates 10000000 60000000

hit() {
	[ "$(cat "$dir/hit")" = $'begin\nend' ] || { echo "in mid-move only: $(cat "$dir/hit")"; return 1; }
}

# stood_still RECORD: of nine samples in a row, half a second apart, none had more than
# what was on its way.
stood_still() {
	jq -e '.samples | [range(0; length - 8) as $i | .[$i + 8][1] - .[$i][1]] | min < 5e6' "$1"
}

cut_and_back() {
	vm_lab link --cut
	sleep 6
	vm_lab link --restore
}

in_mid_move a cut_and_back >&2 &
moved migdb-ro a b
wait $! || true
check "link cut and back: both in mid-move" hit
check "link cut and back: nothing came through" stood_still "$dir/migdb-ro.migration"
check "link cut and back: pages were built" test "$(field migdb-ro '.pages_built > 10000')" = true

# Away until the operator gives up: the VM stays, and moves when the link is back.
vm_start db a --incoming
vm_migrate db b a "$dir/cut" "${caps[@]}" --cancel-after 12 >/dev/null 2>&1 &
mover=$!
in_mid_move b vm_lab link --cut
wait $mover || true
check "link gone: in mid-move" hit
check "link gone: cancelled" jq -e '.status == "cancelled"' "$dir/cut"
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
check "storage fails: in mid-move" hit
check "storage fails: pages were returned for it" test "$(io_errors)" -gt 100
check "and others were built" test "$(field migdb-rw '.pages_built > 1000')" = true

# It hangs for longer than a move would wait, then goes on.
vm_lab link --rate off
vm_start db b --incoming
check "goes back while storage is well" vm_migrate db a b "$dir/back" "${caps[@]}"
check "and all memory is the same" vm_oracle db a b "$dir/back.cmp" "${masks[@]}"
vm_cont db b
vm_quit db a
vm_lab link --rate "$N"bps

hangs() {
	on a 'dmsetup suspend --noflush --nolockfs faulty; sleep 8; dmsetup resume faulty'
}

in_mid_move a hangs >&2 &
moved migdb-ro b a
wait $! || true
check "storage hangs: in mid-move" hit
check "storage hangs: pages were built" test "$(field migdb-ro '.pages_built > 1000')" = true

switch_off() {
	on "$1" 'echo 0 >/sys/kernel/migdb/enabled'
}

# switched_off HOST SIDE FROM TO: by the operator of one of the hosts.
switched_off() {
	local host=$1 side=$2 from=$3 to=$4 out=$dir/off.$1
	vm_start db "$to" --incoming
	in_mid_move "$host" switch_off "$host" >&2 &
	switch=$!
	check "switched off at the $side: moves all the same" vm_migrate db "$from" "$to" "$out" "${caps[@]}"
	wait $switch || true
	check "in mid-move" test "$(head -1 "$dir/hit")" = begin
	check "the $side says why" jq -e --arg side "$side" '.[$side]["x-migdb"].reason == "disabled by the operator"' "$out"
	check "and what was not built was returned" jq -e '.source["x-migdb"] | .["recorded-pages"] == .["built-pages"] + .["revoked-pages"] + .["returned-pages"]' "$out"
	check "and all memory is the same" vm_oracle db "$from" "$to" "$out.cmp" "${masks[@]}"
	vm_cont db "$to"
	vm_quit db "$from"
	on "$host" 'echo 1 >/sys/kernel/migdb/enabled'
}

switched_off b destination a b
check "there it is an ordinary migration" jq -e '.destination["x-migdb"].state == "ordinary"' "$dir/off.b"
switched_off b source b a
check "and the database answers" vm_wait_db db 60
check "and no session is left on either side" wait_for 30 eval 'sessions_left a && sessions_left b'
finish
