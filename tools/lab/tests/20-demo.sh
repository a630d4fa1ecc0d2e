#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The demo as a person meets it: what is missing is said at once, Ctrl-C leaves
# nothing behind, and a run of it, on a faster link than usual, comes to its verdict.
# shellcheck disable=SC2317,SC2016 # functions are called by check; the inner shell expands

. "$(dirname "$0")/../lib/lab-lib.sh"

demo=$TOP/tools/lab/demo
dir=$BUILD/tests/demo
at_exit 'rm -rf "$dir" "$BUILD/$LAB_NAME"-{payload,disks}'
at_exit '"$LAB" down >/dev/null 2>&1'
rm -rf "$dir"
mkdir -p "$dir/small"

# What the demo must not change.  Links and addresses of its own are in a namespace;
# another clone may be making an image in the cache.
machine_state() {
	ip -o link | sed 's/ state .*//'
	ip -o addr | awk '{ print $2, $4 }'
	awk '{ print $5 }' /proc/self/mountinfo | grep -vE "^(/run/netns|$CACHE/)" || true
	losetup -n -O BACK-FILE -l 2>/dev/null || true
}

nothing_left() {
	local left
	left=$(
		[ ! -e "/run/netns/migdb-lab-$LAB_NAME" ] || echo "a namespace"
		[ ! -e "/run/migdb-lab/$LAB_NAME" ] || echo "/run/migdb-lab/$LAB_NAME"
		[ ! -e "$BUILD/$LAB_NAME-disks" ] || echo "the disks"
		[ ! -e "$BUILD/content-$LAB_NAME" ] || echo "a copy of the tables"
		pgrep -as "$(cat "$dir/session")" || true
		pgrep -af -- "/run/migdb-lab/$LAB_NAME/" || true
		diff <(echo "$before") <(machine_state)
	)
	[ -z "$left" ] || { echo "$left"; return 1; }
}

# interrupted SECONDS WHEN: the demo in a session of its own, as on a terminal; Ctrl-C
# goes to all of its process group when it has said WHEN.
interrupted() {
	local rc=0 session
	setsid env --default-signal=INT,QUIT "$demo" --runs default-ro --out "$dir/out" </dev/null >"$dir/log" 2>&1 &
	session=$!
	echo $session >"$dir/session"
	wait_for "$1" eval "grep -q '$2' '$dir/log' || ! kill -0 $session" || true
	if ! grep -q "$2" "$dir/log"; then
		tail "$dir/log"
		kill -TERM -- -$session
		wait $session || true
		return 1
	fi
	sleep 3
	kill -INT -- -$session
	wait $session || rc=$?
	[ $rc = 130 ] || { tail "$dir/log"; echo "exit code $rc"; return 1; }
}

# with_mount COMMAND [NAME=VALUE...]: the demo after COMMAND in mounts of its own.
with_mount() {
	local command=$1
	shift
	timeout 60 env "$@" unshare --mount --propagation private sh -c "$command && exec \"\$0\" --out \"\$1\"" "$demo" "$dir/out"
}

one_run() {
	"$demo" --runs migdb-ro --seconds 20 --out "$dir/out" </dev/null >"$dir/log" 2>&1 || { tail "$dir/log"; return 1; }
	grep -q '^VERDICT: every run identical, database intact, no client error' "$dir/log" || { tail "$dir/log"; return 1; }
	jq -e '.runs | length == 1 and .[0].identical and .[0].db_ok and .[0].pages_built > 1000 and
		.[0].stale.candidates > 1000' "$dir/out/result.json"
}

plan 9
before=$(machine_state)
awk '/^MemAvailable:/ { $2 = 5000000 } { print }' /proc/meminfo >"$dir/meminfo"
small="mount -t tmpfs -o size=50m none $dir/small"
check_says "too little space for the cache is said at once" 'small has [0-9]+ MiB free, 15000 MiB are needed' \
	with_mount "$small" MIGDB_CACHE="$dir/small"
check_says "too little space for the build is, too" 'small has [0-9]+ MiB free, 6000 MiB are needed' \
	with_mount "$small" MIGDB_BUILD="$dir/small"
check_says "too little memory is, too" '4882 MiB of memory are available, 6744 MiB are needed' \
	with_mount "mount --bind $dir/meminfo /proc/meminfo"
check_says "a package that cannot be had is named" 'could not install: migdb-no-such-package' \
	bash -c '. "$1/tools/lab/lib/common.sh"; install_packages migdb-no-such-package' - "$TOP"
check_says "an unknown run is named" 'runs fast-ro: default-ro, migdb-ro' "$demo" --runs fast-ro

check "Ctrl-C while the hosts boot: exit code 130" interrupted 300 'hosts a b'
check "and nothing is left" eval 'wait_for 20 nothing_left || nothing_left'
check "a run of it: the verdict, and what it says in JSON" one_run
check "and nothing is left" eval 'wait_for 20 nothing_left || nothing_left'
finish
