#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The database VM moves with migdb, under load and back again, with the oracle on;
# the oracle and the check of the tables find bytes that are flipped in built pages;
# then what must not go wrong: the destination's operator has switched migdb off, its
# QEMU dies in mid-move, it is an unpatched QEMU, its module is gone.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/scene.sh"

# row_pages SET BUILT DISK ID: up to 3 built pages that hold rows of a sysbench table, as
# "OFFSET TEXT": where a byte of column c is in guest memory, and what stands there.
# ID is the number of DISK in the guest's hint table.
row_pages() {
	/usr/bin/python3 - "$@" <<-'END'
	import re, sys
	names, built, disk, number = sys.argv[1:]
	done = {line.strip() for line in open(built)}
	row = re.compile(rb"(?<![0-9-])(?:[0-9]{11}-){9}[0-9]{11}(?![0-9-])")
	found = []
	with open(disk, "rb") as image:
	    for line in open(names):
	        gfn, of, block = line.split()[:3]
	        if gfn not in done or of != number:
	            continue
	        image.seek(int(block) * 4096)
	        rows = list(row.finditer(image.read(4096)))
	        # full pages: of the clustered index, as they were loaded
	        if len(rows) > 15:
	            at = rows[len(rows) // 2]
	            found.append((int(gfn, 16) * 4096 + at.start(), at.group().decode()[:8]))
	for at, text in [found[i] for i in (0, len(found) // 2, len(found) - 1)] if found else []:
	    print(at, text)
	END
}

# in_memory HOST OFFSET: eight bytes of the guest's memory, as text or dots.
in_memory() {
	local hva
	hva=$(vm_blocks db "$1" | awk '$3 == "pc.ram" { print $1 }')
	on "$1" "/opt/migdb/oracle/ramhash -p $((0x$hva + $2)),8 \$(cat /run/vm/db.pid)" |
		/usr/bin/python3 -c 'import sys; print("".join(chr(b) if 32 < b < 127 else "." for b in bytes.fromhex(sys.stdin.read())))'
}

# flip_rows HOST [back]: the first byte of each, after a look at what stands there.
flip_rows() {
	local at text now
	while read -r -u 3 at text; do
		[ "${2:-}" != back ] || text=.${text:1}
		now=$(in_memory "$1" "$at")
		[ "$now" = "$text" ] || { echo "guest address $at holds $now, not $text"; return 1; }
		vm_flip db "$1" "$at"
	done 3<"$dir/rows"
}

named_all() {
	local at text
	while read -r at text; do
		grep -qx "differs pc.ram $(printf '0x%x gfn 0x%x' $((at / 4096 * 4096)) $((at / 4096))) in the construct set, built" \
			"$dir/flip.cmp" || { cat "$dir/flip.cmp"; return 1; }
	done <"$dir/rows"
	[ "$(jq .differing "$dir/flip.cmp.json")" = "$(wc -l <"$dir/rows")" ]
}

tables_right() {
	content_served db "$dir/flip.served" && cmp "$dir/flip.stored" "$dir/flip.served"
}

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

disk=$(vm_ssh db "awk '\$NF == \"migdb-data\" { print \$1 }' /sys/kernel/mm/hints/disks")

# The checks can fail: built pages of a move without load, changed after it.
vm_start db b --incoming
vm_built db b "$dir/flip.cmp.built" &
watcher=$!
check "without load: moves from a to b" vm_migrate db a b "$dir/flip" "${caps[@]}"
check "and all memory is the same" vm_oracle db a b "$dir/flip.cmp" "${masks[@]}"
wait $watcher || true
diag "claims at the end: $(cat "$dir/flip.cmp.built.json"); session: $(jq -c '.destination["x-migdb"] | {"built-pages", "recorded-pages"}' "$dir/flip")"
check "the pages that were built are known" test "$(jq .pages "$dir/flip.cmp.built.json")" = "$(jq '.destination["x-migdb"]["built-pages"]' "$dir/flip")"
check "all of them are in the construct set" bash -c '! grep -vxFf <(cut -d" " -f1 "$0.set") "$0.built"' "$dir/flip.cmp"
row_pages "$dir/flip.cmp.set" "$dir/flip.cmp.built" "$dir/disks/data.img" "$disk" >"$dir/rows"
check "three of them hold rows" test "$(wc -l <"$dir/rows")" = 3
gfn=$(($(head -1 "$dir/rows" | cut -d' ' -f1) / 4096))
check_says "a mask in a built page is refused" "wall-clock is in gfn $(printf 0x%x $gfn), which is in the construct set" \
	vm_oracle db a b "$dir/mask.cmp" "wall-clock=pc.ram:$((gfn * 4096)),12" "${masks[@]:1}"
check "a byte of each is flipped at the destination" flip_rows b
check_fails "the oracle finds it" vm_oracle_again db b "$dir/flip.cmp" "${masks[@]}"
check "and names these three pages" named_all
vm_cont db b
vm_quit db a
check "the tables are read out of disk and log" content_stored db b "$dir/flip.stored" 0
check_fails "the tables are found wrong" tables_right
vm_stop db b
check "the bytes are put right" flip_rows b back
vm_cont db b
check "the tables are found right" tables_right

on a 'echo 0 >/sys/kernel/migdb/enabled'
vm_start db a --incoming
check "switched off at the destination: moves all the same" vm_migrate db b a "$dir/off" "${caps[@]}"
check "and says why" jq -e '.source["x-migdb"].reason | test("disabled on this host")' "$dir/off"
check "and all memory is the same" vm_oracle db b a "$dir/off.cmp" "${masks[@]}"
vm_cont db a
vm_quit db b
on a 'echo 1 >/sys/kernel/migdb/enabled'

vm_lab link --rate "$N"bps
vm_start db b --incoming
vm_migrate db a b "$dir/killed" "${caps[@]}" >/dev/null 2>&1 &
mover=$!
sleep 6
on b "kill -9 \$(cat /run/vm/db.pid)"
rc=0
wait $mover || rc=$?
check "the destination dies: the move fails" test $rc -ne 0
check "and the VM runs on where it was" vm_wait_db db 60
check "and no session is left on either side" wait_for 30 eval 'sessions_left a && sessions_left b'
vm_lab link --rate off
vm_quit db b

# Moved with migdb, the VM goes to a host with Debian's QEMU, and comes back.
vm_start db b --incoming --qemu /usr/bin/qemu-system-x86_64
check "to an unpatched QEMU: moves all the same" vm_migrate db a b "$dir/plain" --src-cap x-migdb=on "${caps[@]:2}"
check "and says why" jq -e '.source["x-migdb"] | .state == "ordinary" and (.reason | test("does not know x-migdb"))' "$dir/plain"
check "and all memory is the same" vm_oracle db a b "$dir/plain.cmp" "${masks[@]}"
vm_cont db b
vm_quit db a
check "and the database answers" vm_wait_db db 60
vm_start db a --incoming --global migration.x-migdb=on
check "and back from there" vm_migrate db b a "$dir/home" "${caps[@]:2}"
check "and all memory is the same" vm_oracle db b a "$dir/home.cmp" "${masks[@]}"
vm_cont db a
vm_quit db b

on b 'rmmod migdb'
vm_start db b --incoming
check "no module at the destination: moves all the same" vm_migrate db a b "$dir/gone" "${caps[@]}"
check "and all memory is the same" vm_oracle db a b "$dir/gone.cmp" "${masks[@]}"
vm_cont db b
vm_quit db a
check "the database answers at the end" vm_wait_db db 60
finish
