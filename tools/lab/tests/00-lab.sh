#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The lab itself: what every other test on two hosts takes for granted.
# shellcheck disable=SC2317,SC2016 # functions are called by check; quoting is for the hosts

. "$(dirname "$0")/../lib/lab-lib.sh"

ns=migdb-lab-$LAB_NAME
run=/run/migdb-lab/$LAB_NAME

# What the lab must not change: the machine's own links, addresses, routes and
# mounts.  Those of another lab are not there either, only their namespaces,
# which appear as mounts under /run/netns; another clone may be making an image.
machine_state() {
	ip -o link | sed 's/ state .*//'
	ip -o addr | awk '{ print $2, $4 }'
	ip route
	awk '{ print $5 }' /proc/self/mountinfo | grep -vE "^(/run/netns|$CACHE/)" || true
}

# left_over: prints what is left of this lab.
left_over() {
	[ ! -e "/run/netns/$ns" ] || echo "namespace $ns"
	[ ! -e "$run" ] || echo "$run"
	pgrep -af -- "$run/" || true
}

nothing_left() {
	local left
	left=$(left_over)
	[ -z "$left" ] || { echo "$left"; return 1; }
}

same_state() {
	diff <(echo "$1") <(machine_state)
}

# shared HOST-W HOST-R MIB: what one host writes past its cache, the other reads.
shared() {
	local w r
	w=$(on "$1" "dd if=/dev/urandom of=/root/block bs=1M count=1 status=none &&
		dd if=/root/block of=/dev/lab/db bs=1M seek=$3 oflag=direct status=none && sha1sum </root/block")
	r=$(on "$2" "dd if=/dev/lab/db bs=1M skip=$3 count=1 iflag=direct status=none | sha1sum")
	echo "$1 wrote $w, $2 read $r"
	[ -n "$w" ] && [ "$w" = "$r" ]
}

# link_kbytes SECONDS: kB/s from a to b over the migration link.  What is
# still in the sender's buffer at the end counts too.
link_kbytes() {
	local n
	on b "rm -f /root/rx; setsid sh -c 'timeout $(($1 + 20)) socat -u TCP-LISTEN:7000,reuseaddr STDOUT | wc -c >/root/rx' >/dev/null 2>&1 </dev/null &"
	on a "timeout $1 socat -u -b 65536 /dev/zero TCP:b-mig:7000,retry=50,interval=0.1; true"
	wait_for 20 on b 'test -s /root/rx'
	n=$(on b 'cat /root/rx')
	echo $((n / $1 / 1000))
}

# disk_kbytes HOST MIB: kB/s of direct reads.
disk_kbytes() {
	local t
	t=$(on "$1" "s=\$(date +%s%N); dd if=/dev/lab/db of=/dev/null bs=1M count=$2 iflag=direct status=none; echo \$((\$(date +%s%N) - s))")
	echo $(($2 * 1048576 * 1000 / (t / 1000)))
}

# guest_on HOST / guest_off HOST: what the network sees of a nested guest, an
# address behind a port of br0.  Like a VMM it says where it is now.
guest_on() {
	on "$1" 'ip netns add g && ip link add gp type veth peer name g0 netns g &&
		ip link set gp master br0 up && ip -n g link set g0 address 52:54:00:77:00:21 &&
		ip -n g addr add 10.77.0.21/24 dev g0 && ip -n g link set g0 up &&
		ip netns exec g ping -c1 -W5 10.77.0.1'
}

guest_off() {
	on "$1" 'ip netns del g'
}

guest_moves() {
	guest_on a && "$LAB" netns ping -c2 -W5 10.77.0.21 || return 1
	guest_off a && guest_on b && "$LAB" netns ping -c2 -W5 10.77.0.21
}

interrupted_up() {
	local rc=0

	timeout -s INT 5 "$LAB" up --name "$LAB_NAME" --hosts 1 --mem 1024 || rc=$?
	[ "$rc" -eq 124 ] && nothing_left
}

owner_gone() {
	sleep 300 &
	owner=$!
	"$LAB" up --hosts 1 --mem 1024 --owner "$owner" || return 1
	kill -9 "$owner"
	wait_for 20 nothing_left
}

# status_says LINE...: each is a pattern for a whole line of "lab status".
status_says() {
	local out line
	out=$("$LAB" status) || { echo "exit code $?"; return 1; }
	for line; do
		grep -qxE "$line" <<<"$out" || { printf 'no "%s" in:\n%s\n' "$line" "$out"; return 1; }
	done
}

# host_line HOST STATE PID: as status has it, with the options of lab_up.
host_line() {
	local n=11
	[ "$1" = a ] || n=12
	printf 'host %s +%s +pid %s +3072 MiB +2 cpus +10\.77\.0\.%d +10\.78\.0\.%d' "$1" "$2" "$3" $n $n
}

status_of_two_hosts() {
	status_says "lab +$LAB_NAME +\(namespace $ns, logs $LAB_STATE\)" "$(host_line a running "$(cat "$run/a.pid")")" \
		"$(host_line b running "$(cat "$run/b.pid")")" "disk +/dev/lab/db +$(realpath "$disk")" "storage a +rate off" "storage b +rate off" \
		"link +rate off +delay off"
}

# A shell: commands from a pipe, and its exit code; with a terminal if there is one.
shell_reads() {
	local rc=0 out
	out=$(printf 'cd /opt\necho "$PWD in $(hostname)"\nexit 7\n' | "$LAB" ssh a) || rc=$?
	echo "$out"
	[ "$out" = "/opt in a" ] && [ $rc -eq 7 ]
}

shell_has_terminal() {
	local out
	out=$(printf 'tty\nhostname\nexit\n' | TERM=dumb timeout 60 script -qec "$(printf '%q ssh b' "$LAB")" /dev/null | tr -d '\r')
	echo "$out"
	grep -qE '^/dev/pts/[0-9]+$' <<<"$out" && grep -qx b <<<"$out"
}

# Whatever is missing is installed and built now, so that what follows is interrupted
# where it starts hosts.
set_up() {
	(install_packages iputils-ping) &&
	bash -c '. "$0/tools/lab/lib/hosts.sh"; emulator_ready; image_ready' "$TOP" >&2
}

plan 46
set_up || die "what the lab needs cannot be built"
before=$(machine_state)
disk=$(lab_disk db 256)
mkdir -p "$BUILD/t-payload1/bin" "$BUILD/t-payload2/lib"
at_exit 'rm -rf "$BUILD/t-payload1" "$BUILD/t-payload2"'
printf '#!/bin/sh\necho payload %s\n' "$$" >"$BUILD/t-payload1/bin/lab-hello"
chmod +x "$BUILD/t-payload1/bin/lab-hello"
echo two >"$BUILD/t-payload2/lib/two"

check_says "a missing disk is named" "there is no /nonexistent" lab up --disk db=/nonexistent
check_says "a disk that cannot do direct I/O is refused" "does not do O_DIRECT" lab up --disk db=/sys/kernel/uevent_seqnum
check_says "too much memory is refused" "MiB are needed" lab up --mem 4000000
check "an interrupted start leaves nothing" interrupted_up
check_says "status: it is down" "^lab '$LAB_NAME' is down$" lab status
check "status: its exit code then is 3" bash -c "$(printf '%q status; [ $? -eq 3 ]' "$LAB")"
check_says "a shell of a lab that is down is refused" "lab '$LAB_NAME' is not up" lab ssh a

lab_up --disk db="$disk" --payload "$BUILD/t-payload1" --payload "$BUILD/t-payload2"
check_says "a second start is refused" "is up already" lab up
check "status: hosts, disks, limits" status_of_two_hosts
check "a shell reads commands" shell_reads
check "a shell has a terminal" shell_has_terminal
check_says "a host that there is not is named" "has no host 'c'" lab ssh c

check "a writes, b reads the same" shared a b 3
check "b writes, a reads the same" shared b a 200
check "the disk carries its name as serial" on a 'test "$(cat /sys/block/$(basename $(readlink /dev/lab/db))/serial)" = db'
check "payload: on the path, merged, writable" on b 'lab-hello && test -e /opt/migdb/lib/two && touch /opt/migdb/new'
check_fails "a failing command fails here" on a false
check "its exit code is the command's" bash -c "$(printf '%q exec a "exit 42"; [ $? -eq 42 ]' "$LAB")"
check "input reaches a command" bash -c "$(printf '[ "$(echo hello | %q exec a cat)" = hello ]' "$LAB")"
check "words stay words" test "$(on a printf '%s.' 'a  b' "c'd")" = "a  b.c'd."

check "lan: client reaches a" lab netns ping -c2 -W5 10.77.0.11
check "lan: a reaches b" on a ping -c2 -W5 10.77.0.12
check "lan: a nested guest keeps its address when it moves" guest_moves
check "migration link: a reaches b" on a ping -c2 -W5 10.78.0.12
check_fails "migration link: clients are not on it" lab netns ping -c1 -W2 10.78.0.11

free=$(link_kbytes 4)
diag "link, no limit: $free kB/s"
lab link --rate 16mbit
check_range "link: 16mbit holds" "$(link_kbytes 5)" 1200 2700 kB/s
lab link --rate off
lab link --delay 50ms
check "status: rate and delay of the link" status_says "link +rate off +delay 50ms"
rtt=$(on a "ping -c5 -i0.3 -q b-mig" | awk -F/ '/^rtt/ { print int($5) }')
lab link --delay off
check_range "link: a delay of 50 ms each way" "$rtt" 100 160 ms
lab link --cut
check "status: the link is cut" status_says "link +rate off +delay off +CUT"
check_fails "link: cut" on a ping -c2 -W2 b-mig
check "link: the lan does not notice" on a ping -c1 -W5 b
lab link --restore
check "status: it is not" status_says "link +rate off +delay off"
check "link: restored" wait_for 20 on a ping -c1 -W2 b-mig

diag "storage, no limit: $(disk_kbytes a 200) kB/s"
lab storage --rate 10M a
check "status: rate of the storage" status_says "storage a +rate 10M" "storage b +rate off"
check_range "storage: 10 MB/s on a" "$(disk_kbytes a 40)" 8500 11500 kB/s
check_range "storage: b is not limited" "$(disk_kbytes b 40)" 15000 100000000 kB/s
lab storage --rate off

check "nested KVM with nested paging" on b 'test -w /dev/kvm && grep -qx Y /sys/module/kvm_amd/parameters/npt && dmesg | grep -q "kvm_amd: Nested Paging enabled"'
lab kill b
check_says "a dead host is named" "host b is not running" on b true
check "status: a dead host" status_says "$(host_line b dead -)" "$(host_line a running '[0-9]+')"
check_says "so it is when a shell is wanted" "host b is not running" lab ssh b
check "it boots again" bash -c "$(printf '%q start b && %q exec b test -b /dev/lab/db' "$LAB" "$LAB")"

# What the end of each test looks for: said once, then forgotten.
check "no fault of a kernel was seen" bash -c '[ -z "$0" ]' "$(lab_faults)"
on b 'echo "<4>WARNING: CPU: 0 PID: 1 at a test" >/dev/kmsg'
check "a fault of a kernel is seen" wait_for 10 eval '[[ $(lab_faults) == "host b: "*"WARNING: CPU: 0"* ]]'
sed -i '/WARNING: CPU: 0 PID: 1 at a test/d' "$LAB_STATE/b.console"

lab_down
check "a lab goes down with its owner" owner_gone
check "teardown leaves nothing" nothing_left
check "the machine is as before" same_state "$before"
finish
