#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The database VM moves with migdb, under load and back again, with the oracle on (that
# it can fail, and a move without load, is for 45-vm-oracle); the same where the link is
# faster than storage, so that it brings pages of the set; then what must not go wrong: the
# destination's operator has switched migdb off, its QEMU dies in mid-move, it is an
# unpatched QEMU, its module is gone.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/scene.sh"

# called_by_uuid HOST ROLE: the log line and the record of the last session of HOST.
called_by_uuid() {
	local uuid said
	uuid=$(vm_uuid db)
	said=$(on "$1" "dmesg | grep -F 'migdb: $uuid: $2 done: ' | tail -n 1; dmesg | sed -n 's/.*migdb-json: //p' | tail -n 1")
	echo "$said"
	[ "$(wc -l <<<"$said")" = 2 ] && tail -n 1 <<<"$said" |
		jq -e --arg uuid "$uuid" --arg role "$2" '.label == $uuid and .role == $role and .outcome == "done"'
}

plan 48
dir=$BUILD/tests/vm-migdb
scene_up "$dir" migdb
check "the device is root's and that of group kvm" test "$(on a stat -c %a:%U:%G /dev/vhost-migdb)" = 660:root:kvm
opens='setpriv --reuid 65534 --regid 65534'
check "a member of the group may open it" on a "$opens --groups \$(getent group kvm | cut -d: -f3) sh -c ': <>/dev/vhost-migdb'"
check_fails "nobody else may" on a "$opens --clear-groups sh -c ': <>/dev/vhost-migdb'"
scene_rates 10000000 60000000

moved migdb-ro a b
check "migdb-ro: most of what was recorded is built" test "$(field migdb-ro '.pages_built * 2 > .pages_recorded and .pages_built > 10000')" = true
check "the source's log calls the VM by its UUID" wait_for 30 called_by_uuid a source
check "so does the destination's" called_by_uuid b destination
moved migdb-rw b a
check "migdb-rw: pages were built" test "$(field migdb-rw '.pages_built > 1000')" = true
diag "migdb-rw: the tables were compared with the $(field migdb-rw '"\(.db_compared), \(.db_pages_newer) pages are newer than the move"')"

caps=(--cap x-migdb=on --param max-bandwidth=12500000000)
vm_lab link --rate off
mapfile -t masks < <(vm_masks db)
check "the guest tells where wall clock and hint table are" test ${#masks[@]} -eq 2

# Both ends of the set, with clients that write to it, but leave the link time to spare.
vm_lab link --rate 20000000bps
vm_lab storage --rate 2000000
RUN_RATE=4 moved migdb-taken-rw a b
diag "migdb-taken-rw: $(field migdb-taken-rw '"\(.migdb_source["taken-pages"]) pages were taken, \(.migdb_source["dropped-pages"]) dropped"')"
check "migdb-taken-rw: the link brings pages of the set, storage others" \
	test "$(field migdb-taken-rw '.migdb_source["taken-pages"] > 1000 and .pages_built > 1000')" = true

on b 'echo 0 >/sys/kernel/migdb/adaptive'
vm_start db a --incoming
check "not wanted by the operator: moves all the same" vm_migrate db b a "$dir/left" "${caps[@]}"
check "and the link takes nothing" jq -e '.source["x-migdb"] | .state == "completed" and .["taken-pages"] == 0 and .["built-pages"] > 1000' "$dir/left"
check "and all memory is the same" vm_oracle db b a "$dir/left.cmp" "${masks[@]}"
vm_cont db a
vm_quit db b
on b 'echo 1 >/sys/kernel/migdb/adaptive'
vm_lab storage --rate "$S"
vm_lab link --rate off

on b 'echo 0 >/sys/kernel/migdb/enabled'
vm_start db b --incoming
check "switched off at the destination: moves all the same" vm_migrate db a b "$dir/off" "${caps[@]}"
check "and says why" jq -e '.source["x-migdb"].reason | test("disabled on this host")' "$dir/off"
check "and all memory is the same" vm_oracle db a b "$dir/off.cmp" "${masks[@]}"
vm_cont db b
vm_quit db a
on b 'echo 1 >/sys/kernel/migdb/enabled'

vm_lab link --rate "$N"bps
vm_start db a --incoming
vm_migrate db b a "$dir/killed" "${caps[@]}" >/dev/null 2>&1 &
mover=$!
in_mid_move b on a "kill -9 \$(cat /run/vm/db.pid)"
rc=0
wait $mover || rc=$?
check "the destination dies: in mid-move" grep -qx begin "$dir/hit"
check "the move fails" test $rc -ne 0
check "and the VM runs on where it was" vm_wait_db db 60
check "and no session is left on either side" wait_for 30 eval 'sessions_left a && sessions_left b'
vm_lab link --rate off
vm_quit db a

# Moved with migdb, the VM goes to a host with Debian's QEMU, and comes back.
vm_start db a --incoming --qemu /usr/bin/qemu-system-x86_64
check "to an unpatched QEMU: moves all the same" vm_migrate db b a "$dir/plain" --src-cap x-migdb=on "${caps[@]:2}"
check "and says why" jq -e '.source["x-migdb"] | .state == "ordinary" and (.reason | test("does not know x-migdb"))' "$dir/plain"
check "and all memory is the same" vm_oracle db b a "$dir/plain.cmp" "${masks[@]}"
vm_cont db a
vm_quit db b
check "and the database answers" vm_wait_db db 60
vm_start db b --incoming --global migration.x-migdb=on
check "and back from there" vm_migrate db a b "$dir/home" "${caps[@]:2}"
check "and all memory is the same" vm_oracle db a b "$dir/home.cmp" "${masks[@]}"
vm_cont db b
vm_quit db a

on a 'rmmod migdb'
vm_start db a --incoming
check "no module at the destination: moves all the same" vm_migrate db b a "$dir/gone" "${caps[@]}"
check "and all memory is the same" vm_oracle db b a "$dir/gone.cmp" "${masks[@]}"
vm_cont db a
vm_quit db b
check "the database answers at the end" vm_wait_db db 60
finish
