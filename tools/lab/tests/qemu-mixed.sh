#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# QEMU with capability x-migdb on, where it cannot do anything: no module, a peer
# without the series, a guest without hints, capabilities that do not go together,
# a file, a program that saves the stream.  Each of these is an ordinary migration
# that arrives and says why.  The guests are firmware and random bytes: nothing in
# them answers.  Where capability return-path is not named it is off.
# shellcheck disable=SC2317,SC2016,SC2015 # functions are called by check; quoting is for the hosts

. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/mixed.sh"

# ordinary SOURCE DEST WHY [OPTION...]: moves a guest from host a to host b.
# SOURCE and DEST are words: variant of QEMU, then arguments.  WHY is a pattern
# for what "SIDE: REASON" says, for each side that knows x-migdb.  At the host that
# slow_at names, storage is slow; before_move is called before the guest moves.
slow_at=
slow=(LD_PRELOAD=/opt/migdb/nomem.so MIGDB_SLOW=20)
before_move=:
ordinary() {
	local source dest why=$3 said
	read -ra source <<<"$1"
	read -ra dest <<<"$2"
	shift 3
	vm_end a && vm_end b || return 1
	[ "$slow_at" != a ] || MIXED_ENV=("${slow[@]}")
	vm a "${source[@]}" -device loader,file=/run/random,addr=0x1000000,force-raw=on || return 1
	MIXED_ENV=()
	[ "$slow_at" != b ] || MIXED_ENV=("${slow[@]}")
	vm b "${dest[@]}" -S -incoming defer || return 1
	MIXED_ENV=()
	$before_move || return 1
	qmp migrate "$A:4440" "$B:4440" tcp:10.78.0.12:4550 --timeout 60 "$@" >"$mixed_json" || {
		cat "$mixed_json"
		return 1
	}
	[ "$(field 'r["source"]["ram"]["normal"] > 8192')" = True ] || { echo "the random bytes were not sent"; return 1; }
	same_ram || return 1
	said=$(said)
	grep -qE "$why" <<<"$said" && ! grep -qE 'active|completed|negotiating' <<<"$said" || {
		echo "it says \"$said\", wanted: $why"
		return 1
	}
}

# sent URI WHY: from host a, to whoever takes it there; WHY is all of the reason.
sent() {
	local info
	qmp "$A:4440" cmd '{"execute":"migrate","arguments":{"uri":"'"$1"'"}}' || return 1
	wait_for 60 eval 'qmp "$A:4440" cmd "{\"execute\":\"query-migrate\"}" | grep -q "\"status\": \"completed\""' || { qmp "$A:4440" cmd '{"execute":"query-migrate"}'; return 1; }
	info=$(qmp "$A:4440" cmd '{"execute":"query-migrate"}')
	grep -qE "\"state\": \"ordinary\".*\"reason\": \"$2\"" <<<"$info" || { echo "$info"; return 1; }
}

# loaded HOST URI ADDRESS BYTES SUM: what was saved; ADDRESS and BYTES of the
# guest's RAM have to be like SUM.
loaded() {
	local addr=$A
	[ "$1" = a ] || addr=$B
	qmp "$addr:4440" cmd '{"execute":"migrate-incoming","arguments":{"uri":"'"$2"'"}}' || return 1
	wait_for 60 eval 'qmp "$addr:4440" cmd "{\"execute\":\"query-status\"}" | grep -q "\"status\": \"paused\""' || { echo "it is not loaded"; return 1; }
	[ -n "$5" ] && [ "$5" = "$(ram_sum "$1" "$addr" "$3" "$4")" ] || { echo "RAM differs"; return 1; }
}

random='-device loader,file=/run/random,addr=0x1000000,force-raw=on'

# saved CAPABILITY LOADED-WITH: to a file, which is loaded again.
saved() {
	local sum
	vm_end a && vm a "${on_words[@]}" $random || return 1
	set_cap "$1" && sent file:/run/mixed.state "not possible with capability $1" || return 1
	# firmware goes on while a snapshot is taken: it writes below 1 MiB and near 48 MiB
	sum=$(on a 'head -c 24M /run/random | sha256sum')
	vm_end a && vm a "${on_words[@]}" -S -incoming defer || return 1
	[ -z "$2" ] || set_cap "$2" || return 1
	loaded a file:/run/mixed.state 0x1000000 0x1800000 "$sum" || return 1
	on a 'rm /run/mixed.state'
}

# saved_ready OUT IN: nothing but the channel stands against pages being left out.
saved_ready() {
	local sum
	vm_end a && vm a "${on_words[@]}" $vsock $random || return 1
	sent "$1" 'no return path: it is not sent to a socket' || return 1
	! opened || { echo "a return path was opened"; return 1; }
	sum=$(ram_sum a "$A")
	vm_end a && vm a "${on_words[@]}" $vsock -S -incoming defer || return 1
	loaded a "$2" 0 $((MIXED_MEM << 20)) "$sum" || return 1
	on a 'rm /run/mixed.state'
}

# taken HOW VARIANT WHY [ARGUMENT...]: by taker.py on host b, where a QEMU of VARIANT
# loads it.
taken() {
	local how=$1 variant=$2 why=$3 taker sum
	shift 3
	vm_end a && vm_end b && vm a "${on_words[@]}" $vsock "$@" && on b 'rm -f /run/mixed.state' || return 1
	on b "timeout 120 python3 /opt/migdb/taker.py $how 4552 /run/mixed.state" &
	taker=$!
	wait_for 30 on b test -e /run/mixed.state && sent tcp:10.78.0.12:4552 "$why" || { vm_end a; wait $taker; return 1; }
	wait $taker || { echo "who took it: exit code $?"; return 1; }
	sum=$(ram_sum a "$A")
	vm b $variant $vsock -S -incoming defer || return 1
	loaded b file:/run/mixed.state 0 $((MIXED_MEM << 20)) "$sum" || return 1
	on b 'rm /run/mixed.state'
}

# opened: did the source of the last migration open the return path?
opened() {
	on a 'grep -q ^open_return_path_on_source /run/mixed.log'
}

# not_for_plain: what start.rst tells whoever leaves the option on everywhere.
not_for_plain() {
	local said
	said=$(on b 'timeout 20 /opt/migdb/plain/qemu-system-x86_64 -nodefaults -display none -machine none -S -global migration.x-migdb=on 2>&1; true')
	[[ $said == *"Property 'migration.x-migdb' not found"* ]] || { echo "$said"; return 1; }
}

set_cap() {
	qmp "$A:4440" cmd '{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"'"$1"'","state":true}]}}'
}

# The capability survives: on, and nobody has to know of it.
left_on() {
	qmp "$A:4440" cmd '{"execute":"query-migrate-capabilities"}' | grep -q '"capability": "x-migdb"'
	qmp "$A:4440" hmp 'info migrate_capabilities' | grep -qx 'x-migdb: on'
}

info_shows() {
	qmp "$A:4440" hmp 'info migrate' | grep -E '^migdb state: ordinary \(.+\)$'
}

# A source of the tests' own, up to where it has a return path: what follows in Python
# says something, and reads messages.
source_py='
import socket, struct, sys
def command(cmd, data=b""):
    return struct.pack(">BHH", 8, cmd, len(data)) + data
def message():
    kind, size = struct.unpack(">HH", f.read(4))
    return kind, f.read(size)
MACHINE = b"pc-i440fx-10.0"
RETURN_PATH, PING, ADVISE, LISTEN, RUN = range(1, 6)
PACKAGED = 7
ask = command(PING, struct.pack(">I", 0x4d494744))
s = socket.create_connection((sys.argv[1], 4551))
f = s.makefile("rb")
s.sendall(struct.pack(">IIBI", 0x5145564d, 3, 7, len(MACHINE)) + MACHINE + command(RETURN_PATH))
'

# told HOW WHAT: a source that does not keep to the rules asks the QEMU of host b;
# all messages of the return path, each in a line "TYPE TEXT", must be like WHAT.
told() {
	local said args
	read -ra args <<<"$on"
	vm_end b && vm b "${args[@]}" -incoming tcp:0.0.0.0:4551 || return 1
	said=$(lab netns timeout 60 python3 -c "$source_py"'
end = struct.pack(">I", 1)
s.sendall({"thrice": ask * 3, "advised": command(ADVISE) + ask}[sys.argv[2]] + command(PING, end))
while True:
    kind, body = message()
    if kind == 2 and body == end:
        break
    print("pong" if kind == 2 else "%d %s" % (kind, body[2:].decode()))' "$B" "$1")
	# shellcheck disable=SC2053 # a pattern
	[[ $said == $2 ]] || { echo "it says \"$said\""; return 1; }
}

# post_copy_begun: a source that has HELLO from host b begins post-copy, and has the
# guest start there at once.
post_copy_begun() {
	local args how rc=0
	read -ra args <<<"$on $vsock $dev,serial=mixed"
	vm_end b && vm b "${args[@]}" -incoming tcp:0.0.0.0:4551 || return 1
	lab netns timeout 60 python3 -c "$source_py"'
s.sendall(ask)
kind, body = message()
if kind != 64 or body[0] != 1:
    sys.exit("no HELLO, but %d %r" % (kind, body))
run = command(RUN)
s.sendall(command(ADVISE) + command(LISTEN) + command(PACKAGED, struct.pack(">I", len(run))) + run)
s.settimeout(10)
try:
    while f.read(1):
        pass
except TimeoutError:
    sys.exit("the destination goes on")
except OSError:
    pass' "$B" || rc=1
	how=$(qmp "$B:4440" cmd '{"execute":"query-status"}' 2>&1)
	! grep -q '"status": "running"' <<<"$how" || { echo "the guest runs"; rc=1; }
	on b 'grep "x-migdb: the source begins post-copy" /run/mixed.log' || { on b 'cat /run/mixed.log'; rc=1; }
	return $rc
}

# qcow2_image FILE: an empty one of 32 MiB.
qcow2_image() {
	python3 -c '
import struct, sys
CLUSTER = 1 << 16
head = struct.pack(">IIQIIQIIQQIIQ", 0x514649fb, 2, 0, 0, 16, 32 << 20, 0, 1, CLUSTER, 2 * CLUSTER, 1, 0, 0)
clusters = [head, b"", struct.pack(">Q", 3 * CLUSTER), struct.pack(">4H", 1, 1, 1, 1)]
with open(sys.argv[1], "r+b") as f:
    f.write(b"".join(c.ljust(CLUSTER, b"\0") for c in clusters))' "$1"
}

# code FILE: without its comments.
code() {
	cpp -fpreprocessed -dD -P "$1"
}

headers_are_ours() {
	local h
	for h in migdb mem_hints; do
		sed -n "\,^+++ b/linux-headers/linux/$h.h,,/^diff /p" "$TOP"/patches/qemu/0001-*.patch |
			sed -n 's/^+//p' | sed 1d >"$payload/$h.h"
		diff <(code "$TOP/include/uapi/linux/$h.h") <(code "$payload/$h.h") || return 1
	done
}

plan 46
payload=$BUILD/qemu-mixed
mixed_payload "$payload"
cp "$TOP/tools/lab/host/taker.py" "$payload/"
at_exit 'rm -rf "$payload"'
disk=$(lab_disk mixed 64)
qcow2=$(lab_disk qcow2 64)
qcow2_image "$qcow2"

check "the series brings the same headers as the modules" headers_are_ours

lab_up --mem 1200 --disk mixed="$disk" --disk qcow2="$qcow2" --payload "$payload"
for h in a b; do
	on $h 'head -c 40M /dev/urandom >/run/random; modprobe vhost_vsock'
done

on='migdb -global migration.x-migdb=on -trace open_return_path_on_source'
read -ra on_words <<<"$on"
vsock='-device vhost-vsock-pci,guest-cid=5'
dev='-blockdev driver=host_device,node-name=d,filename=/dev/lab/mixed,cache.direct=on,locking=off -device virtio-blk-pci,drive=d,share-rw=on'

check "no module on both sides" ordinary "$on" "$on" 'source: ordinary, cannot open /dev/vhost-migdb'
check_fails "and no return path is opened" opened
check "left on by -global" left_on
check "info migrate says why" info_shows
check "who asks three times is answered once" told thrice $'64 cannot open /dev/vhost-migdb*\npong\npong\npong'
check "who asks after post-copy was announced is refused" told advised $'64 not possible in post-copy\npong'
check "no module, to an unpatched QEMU" ordinary "$on" plain '^source: ordinary, cannot open /dev/vhost-migdb[^;]*$'
check "which does not start with the option, and says so" not_for_plain
check "from an unpatched QEMU" ordinary plain "$on" '^destination: ordinary, the source did not ask'
check "switched off: nothing is said" ordinary migdb migdb '^$'
for c in xbzrle multifd postcopy-ram release-ram x-ignore-shared dirty-bitmaps; do
	check "with $c" ordinary "$on" "$on" "source: ordinary, not possible with capability $c" --cap $c=on
done
check "in mode cpr-reboot" ordinary "$on" "$on" 'source: ordinary, not possible in mode cpr-reboot' --param mode=cpr-reboot
check "with mapped-ram, to a file" saved mapped-ram mapped-ram
check "with background-snapshot, to a file" saved background-snapshot ''

on a insmod /opt/migdb/migdb.ko
check "no vsock device" ordinary "$on" "$on" 'source: ordinary, the VM has no vhost-vsock device'
check "module on the source, to an unpatched QEMU: it is asked, and does not notice" \
	ordinary "$on $vsock" "plain $vsock" "^source: ordinary, the destination's QEMU does not know x-migdb$"
check "and the return path is opened for that" opened
check "the same with return-path on both sides" \
	ordinary "$on $vsock" "plain $vsock" "^source: ordinary, the destination's QEMU does not know x-migdb$" --cap return-path=on
check "module on the source, to a file" saved_ready file:/run/mixed.state file:/run/mixed.state
check "module on the source, to a command" saved_ready 'exec:cat >/run/mixed.state' 'exec:cat /run/mixed.state'
late="the (destination's answer did not come in time|migration ended before it was agreed on)"
for v in plain "$on"; do
	check "module on the source, to a program that saves the stream, for ${v%% *}" taken mute "$v" "$late" $random
done
check "the same, by one that closes what it does not use" taken deaf plain 'nobody answers on the return path' $random
# Room for all of a stream without random bytes.
on a 'echo 8388608 >/proc/sys/net/core/wmem_max; echo 8388608 8388608 8388608 >/proc/sys/net/ipv4/tcp_wmem'
check "the end waits for a destination that is far behind" taken late plain "$late"
check "module on the source, switched off at the destination" \
	ordinary "$on $vsock" "migdb $vsock" '^source: ordinary, destination: capability x-migdb is off$' --src-cap x-migdb=on
check "module on the source only" ordinary "$on $vsock" "$on $vsock" \
	'source: ordinary, destination: cannot open /dev/vhost-migdb: .*; destination: ordinary, cannot open'
on a 'echo 0 >/sys/kernel/migdb/enabled'
check "disabled by the operator" ordinary "$on $vsock" "$on $vsock" 'source: ordinary, migdb is disabled on this host'
on a 'echo 1 >/sys/kernel/migdb/enabled'

on b insmod /opt/migdb/migdb.ko
check "both modules, no disk that can be read" ordinary "$on $vsock" "$on $vsock" \
	'source: ordinary, destination: no disk can be read.*; destination: ordinary, no disk can be read'
# refused BLOCKDEV DEVICE WHY: a disk that is not looked into is named.
refused() {
	check "both modules, $1" ordinary "$on $vsock $2" "$on $vsock $2" \
		"source: ordinary, destination: no disk can be read .*$3.*; destination: ordinary, no disk can be read .*$3"
}

node='node-name=d,cache.direct=on'
file='driver=host_device,filename=/dev/lab/mixed,locking=off'
disk_dev='-device virtio-blk-pci,drive=d,share-rw=on,id=mydisk'
refused "a qcow2 disk" \
	"-blockdev driver=qcow2,$node,file.driver=host_device,file.filename=/dev/lab/qcow2,file.locking=off,file.cache.direct=on $disk_dev,serial=mixed" \
	'mixed: qcow2'
refused "cache=writeback" "-blockdev $file,node-name=d,cache.direct=off $disk_dev,serial=mixed" 'mixed: not opened with cache.direct=on'
refused "a part of a raw disk" "-blockdev driver=raw,$node,offset=1048576,file.${file//,/,file.},file.cache.direct=on $disk_dev,serial=mixed" \
	'mixed: raw with offset or size'
refused "a disk with limits" \
	"-drive if=none,id=d,format=raw,file=/dev/lab/mixed,cache=none,file.locking=off,throttling.iops-total=1000 $disk_dev,serial=mixed" \
	'mixed: limited by throttling'
# limit_disk IOPS: of the running source; 0: none.
limit_disk() {
	qmp "$A:4440" cmd '{"execute":"block_set_io_throttle","arguments":{"id":"/machine/peripheral/mydisk/virtio-backend","bps":0,"bps_rd":0,"bps_wr":0,
		"iops":'"$1"',"iops_rd":0,"iops_wr":0}}' >&2
}
limit_it() {
	limit_disk 1000
}
limit_it_for_a_while() {
	limit_disk 1000 && limit_disk 0
}
good_disk="-blockdev $file,$node $disk_dev,serial=mixed"
before_move=limit_it
check "both modules, a disk that was given limits" ordinary "$on $vsock $good_disk" "$on $vsock $good_disk" \
	'source: ordinary, no disk can be read .*mixed: limited by throttling.*; destination: ordinary, the source sends all pages'
before_move=limit_it_for_a_while
check "both modules, a disk whose limits were lifted" ordinary "$on $vsock $good_disk" "$on $vsock $good_disk" \
	'source: ordinary, (the guest does not listen|no answer).*; destination: ordinary, the source sends all pages'
before_move=:
refused "a disk without a serial" "-blockdev $file,$node $disk_dev" '/machine/peripheral/mydisk[^ ]*: no serial'
check "both modules, a guest without hints" ordinary "$on $vsock $dev,serial=mixed" "$on $vsock $dev,serial=mixed" \
	'source: ordinary, (the guest does not listen|no answer).*; destination: ordinary, the source sends all pages'

check "a source that begins post-copy after HELLO: nothing starts" post_copy_begun

# quick_to_answer ADDRESS: the longest answer of that monitor, in ms, until $answers
# is gone.
answers=$BUILD/qemu-mixed.answers
at_exit 'rm -f "$answers"*'
quick_to_answer() {
	local t0 ms most=0
	while [ -e "$answers" ]; do
		t0=$(date +%s%N)
		qmp "$1:4441" cmd '{"execute":"query-status"}' >&2
		ms=$((($(date +%s%N) - t0) / 1000000))
		[ $ms -le $most ] || most=$ms
		sleep 0.2
	done
	echo $most >"$answers.most"
}

# stands_still HOST WHY: storage does, when migdb is told of a disk there.
stands_still() {
	local addr=$A rc=0 watch=
	[ "$1" = a ] || addr=$B
	rm -f "$answers.most"
	slow_at=$1
	before_move=watch_it
	watch_it() {
		touch "$answers"
		quick_to_answer "$addr" &
		watch=$!
	}
	ordinary "$on $vsock $second $good_disk" "$on $vsock $second $good_disk" "$2" --timeout 150 || rc=1
	rm -f "$answers"
	[ -z "$watch" ] || wait $watch
	slow_at=
	before_move=:
	[ $rc = 0 ] || return 1
	[ "$(field "r['total_ms'] > 20000")" = True ] || { echo "it stood still nowhere"; return 1; }
	[ "$(cat "$answers.most")" -lt 10000 ] || { echo "an answer took $(cat "$answers.most") ms"; return 1; }
}

second='-chardev socket,id=second,host=0.0.0.0,port=4441,server=on,wait=off -mon chardev=second,mode=control'
check "storage stands still at the source: it runs on" stands_still a \
	'source: ordinary, (the guest does not listen|no answer).*; destination: ordinary, the source sends all pages'
diag "longest answer: $(cat "$answers.most" 2>/dev/null) ms"
check "storage stands still at the destination: it answers" stands_still b \
	"source: ordinary, (the destination's answer|the guest does not listen|no answer).*; destination: ordinary, the source sends all pages"
diag "longest answer: $(cat "$answers.most" 2>/dev/null) ms"

vm_end a
wait_for 30 on a rmmod migdb
check "module on the destination only" ordinary "$on $vsock $dev,serial=mixed" "$on $vsock $dev,serial=mixed" \
	'source: ordinary, cannot open /dev/vhost-migdb: .*; destination: ordinary, the source did not ask'

vm_end a
vm_end b
finish
