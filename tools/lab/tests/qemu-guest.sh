#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# QEMU with capability x-migdb and a guest that is not to be trusted: what it says
# on its channel is garbage, too long, half of a message, nothing, out of order, or
# false.  Each time it moves as ever, in bounded time, and runs on.  Then it tells
# the truth, and migdb has no memory in mid-move: ordinary from there on; and storage
# stands still, so that the link brings what it does not.  At last its memory goes, and
# then the blocks that its memory was read from.
# shellcheck disable=SC2317,SC2016,SC2015 # functions are called by check; quoting is for the hosts

. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/kernel.sh"
. "$TOP/tools/lab/lib/mixed.sh"

MIXED_MEM=128
mixed_json=$BUILD/qemu-guest.json
place=$BUILD/qemu-guest.place
# The guest's channel has 5 s to answer; the move itself takes as long again, or
# much longer on a machine that is busy: this is to notice what never ends.
LIMIT_MS=150000

# guest_image DIR: the stock kernel, and liar.c as all of its user space.
guest_image() {
	local dir=$1 root=$1/root m path
	rm -rf "$dir"
	mkdir -p "$root"/{dev,lib,proc}
	cp "$KIMG" "$dir/vmlinuz"
	gcc -static -O2 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
		-isystem "$TOP/include/uapi" -o "$root/init" "$TOP/tools/lab/guest/liar.c"
	modprobe -d "${KMODS%/lib/modules/*}" -S "$KVER" --show-depends -a virtio_blk virtio_balloon vmw_vsock_virtio_transport |
		awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
			m=${path##*/}
			cp "$path" "$root/lib/$m"
			printf '%s\n' "$m"
		done >"$root/lib/load"
	mknod "$root/dev/console" c 5 1
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$dir/initrd"
	rm -rf "$root"
}

# shellcheck disable=SC2054 # the commas are QEMU's
# init_on_alloc=0: else the guest writes to what it gives to the balloon.
args=(-global migration.x-migdb=on -cpu host -device vhost-vsock-pci,guest-cid=5
	-kernel /opt/migdb/liar/vmlinuz -initrd /opt/migdb/liar/initrd -serial file:/run/mixed.console
	-append "console=ttyS0 quiet mitigations=off random.trust_cpu=on no-kvmclock no-steal-acc no-kvmapf init_on_alloc=0"
	-blockdev driver=host_device,node-name=d,filename=/dev/lab/mixed,cache.direct=on,locking=off,discard=unmap
	-device virtio-blk-pci,drive=d,share-rw=on,serial=mixed -device virtio-balloon-pci
	-chardev socket,id=second,host=0.0.0.0,port=4441,server=on,wait=off -mon chardev=second,mode=control)

addr() {
	[ "$1" = a ] && printf '%s:4440\n' "$A" || printf '%s:4440\n' "$B"
}

other() {
	[ "$1" = a ] && echo b || echo a
}

# Slower than storage: else QEMU would rather send than wait for it.
params=(--param max-bandwidth=20000000)

# moves WHY CONDITION [NOMEM]: the guest to the other host, where it goes on.  WHY
# is a pattern for what is said, CONDITION for the counters ("src", "dst").  NOMEM:
# what fails in the QEMU that the guest comes to; see host/nomem.c.
moves() {
	local here there said
	here=$(cat "$place")
	there=$(other "$here")
	rm -f "$mixed_json"
	vm_end "$there"
	[ -z "${3:-}" ] || MIXED_ENV=(LD_PRELOAD=/opt/migdb/nomem.so "MIGDB_NOMEM=$3")
	vm "$there" migdb "${args[@]}" -S -incoming defer || return 1
	qmp migrate "$(addr "$here")" "$(addr "$there")" "tcp:10.78.0.1$([ "$there" = a ] && echo 1 || echo 2):4550" \
		--timeout 300 "${params[@]}" >"$mixed_json" || {
		cat "$mixed_json"
		return 1
	}
	echo "$there" >"$place"
	same_ram || return 1
	qmp "$(addr "$there")" cmd '{"execute":"cont"}' || return 1
	said=$(said)
	grep -qE "$1" <<<"$said" || { echo "it says \"$said\", wanted: $1"; return 1; }
	[ "$(field "$2")" = True ] || { echo "not so: $2"; field '(src, dst)'; return 1; }
	[ "$(field "r['total_ms'] < $LIMIT_MS")" = True ] || { echo "it took $(field "r['total_ms']") ms"; return 1; }
}

took() {
	[ ! -s "$mixed_json" ] || diag "$(field "r.get('total_ms')") ms: $(said)"
}

lie() {
	check "$1" moves "$2" "${3:-True}" "${4:-}"
	took
}

boots() {
	vm a migdb "${args[@]}" && wait_for 400 on a grep -q 'liar: ready' /run/mixed.console
}

runs_on() {
	local here
	here=$(cat "$place")
	qmp "$(addr "$here")" cmd '{"execute":"query-status"}' | grep -q '"status": "running"' &&
		! on "$here" grep -E 'panic|Oops|BUG|liar: .*:' /run/mixed.console
}

no_session_left() {
	[ "$(on "$1" 'find /sys/kernel/migdb -mindepth 1 -type d | wc -l')" = 0 ]
}

plan 36
install_packages cpio kmod
kernel_ready
payload=$BUILD/qemu-guest
mixed_payload "$payload"
guest_image "$payload/liar"
at_exit 'rm -rf "$payload" "$place" "$place".*'
disk=$(lab_disk mixed 64)
dd if=/dev/urandom of="$disk" bs=1M count=16 conv=notrunc status=none

lab_up --mem 1200 --disk mixed="$disk" --payload "$payload"
for h in a b; do
	on $h 'modprobe vhost_vsock; insmod /opt/migdb/migdb.ko'
done

echo a >"$place"
check "the guest boots" boots

# In the order of liar.c.
silent='no answer on the guest.s hint channel: Connection timed out'
wrong='no answer on the guest.s hint channel: Protocol error'
lie "garbage" "source: ordinary, $wrong; destination: ordinary, the source sends all pages"
check "QEMU has called from a privileged port" on a \
	'grep -qE "liar: lie 0, to port (102[0-3]|10[01][0-9]|[5-9][0-9]{2})[^0-9]*$" /run/mixed.console'
lie "a message that is too long" "source: ordinary, $wrong"
lie "half a message, then silence" "source: ordinary, $silent"
lie "silence" "source: ordinary, $silent"
lie "hangs up" "source: ordinary, no answer on the guest.s hint channel: Connection reset"
lie "messages out of order" "source: ordinary, $wrong"
lie "one disk a hundred times" "source: ordinary, "
lie "a table where no memory is" "source: ordinary, "
lie "false hints: nothing of them is built" "source: completed, .*; destination: completed" \
	"src['built-pages'] < 64 and src['returned-pages'] > 3000"
lie "talks on after its answer" "source: completed, .*; destination: completed" "src['built-pages'] > 3000"
lie "the truth: its pages are built" "source: completed, .*; destination: completed" "src['built-pages'] > 3000" "SNAPSHOT 1"

# Each of these fails at the source, which is the QEMU that the line before has
# started: its last word is what fails in the next.
nomem='Cannot allocate memory'
lie "no memory for the snapshot" "source: ordinary, MIGDB_SNAPSHOT: $nomem" True "HASH 2"
lie "no memory while hashing" "source: ordinary, MIGDB_HASH: $nomem" "src['built-pages'] < 4096" "records 2"
lie "no memory for records" "source: ordinary, stream of records: $nomem" True "DEQUEUE 2"
lie "no memory for what comes back" "source: ordinary, MIGDB_DEQUEUE: $nomem" True "DIRTY 1"
lie "no memory for what is dirty" "source: ordinary, MIGDB_DIRTY: $nomem" True "SEAL 1"
lie "no memory at the end" "source: ordinary, MIGDB_SEAL: $nomem" True "last 1"
lie "no memory for the end mark: what is built stays" \
	"source: ordinary, the end of the stream of records is missing; destination: ordinary" "src['built-pages'] > 3000" "return 1"
lie "no memory for the destination's answers" "source: ordinary, the destination's answers: $nomem"

# These fail at the destination of the same line.
lie "no memory to begin with" "source: ordinary, destination: MIGDB_START: $nomem; destination: ordinary, MIGDB_START" True "START 1"
lie "nor when it is the source" "source: ordinary, MIGDB_START: $nomem; destination: ordinary, the source sends all pages"
lie "no memory for records at the destination" \
	"the destination gave up: the kernel does not take the stream: $nomem.*; destination: ordinary, the kernel does not take" True "feed 2"
lie "no memory for its answers" "the destination gave up: the kernel's answers: $nomem.*; destination: ordinary, the source sends" \
	True "answers 2"

# count PAGES: of the set, as the source has it now.
count() {
	local at
	at=$(addr "$(cat "$place")")
	qmp "${at%:*}:4441" cmd '{"execute":"query-migrate"}' |
		python3 -c 'import json, sys; print(json.load(sys.stdin).get("x-migdb", {}).get(sys.argv[1] + "-pages", 0))' "$1"
}

# on_both FILE VALUE: of /sys/kernel/migdb.
on_both() {
	on a "echo $2 >/sys/kernel/migdb/$1"
	on b "echo $2 >/sys/kernel/migdb/$1"
}

# At one byte a second nothing is read after the first MiB.
stands_still() {
	lie "storage stands still, $1" "source: completed, .*; destination: completed" \
		"src['built-pages'] < 1024 and src['candidate-pages'] > 3000 and $2" "${3:-}"
}

some_taken() {
	[ "$(count taken)" -gt 200 ]
}

taken_for_a_while() {
	wait_for 200 some_taken || { echo "nothing was taken"; return 1; }
	on_both adaptive 0
}

# The link is slow: there is time.
switched_off() {
	local rc=0
	params=(--param max-bandwidth=2000000)
	taken_for_a_while >"$place.said" &
	moves "source: completed, .*; destination: completed" \
		"200 < src['taken-pages'] < 3000 and src['built-pages'] < 1024 and src['returned-pages'] > 3000" || rc=1
	wait $! || { cat "$place.said"; rc=1; }
	on_both adaptive 1
	params=(--param max-bandwidth=20000000)
	return $rc
}

on_both fetch_max_bytes_per_s 1
stands_still "the link brings the pages" "src['taken-pages'] > 2000" "TAKE 1"
none="src['taken-pages'] == 0 and src['returned-pages'] > 2000"
stands_still "and they cannot be taken: sent all the same" "$none" "no-take 1"
stands_still "and the kernel cannot do that: sent all the same" "$none"
on_both adaptive 0
stands_still "and the operator does not want it: sent all the same" "$none"
on_both adaptive 1
check "storage stands still, and it is switched off in mid-move: sent all the same" switched_off
took
on_both fetch_max_bytes_per_s 0

check "the guest runs on" runs_on
# Pages of the set go without being written to.  The link is slow: there is time.
inflates() {
	wait_for 30 on a grep -q 'liar: freed' /run/mixed.console
	qmp "$A:4441" cmd '{"execute":"balloon","arguments":{"value":'$((80 << 20))'}}'
}

discards() {
	params=(--param max-bandwidth=3000000)
	inflates >&2 &
	moves "source: completed, .*; destination: completed" "src['built-pages'] < 3000" || return 1
	wait $! || { echo "the balloon was not asked to grow"; return 1; }
}

# a_guest_that WORD: for the next boots(); see liar.c.
a_guest_that() {
	local i
	vm_end a
	vm_end b
	echo a >"$place"
	for ((i = 0; i < ${#args[@]}; i++)); do
		if [ "${args[i]}" = -append ]; then
			args[i + 1]="${args[i + 1]% liar=*} liar=$1"
			break
		fi
	done
}

all_are_recorded() {
	local n
	n=$(count recorded)
	[ "$n" -gt 3000 ] && [ "$n" = "$(count candidate)" ] && [ "$(count built)" -gt 0 ]
}

none_is_open() {
	[ "$(count unconfirmed)" = 0 ]
}

# gives_up PART: it does so when it finds its number in block 4096.
gives_up() {
	on a "printf $1 | dd of=/dev/lab/mixed bs=4096 seek=4096 conv=sync,notrunc oflag=direct status=none" &&
		wait_for 100 on a grep -q "liar: discarded $1" /run/mixed.console
}

# Part 2 when all is recorded and but the first MiB is read, part 0 when the rest is
# built or has come back.  Until then the link is so slow that the move goes on.
says_when() {
	wait_for 200 all_are_recorded || { echo "not all was recorded"; return 1; }
	gives_up 2 || { echo "part 2 was not discarded"; return 1; }
	on b 'echo 0 >/sys/kernel/migdb/fetch_max_bytes_per_s'
	wait_for 100 none_is_open || { echo "not all was built or came back"; return 1; }
	gives_up 0 || { echo "part 0 was not discarded"; return 1; }
	count built >"$place.built"
	qmp "$A:4441" cmd '{"execute":"query-migrate"}' | grep -q '"status": "active"' ||
		{ echo "the move was over by then"; return 1; }
	qmp "$A:4441" cmd '{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":20000000}}' >&2
}

# Parts 1 and 2 were gone when they were read, part 0 only when it was built.
gives_up_blocks() {
	local rc=0
	params=(--param max-bandwidth=200000)
	on b 'echo 1 >/sys/kernel/migdb/fetch_max_bytes_per_s'
	says_when >"$place.said" &
	moves "source: completed, .*; destination: completed" \
		"1500 < src['built-pages'] <= 2048 and 1500 < src['returned-pages'] <= 2048" || rc=1
	wait $! || { cat "$place.said"; rc=1; }
	on b 'echo 0 >/sys/kernel/migdb/fetch_max_bytes_per_s'
	[ $rc = 0 ] || return 1
	[ "$(field "src['built-pages']")" = "$(cat "$place.built")" ] || { echo "pages were lost by the last discard"; return 1; }
	on b "dd if=/dev/lab/mixed bs=1M count=12 iflag=direct status=none | cmp -n $((12 << 20)) - /dev/zero" ||
		{ echo "the blocks are still there"; return 1; }
}

a_guest_that frees
check "another guest boots" boots
check "pages that the balloon takes in mid-move" discards
took
a_guest_that discards
check "a third guest boots" boots
check "blocks that it discards in mid-move" gives_up_blocks
took
[ ! -s "$mixed_json" ] || diag "$(field "', '.join('%s %s' % (n, src.get(n + '-pages')) for n in ('recorded', 'built', 'returned', 'revoked')) if src else ''") pages"
check "no session is left" eval 'wait_for 30 no_session_left a && wait_for 30 no_session_left b'
finish
