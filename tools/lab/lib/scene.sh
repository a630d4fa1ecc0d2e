# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The scene of the tests and benchmarks with a database VM: what they need built,
# the lab up, migdb loaded, the VM running on host a with its guest part.  Needs
# lib/lab-lib.sh first.
#
#   scene_up DIR [plain|migdb] [options of "lab up"]
#        DIR is emptied and gets the disks and logs.  plain: the VM runs on the
#        packaged QEMU and the hosts lack the module.
#   scene_rates N S            limits link and storage to these bytes per second, or to a
#        third of what they do without a limit; sets N and S.  Before the first move
#   moved RUN FROM TO DIR      a measured move (lib/run.sh) with six checks
#   field RUN EXPRESSION       of DIR/RUN.json of the last scene
#   sessions_left HOST         succeeds when there is none
#   in_mid_move HOST CMD...    CMD while a session of HOST is under way

. "$(dirname "${BASH_SOURCE[0]}")/run.sh"
. "$(dirname "${BASH_SOURCE[0]}")/qemu.sh"

# The guest part, and a program for the tests that is told of migrations.
scene_build() {
	"$TOP/tools/build/modules" &&
		make -C "$TOP/tools/migdb/bpf" KDIR="$KDIR" O="$SCENE/bpf" &&
		make -C "$TOP/tools/migdb/libmigdb" O="$SCENE/lib" &&
		gcc -static -O2 -Wall -Wextra -Werror -I"$TOP/tools/migdb/libmigdb/include" "$TOP/tools/lab/guest/hintwait.c" \
			"$SCENE/lib/libmigdb.a" -o "$SCENE/hintwait"
}

# Nested guests under emulation end by themselves now and then.
scene_why() {
	! vm_died db a || say "the guest has ended before any move"
}

# Or they hang while they boot, when the machine is busy: the processor spins in
# the delivery of one page fault.  A second hang is no accident.
scene_boot() {
	local again
	for again in once twice; do
		vm_start db a "$@"
		if vm_wait_db db; then
			return
		fi
		vm_console db a >&2
		vm_hmp db a "info registers -a" | grep -E "^CPU|RIP|CR2" >&2 || true
		[ $again = once ] || { scene_why; break; }
		say "the database VM has not come up: it is started once more"
		vm_quit db a
	done
	die "the database VM does not come up"
}

scene_up() {
	local variant=$2 disks payload=() h qemu=()
	SCENE=$1
	shift 2
	run_packages >&2
	install_packages clang bpftool libbpf-dev libelf-dev zlib1g-dev >&2
	guest_ready
	rm -rf "$SCENE"
	mkdir -p "$SCENE"
	at_exit "rm -rf $SCENE/disks $SCENE/payload; content_clean"
	scene_build >"$SCENE/build.log" 2>&1 ||
		{ tail -20 "$SCENE/build.log" >&2; die "the modules or migdb-hints do not build (log: $SCENE/build.log)"; }
	guest_disks_fresh "$SCENE/disks"
	vm_payload "$SCENE/payload"
	guest_tools_image "$SCENE/disks/tools.img" "$BUILD/mem_hints.ko" "$SCENE/bpf/migdb-hints" "$SCENE/hintwait"
	case $variant in
	migdb)
		qemu_ready migdb
		cp "$BUILD/migdb.ko" "$SCENE/payload/"
		payload=(--payload "$QEMU_PAYLOAD") ;;
	plain)
		qemu=(--qemu /usr/bin/qemu-system-x86_64) ;;
	esac
	mapfile -t disks < <(vm_disks db "$SCENE/disks")
	lab_up "${disks[@]}" "${payload[@]}" --payload "$SCENE/payload" "$@"
	if [ "$variant" = migdb ]; then
		for h in a b; do
			check "migdb loads on host $h" vm_load_migdb $h
		done
	fi
	step "booting the database VM"
	scene_boot "${qemu[@]}"
	vm_ssh db test -e /sys/kernel/mm/hints/root_gpa || { scene_why; die "mem_hints is not loaded in the guest"; }
}

# Slow enough that a move can be met in the middle, and the limit is what limits.
scene_rates() {
	local n_free s_free
	N=$1 S=$2
	vm_lab link --delay 1ms
	s_free=$(run_fio_rate b 256k)
	run_warm db
	n_free=$(run_stream_rate db a b "$SCENE/stream.json")
	[ "$N" -le $((n_free / 3)) ] || N=$((n_free / 3))
	[ "$S" -le $((s_free / 3)) ] || S=$((s_free / 3))
	vm_lab link --rate "$N"bps
	vm_lab storage --rate "$S"
	diag "link set to $N bytes/s (unthrottled $n_free), storage to $S (unthrottled $s_free)"
}

field() { jq -r "$2" "$SCENE/$1.json"; }
sessions_left() { test "$(on "$1" cat /sys/kernel/migdb/nr_sessions)" = 0; }

moved() {
	check "$1: moves from $2 to $3" run_migrate db "$1" "$2" "$3" "$SCENE"
	diag "$(field "$1" '{total_ms, downtime_ms, source_bytes, pages_candidate, pages_recorded, pages_built, pages_revoked, pages_returned, migdb_state, migdb_reason}' | tr -d '\n ')"
	check "$1: all memory is the same" test "$(field "$1" .identical)" = true
	check "$1: the database is right" test "$(field "$1" .db_ok)" = true
	check "$1: the guest's kernel complains of nothing" test "$(field "$1" '.guest_faults | join(" | ")')" = ""
	check "$1: no client saw an error" test "$(field "$1" .client_errors)" = 0
	check "$1: every record was built, revoked or returned" test "$(field "$1" \
		'.pages_recorded == .pages_built + .pages_revoked + .pages_returned')" = true
}

# in_mid_move HOST COMMAND...: COMMAND, 4 s after a session has begun on HOST.  Whether
# there was one when it began, and when it was over, is in DIR/hit.
in_mid_move() {
	local host=$1
	shift
	rm -f "$SCENE/hit"
	wait_for 900 eval "! sessions_left $host"	# the tables are read before the move
	sleep 4
	sessions_left "$host" || echo begin >"$SCENE/hit"
	"$@"
	# what was done may have ended it already: no error
	sessions_left "$host" || echo end >>"$SCENE/hit"
}
