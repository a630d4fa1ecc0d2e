#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The oracle can fail: on the database VM it finds bytes that are flipped in built pages
# (as does the check of the tables), a write that no log has seen, and what a destination
# does that takes records too late; the demo's report is an error then.  A frame of the
# stream in which a bit flips makes an ordinary migration of it.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/scene.sh"

# row_pages SET BUILT DISK ID: up to 3 built pages that hold rows of the table sbtest1, as
# "OFFSET TEXT": where a byte of column c is in guest memory, and what stands there.
# ID is the number of DISK in the guest's hint table.
row_pages() {
	debugfs -R "blocks sbtest/sbtest1.ibd" "$3" 2>/dev/null >"$dir/table"
	/usr/bin/python3 - "$dir/table" "$@" <<-'END'
	import re, sys
	table, names, built, disk, number = sys.argv[1:]
	blocks = set(open(table).read().split())
	done = {line.strip() for line in open(built)}
	row = re.compile(rb"(?<![0-9-])(?:[0-9]{11}-){9}[0-9]{11}(?![0-9-])")
	found = []
	with open(disk, "rb") as image:
	    for line in open(names):
	        gfn, of, block = line.split()[:3]
	        if gfn not in done or of != number or block not in blocks:
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

# in_memory HOST ADDRESS: eight bytes of the guest's memory, as text or dots.
in_memory() {
	on "$1" "/opt/migdb/oracle/ramhash -p $2,8 \$(cat /run/vm/db.pid)" |
		/usr/bin/python3 -c 'import sys; print("".join(chr(b) if 32 < b < 127 else "." for b in bytes.fromhex(sys.stdin.read())))'
}

# flip_rows HOST RAM [back]: the first byte of each, after a look at what stands there.
flip_rows() {
	local at text now
	while read -r -u 3 at text; do
		[ "${3:-}" != back ] || text=.${text:1}
		now=$(in_memory "$1" $(($2 + at)))
		[ "$now" = "$text" ] || { echo "guest address $at holds $now, not $text"; return 1; }
		vm_flip db "$1" "$at" "$2"
	done 3<"$dir/rows"
}

# named_all OUT: these pages, and no other.
named_all() {
	local at text
	while read -r at text; do
		grep -qx "differs pc.ram $(printf '0x%x gfn 0x%x' $((at / 4096 * 4096)) $((at / 4096))) in the construct set, built" \
			"$1" || { cat "$1"; return 1; }
	done <"$dir/rows"
	[ "$(jq .differing "$1.json")" = "$(wc -l <"$dir/rows")" ]
}

# stays HOST: the other side of a move that is not to be is ended, the VM runs on.
stays() {
	vm_quit db "$([ "$1" = a ] && echo b || echo a)"
	vm_cont db "$1"
}

# faulty_module HOST FAULT
faulty_module() {
	on "$1" "rmmod migdb; insmod /opt/migdb/faulty.ko fault=$2"
}

# older_pages OUT: pages that migdb has built, and no other, differ.
older_pages() {
	jq -e '.differing > 0' "$1.json" && ! grep '^differs' "$1" | grep -v 'in the construct set, built$'
}

# The demo's verdict on runs in DIR, as its own last lines get it.
demo_report() {
	jq -n '{wanted: ["migdb-ro"], guest_mib: 640, S_free: 600e6, N_free: 60e6, S_set: 60e6, N_set: 10e6,
		S_measured: 60e6, rtt_ms: 2, rate: 4, repeats: 1}' >"$1/env.json"
	"$TOP/tools/lab/lib/report.py" "$1" "$1/result"
}

tables_right() {
	content_served db "$dir/flip.served" && cmp "$dir/flip.stored" "$dir/flip.served"
}

plan 37
dir=$BUILD/tests/vm-oracle
faulty=$BUILD/tests/vm-oracle-faulty
"$TOP/tools/build/modules" faulty >&2
rm -rf "$faulty"
mkdir -p "$faulty"
cp "$BUILD/faulty/migdb.ko" "$faulty/faulty.ko"
scene_up "$dir" migdb --payload "$faulty"
vm_lab link --delay 1ms
vm_lab storage --rate 60000000
run_warm db
# All tables are in the pool now.  One of them will do for what is read row by row, which
# takes the emulated guest long.
all_tables=$GUEST_TABLES
GUEST_TABLES=1
caps=(--cap x-migdb=on --cap return-path=on --param max-bandwidth=12500000000)
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
ram=$(vm_ram db b)
check "a byte of each is flipped at the destination" flip_rows b "$ram"
check_fails "the oracle finds it" vm_oracle_again db b "$dir/flip.cmp" "${masks[@]}"
check "and names these three pages" named_all "$dir/flip.cmp"
vm_cont db b
vm_quit db a
check "the tables are read out of disk and log" content_stored db b "$dir/flip.stored" 0
check_fails "the tables are found wrong" tables_right
vm_stop db b
check "the bytes are put right" flip_rows b "$ram" back
vm_cont db b
check "the tables are found right" tables_right

# The same bytes are flipped at the source in mid-move, from outside: KVM's log does not
# see it.  It is what a VMM that hashes pages before it arms the logs comes to.  Not
# before they are built: else the source, with nothing else left to do, may send them.
# The link is slow until then, so that the move is not over.
vm_lab link --rate 40mbit
vm_start db a --incoming
vm_built db a "$dir/unseen.cmp.built" &
watcher=$!
vm_migrate db b a "$dir/unseen" "${caps[@]}" --answered "$dir/answered" &
mover=$!
check "written after the hash, unseen: all is hashed and read" wait_for 120 test -e "$dir/answered"
vm_lab link --rate 1mbit
check "written after the hash, unseen: a byte of each is flipped at the source" flip_rows b "$ram"
check "written after the hash, unseen: in mid-move" test ! -s "$dir/unseen"
vm_lab link --rate off
rc=0
wait $mover || rc=$?
check "written after the hash, unseen: moves" test $rc = 0
wait $watcher || true
check_fails "the oracle finds it" vm_oracle db b a "$dir/unseen.cmp" "${masks[@]}"
check "and names these three pages" named_all "$dir/unseen.cmp"
check "the bytes are put right" flip_rows b "$ram" back
stays b

# A destination that builds pages from records although the stream has brought them
# since.  Until the rest of memory is nearly sent, storage is so slow that most pages are
# still to be read, so that some of what the clients write to is among them.  Then it is
# faster than the link, or QEMU would not wait for it.
faulty_module a 2
run_warm db
vm_lab link --rate 60mbit
vm_start db a --incoming
vm_lab storage --rate 4000000 a
vm_built db a "$dir/late.cmp.built" &
watcher=$!
{ wait_for 300 test -e "$dir/nearly" && vm_lab storage --rate 60000000 a; } &
raiser=$!
# To all tables: what is first on the disk has been read by then.
GUEST_TABLES=$all_tables run_clients_start db rw "$dir" late
check "records consumed too late: moves" vm_migrate db b a "$dir/late" "${caps[@]}" --nearly "$dir/nearly"
wait $watcher || true
rc=0
wait $raiser || rc=$?
check "records consumed too late: the rest of memory was sent by then" test $rc = 0
check_fails "the oracle finds it" vm_oracle db b a "$dir/late.cmp" "${masks[@]}"
check "in pages that were built" older_pages "$dir/late.cmp"
diag "$(tail -1 "$dir/late.cmp")"
stays b
run_clients_stop
check "the VM runs on where it was" vm_wait_db db 60

# A frame of the stream, of either side, in which a bit is not as it was.
bad_frame() {
	local side=$1 host=$2
	faulty_module "$host" 3
	vm_start db a --incoming
	check "a bit flips in what the $side says: moves all the same" vm_migrate db b a "$dir/bad.$side" "${caps[@]}"
	# Who finds it knows; the other side may hear that it is over before it hears why.
	check "and says why" jq -e '[.source["x-migdb"], .destination["x-migdb"]] | all(.state == "ordinary") and any(.reason | test("corrupt stream"))' "$dir/bad.$side"
	check "and all memory is the same" vm_oracle db b a "$dir/bad.$side.cmp" "${masks[@]}"
	stays b
	on "$host" 'echo 0 >/sys/module/migdb/parameters/fault'
}
vm_lab link --rate off
vm_lab storage --rate 60000000
bad_frame destination a
bad_frame source b

# One that changes rows in some built pages after it has verified them: a run of the demo.
faulty_module a 1
vm_lab link --rate 80mbit
check "built pages are changed: a run as the demo makes it" run_migrate db migdb-ro b a "$dir/demo"
check_says "the demo's report is an error: memory" '^  migdb-ro: memory differs in [0-9]+ pages' demo_report "$dir/demo"
check_says "and tables" '^  migdb-ro: the database is not right' demo_report "$dir/demo"
finish
