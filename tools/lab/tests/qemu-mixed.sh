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
# for what "SIDE: REASON" says, for each side that knows x-migdb.
ordinary() {
	local source dest why=$3 sum said
	read -ra source <<<"$1"
	read -ra dest <<<"$2"
	shift 3
	vm_end a && vm_end b || return 1
	vm a "${source[@]}" -device loader,file=/run/random,addr=0x1000000,force-raw=on || return 1
	vm b "${dest[@]}" -S -incoming defer || return 1
	qmp migrate "$A:4440" "$B:4440" tcp:10.78.0.12:4550 --timeout 60 "$@" >"$mixed_json" || {
		cat "$mixed_json"
		return 1
	}
	[ "$(field 'r["source"]["ram"]["normal"] > 8192')" = True ] || { echo "the random bytes were not sent"; return 1; }
	sum=$(ram_sum a "$A")
	[ -n "$sum" ] && [ "$sum" = "$(ram_sum b "$B")" ] || { echo "RAM differs"; return 1; }
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

# told HOW WHAT: a source that does not keep to the rules asks the QEMU of host b;
# all messages of the return path, each in a line "TYPE TEXT", must be like WHAT.
told() {
	local said args
	read -ra args <<<"$on"
	vm_end b && vm b "${args[@]}" -incoming tcp:0.0.0.0:4551 || return 1
	said=$(lab netns timeout 60 python3 -c '
import socket, struct, sys
def command(cmd, data=b""):
    return struct.pack(">BHH", 8, cmd, len(data)) + data
MACHINE = b"pc-i440fx-10.0"
RETURN_PATH, PING, ADVISE = range(1, 4)
end = struct.pack(">I", 1)
ask = command(PING, struct.pack(">I", 0x4d494744))
s = socket.create_connection((sys.argv[1], 4551))
s.sendall(struct.pack(">IIBI", 0x5145564d, 3, 7, len(MACHINE)) + MACHINE + command(RETURN_PATH) +
          {"thrice": ask * 3, "advised": command(ADVISE) + ask}[sys.argv[2]] + command(PING, end))
f = s.makefile("rb")
while True:
    kind, size = struct.unpack(">HH", f.read(4))
    body = f.read(size)
    if kind == 2 and body == end:
        break
    print("pong" if kind == 2 else "%d %s" % (kind, body[2:].decode()))' "$B" "$1")
	# shellcheck disable=SC2053 # a pattern
	[[ $said == $2 ]] || { echo "it says \"$said\""; return 1; }
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

plan 39
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
refused "a disk without a serial" "-blockdev $file,$node $disk_dev" '/machine/peripheral/mydisk[^ ]*: no serial'
check "both modules, a guest without hints" ordinary "$on $vsock $dev,serial=mixed" "$on $vsock $dev,serial=mixed" \
	'source: ordinary, (the guest does not listen|no answer).*; destination: ordinary, the source sends all pages'

vm_end a
wait_for 30 on a rmmod migdb
check "module on the destination only" ordinary "$on $vsock $dev,serial=mixed" "$on $vsock $dev,serial=mixed" \
	'source: ordinary, cannot open /dev/vhost-migdb: .*; destination: ordinary, the source did not ask'

vm_end a
vm_end b
finish
