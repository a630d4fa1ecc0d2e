#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Start and completion of a move reach the guest: a program in the database VM
# (guest/hintwait.c, by libmigdb) is told before the snapshot, what it says then is in
# it, and is told of the end at the destination, or, where the destination dies, where
# the VM stays.  One that never answers is waited for as long as ready_ms says, and no
# longer.  Which host heard it is told by whose console has it.
# shellcheck disable=SC2317 # functions are called by check

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/scene.sh"

READY_MS=2000	# as long as can be: the guest may be busy
POOL_PAGES=256

# No block I/O is noted any more: all that the host hears of is what processes say.
by_processes_only() {
	vm_ssh db "kill \$(pidof migdb-hints)
		for i in \$(seq 300); do
			[ -d /sys/module/mem_hints ] || break
			rmmod mem_hints 2>/dev/null && break
			sleep 0.1
		done
		insmod /opt/migdb-guest/mem_hints.ko ready_ms=$READY_MS"
}

# said HOST WHAT: the last line of that kind on the VM's console there.
said() {
	on "$1" "tr -d '\r' </run/vm/db.serial | grep -ao 'hintwait: $2.*' | tail -n 1"
}

# heard HOST WHAT [NAME=VALUE]...: and it has all of these words.
heard() {
	local line w
	line=$(said "$1" "$2")
	[ -n "$line" ] || return
	shift 2
	for w; do
		[[ " $line " = *" $w "* ]] || { echo "no $w in: $line"; return 1; }
	done
}

# of LINE NAME: a value of it.
of() { sed -nE "s/.* $2=([^ ]*).*/\1/p" <<<"$1"; }

# follows HOST HOST: COMPLETE on the latter is the event after START on the former.
follows() {
	local start complete
	start=$(said "$1" start) complete=$(said "$2" complete)
	printf '%s\n' "$start" "$complete"
	[ "$(of "$complete" seq)" = $(($(of "$start" seq) + 1)) ] &&
		[ "$(of "$complete" generation)" = "$(of "$start" generation)" ]
}

# agent HOST answers|silent: instead of the one there is; HOST has the VM.  Nothing is to
# come between it and a migration, how busy the guest may be.
agent() {
	vm_ssh db "kill \$(pidof hintwait) 2>/dev/null; while pidof hintwait >/dev/null; do sleep 0.1; done
		setsid chrt -f 50 /opt/migdb-guest/hintwait $2 /root/hintwait </dev/null >/dev/console 2>&1 &"
	wait_for 120 heard "$1" waits
}

# as_said OUT: the pool was what both sides were at.
as_said() {
	jq -e '[.source, .destination] | map(.["x-migdb"].state == "completed") | all' "$1" &&
		jq -e --argjson pool $POOL_PAGES '.source["x-migdb"] | .["candidate-pages"] > $pool / 2 and .["built-pages"] > $pool / 2' "$1"
}

# The table was frozen no earlier than ready_ms after START; a tick of the clock less.
waited() {
	local ms
	ms=$(of "$(said "$1" frozen)" ms)
	echo "frozen $ms ms after START"
	[ "$ms" -ge $((READY_MS - 20)) ]
}

plan 31
dir=$BUILD/tests/vm-told
scene_up "$dir" migdb
caps=(--cap x-migdb=on --param max-bandwidth=12500000000)
check "the guest's hints are what processes say" by_processes_only
mapfile -t masks < <(vm_masks db)

check "a program waits for a migration" agent a answers
vm_start db b --incoming
check "answered: moves" vm_migrate db a b "$dir/answered" "${caps[@]}"
check "and all memory is the same" vm_oracle db a b "$dir/answered.cmp" "${masks[@]}"
check "START is heard on the source, before the snapshot" heard a start state=idle wait_ms=$READY_MS lost=0 ready=taken
check "which comes after the answer" heard a frozen
check "backed and hot pages are asked for, and none to discard" heard a start classes=0x5
check_fails "nothing is heard of an end there" heard a complete
vm_cont db b
check "the end is heard at the destination" wait_for 60 heard b complete
check "which thaws the table" heard b complete state=idle outcome=unknown lost=0
check "it is the next event, of the same migration" follows a b
check "what was said at START is in the snapshot" heard b complete frames=$POOL_PAGES
check "and is built at the destination" as_said "$dir/answered"
check "nobody else has said anything" jq -e --argjson pool $POOL_PAGES '.source["x-migdb"]["candidate-pages"] <= $pool' "$dir/answered"
check "where the pool holds what it held" heard b complete pool=whole
diag "$(jq -c '.source["x-migdb"] | {"candidate-pages", "built-pages", "rendezvous-ns"}' "$dir/answered")"
vm_quit db a

# The move does not come to its end; the guest stays where it is.
vm_lab link --rate 40mbit
vm_start db a --incoming
vm_migrate db b a "$dir/killed" "${caps[@]}" >/dev/null 2>&1 &
mover=$!
check "the destination dies: START was heard, and the snapshot taken" wait_for 300 heard b frozen
on a 'kill -9 $(cat /run/vm/db.pid)'
rc=0
wait $mover || rc=$?
check "the move fails" test $rc -ne 0
check "the end is heard where the VM stays" wait_for 60 heard b complete outcome=cancelled
check "it is the next event, of the same migration" follows b b
vm_lab link --rate off
vm_quit db a

check "a program waits that never answers" agent b silent
vm_start db a --incoming
check "never answered: moves all the same" vm_migrate db b a "$dir/silent" "${caps[@]}"
check "and all memory is the same" vm_oracle db b a "$dir/silent.cmp" "${masks[@]}"
check "START is heard" heard b start wait_ms=$READY_MS ready=never
check "the snapshot waits as long as it may" waited b
check "and so does the host" jq -e --argjson ms $READY_MS '.source["x-migdb"]["rendezvous-ns"] >= ($ms - 20) * 1e6' "$dir/silent"
check "which goes on then" as_said "$dir/silent"
vm_cont db a
check "the end is heard at the destination" wait_for 60 heard a complete outcome=unknown pool=whole
check "and the database answers" vm_wait_db db 60
check "and no session is left on either side" wait_for 30 eval 'sessions_left a && sessions_left b'
finish
