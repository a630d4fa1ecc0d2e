#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The database VM moves with migdb, under load and back again, with the oracle on;
# then what must not go wrong: the destination's operator has switched migdb off,
# its module is gone, its QEMU dies in mid-move.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/run.sh"
. "$TOP/tools/lab/lib/qemu.sh"

plan 25
run_packages >&2
install_packages clang bpftool libbpf-dev libelf-dev zlib1g-dev >&2
guest_ready
qemu_ready migdb
dir=$BUILD/tests/vm-migdb
rm -rf "$dir"
mkdir -p "$dir"
at_exit "rm -rf $dir/disks $dir/payload"
{
	"$TOP/tools/build/modules"
	make -C "$TOP/tools/migdb/bpf" KDIR="$KDIR" O="$dir/bpf"
} >"$dir/build.log" 2>&1 || { tail -20 "$dir/build.log" >&2; die "the modules or migdb-hints do not build (log: $dir/build.log)"; }
guest_disks_fresh "$dir/disks"
vm_payload "$dir/payload"
cp "$BUILD/migdb.ko" "$dir/payload/"
guest_tools_image "$dir/disks/tools.img" "$BUILD/mem_hints.ko" "$dir/bpf/migdb-hints"
mapfile -t disks < <(vm_disks db "$dir/disks")
lab_up "${disks[@]}" --payload "$QEMU_PAYLOAD" --payload "$dir/payload"
for h in a b; do
	check "migdb loads on host $h" on $h "modprobe vhost && insmod /opt/migdb/migdb.ko"
done
vm_start db a
check "the database answers" vm_wait_db db
check "the guest part is loaded" vm_ssh db test -e /sys/kernel/mm/hints/root_gpa
vm_lab link --delay 1ms --rate 80mbit
vm_lab storage --rate 60000000

field() { jq -r "$2" "$dir/$1.json"; }
sessions_left() { test "$(on "$1" cat /sys/kernel/migdb/nr_sessions)" = 0; }

# moved RUN FROM TO: a measured move with every check.
moved() {
	check "$1: moves from $2 to $3" run_migrate db "$1" "$2" "$3" "$dir"
	diag "$(field "$1" '{total_ms, downtime_ms, source_bytes, pages_candidate, pages_recorded, pages_built, pages_revoked, pages_returned, migdb_state, migdb_reason}' | tr -d '\n ')"
	check "$1: all memory is the same" test "$(field "$1" .identical)" = true
	check "$1: the database is right" test "$(field "$1" .db_ok)" = true
	check "$1: no client saw an error" test "$(field "$1" .client_errors)" = 0
	check "$1: every record was built, revoked or returned" test "$(field "$1" \
		'.pages_recorded == .pages_built + .pages_revoked + .pages_returned')" = true
}

moved migdb-ro a b
check "migdb-ro: most of what was recorded is built" test "$(field migdb-ro '.pages_built * 2 > .pages_recorded and .pages_built > 10000')" = true
moved migdb-rw b a
check "migdb-rw: pages were built" test "$(field migdb-rw '.pages_built > 1000')" = true

caps=(--cap x-migdb=on --cap return-path=on --param max-bandwidth=12500000000)
vm_lab link --rate off
mapfile -t masks < <(vm_masks db)

on b 'echo 0 >/sys/kernel/migdb/enabled'
vm_start db b --incoming
check "switched off at the destination: moves all the same" vm_migrate db a b "$dir/off" "${caps[@]}"
check "and says why" jq -e '.source["x-migdb"].reason | test("disabled on this host")' "$dir/off"
check "and all memory is the same" vm_oracle db a b "$dir/off.cmp" "${masks[@]}"
vm_cont db b
vm_quit db a
on b 'echo 1 >/sys/kernel/migdb/enabled'

vm_lab link --rate 80mbit
vm_start db a --incoming
vm_migrate db b a "$dir/killed" "${caps[@]}" >/dev/null 2>&1 &
mover=$!
sleep 6
on a "kill -9 \$(cat /run/vm/db.pid)"
rc=0
wait $mover || rc=$?
check "the destination dies: the move fails" test $rc -ne 0
check "and the VM runs on where it was" vm_wait_db db 60
check "and no session is left on either side" wait_for 30 eval 'sessions_left a && sessions_left b'
vm_lab link --rate off
vm_quit db a

on a 'rmmod migdb'
vm_start db a --incoming
check "no module at the destination: moves all the same" vm_migrate db b a "$dir/gone" "${caps[@]}"
check "and all memory is the same" vm_oracle db b a "$dir/gone.cmp" "${masks[@]}"
vm_cont db a
vm_quit db b
check "the database answers at the end" vm_wait_db db 60
finish
