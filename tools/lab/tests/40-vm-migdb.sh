#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The database VM moves with migdb, under load and back again, with the oracle on;
# then what must not go wrong: the destination's operator has switched migdb off,
# its module is gone, its QEMU dies in mid-move.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/scene.sh"

plan 23
dir=$BUILD/tests/vm-migdb
scene_up "$dir" migdb
vm_lab link --delay 1ms --rate 80mbit
vm_lab storage --rate 60000000

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
