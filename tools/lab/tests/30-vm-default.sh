#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The database VM moves by QEMU's own pre-copy: the ground that every test of
# migdb's moves stands on.  The oracle has to pass it, and has to fail when one
# byte of the destination is another.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/run.sh"
. "$TOP/tools/lab/lib/qemu.sh"

plan 12
run_packages >&2
guest_ready
qemu_ready plain
dir=$BUILD/tests/vm-default
rm -rf "$dir"
mkdir -p "$dir"
at_exit "rm -rf $dir/disks $dir/payload"
guest_disks_fresh "$dir/disks"
vm_payload "$dir/payload"
mapfile -t disks < <(vm_disks db "$dir/disks")
lab_up "${disks[@]}" --payload "$QEMU_PAYLOAD" --payload "$dir/payload"

vm_start db a
check "the database answers" vm_wait_db db
masks=$(vm_masks db)
check "the guest says where its wall clock is" test -n "$masks"
# What the demo measures the stream's rate with: on a fast machine it is done
# before anybody cancels it.
vm_start db b --incoming
check "a trial migration that nobody cancels ends" vm_migrate db a b "$dir/trial" \
	--param max-bandwidth=12500000000 --cancel-after 120 --trial
check "short of the switchover" test "$(jq -r .status "$dir/trial")" = cancelled
vm_quit db b
check "and the VM runs on where it is" vm_wait_db db 60
vm_start db b --incoming
check "moves from a to b" vm_migrate db a b "$dir/migration" --param max-bandwidth=12500000000
diag "$(jq -c '{total_ms, downtime: .source.downtime, bytes: .source.ram.transferred}' "$dir/migration")"
check "all memory is the same" vm_oracle db a b "$dir/cmp" "$masks"
check "compared is all of it" test "$(jq '.bytes' "$dir/cmp.json")" -ge $((GUEST_MEM * 1048576))
flip=$((300 * 1048576 + 5 * 4096 + 1234))
vm_flip db b $flip
check_fails "one byte of the destination is found" vm_oracle db a b "$dir/cmp" "$masks"
check "and named" grep -q "^differs pc.ram 0x12c05000 gfn 0x12c05$" "$dir/cmp"
vm_flip db b $flip
check "put right, it passes again" vm_oracle db a b "$dir/cmp" "$masks"
vm_cont db b
vm_quit db a
check "the database answers on b" vm_wait_db db 60
finish
