#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs all tests of this directory in an emulated (or real) host, as root, and
# prints KTAP with one line of totals at the end.  Busybox's sh is enough.

usage() {
	cat <<END
usage: run.sh [-l] [TEST...]
Runs the named tests (abi, claim, ...), or all.  Loads what they need: kvm,
loop, device-mapper, and migdb from \$MIGDB_KO, ./migdb.ko, modules/migdb.ko or
by modprobe, unless /dev/vhost-migdb is there already.
  -l  long: random hint tables for 240 s, 40 killed VMMs each way
Environment: MIGDB_TEST_DIR (files with O_DIRECT; default: /var/tmp),
MIGDB_FUZZ_SECONDS (60), MIGDB_KILL_ROUNDS (12), MIGDB_KO; MIGDB_TIMEOUT_FACTOR (1):
tests may take so many times as long, for a kernel with checkers; MIGDB_NO_SKIP=1: a
test that is skipped has failed, but for those that this file expects.
Exit status: 0 when nothing failed, and at least one test passed.
END
}

dir=$(cd "$(dirname "$0")" && pwd)
long=0
case ${1:-} in
-h|--help) usage; exit 0 ;;
-l) long=1; shift ;;
esac

all="abi dir disk claim order table stream forged fetch adaptive postcopy_switch postcopy_fill"
all="$all postcopy_end share discard nomem record trace dirty refvmm kill"
# what is new and not in its place yet is not left out
for f in "$dir"/*_test; do
	t=${f##*/}
	case " $all " in
	*" ${t%_test} "*) ;;
	*) all="$all ${t%_test}" ;;
	esac
done
tests=${*:-$all}
export MIGDB_FUZZ_SECONDS="${MIGDB_FUZZ_SECONDS:-60}"
if [ "$long" = 1 ]; then
	export MIGDB_FUZZ_SECONDS=240
	export MIGDB_KILL_ROUNDS="${MIGDB_KILL_ROUNDS:-40}"
fi
export MIGDB_TEST_DIR="${MIGDB_TEST_DIR:-/var/tmp}"
factor=${MIGDB_TIMEOUT_FACTOR:-1}

for m in loop dm_mod dm_flakey dm_delay vhost fuse; do
	modprobe "$m" 2>/dev/null
done
if [ ! -e /dev/kvm ]; then
	modprobe kvm_amd 2>/dev/null || modprobe kvm_intel 2>/dev/null
fi
if [ -z "${MIGDB_KO:-}" ]; then
	for f in "$dir/migdb.ko" "$dir/modules/migdb.ko" /opt/migdb/migdb.ko \
		/opt/migdb/modules/migdb.ko; do
		[ -e "$f" ] && { MIGDB_KO=$f; break; }
	done
fi
if [ ! -e /dev/vhost-migdb ]; then
	if [ -n "${MIGDB_KO:-}" ]; then
		insmod "$MIGDB_KO"
	else
		modprobe migdb && { MIGDB_KO=$(modinfo -n migdb 2>/dev/null) || :; }
	fi || { echo "Bail out! the module migdb cannot be loaded"; exit 1; }
fi
# For the test that unloads it; there is nothing to unload when it is built in.
# What may be skipped with MIGDB_NO_SKIP=1, and why:
may_skip=
[ -e /sys/module/migdb/initstate ] || { MIGDB_KO=; may_skip="$may_skip kill.module_unload"; }
[ -z "${MIGDB_KO:-}" ] || export MIGDB_KO
[ -e /dev/vhost-migdb ] || { echo "Bail out! there is no /dev/vhost-migdb"; exit 1; }
mkdir -p "$MIGDB_TEST_DIR" || { echo "Bail out! no $MIGDB_TEST_DIR"; exit 1; }

complaint='BUG:|WARNING:|Oops|general protection|blocked for more than|rcu.*stall|refcount_t'
complaint="$complaint|KASAN:|UBSAN:|possible (circular|recursive) locking|suspicious RCU"
complaint="$complaint|inconsistent lock state|bad unlock balance|sleeping function called"
complaint="$complaint|lockdep is turned off|ODEBUG:|corruption|suspected memory leaks"

kernel_complaints() {
	dmesg | grep -cE "$complaint"
}

# lockdep says one thing and then nothing any more; so does one that is off from
# the start, because of somebody else.
lockdep_is_off() {
	grep -q '^ *debug_locks: *0' /proc/lockdep_stats 2>/dev/null
}

# unexpected_skips LOG: their names, when none is to go unseen.
unexpected_skips() {
	[ "${MIGDB_NO_SKIP:-0}" = 1 ] || return 0
	grep -i '^ok .*# SKIP' "$1" | while read -r _ _ name _; do
		case " $may_skip " in
		*" $name "*) ;;
		*) echo "$name" ;;
		esac
	done
	# all of a program at once
	! grep -qi '^1\.\.0.*# SKIP' "$1" || echo "all of it"
}

passed=0
failed=0
skipped=0
suite=0
log=$(mktemp)
before=$(kernel_complaints)
# shellcheck disable=SC2086 # a list of names
set -- $tests
echo "TAP version 13"
echo "1..$(($# + 1))"
for t; do
	suite=$((suite + 1))
	start=$(date +%s)
	if [ ! -x "$dir/${t}_test" ]; then
		echo "not ok $suite ${t}_test # no such program"
		failed=$((failed + 1))
		continue
	fi
	echo "# ${t}_test"
	# Line by line: a run that is cut off shows where it was.
	{ timeout -k 10 $((900 * factor)) "$dir/${t}_test" 2>&1; echo $? >"$log.status"; } | tee "$log" |
		while IFS= read -r line; do
			case $line in
			"#  "*RUN\ *) began=$(date +%s) ;;
			"#  "*OK\ *) ;;
			*) echo "    $line" ;;
			esac
			case $line in
			"ok "*|"not ok "*)
				took=$(($(date +%s) - ${began:-$start}))
				[ $took -lt 3 ] || echo "    # $took s" ;;
			esac
		done
	status=$(cat "$log.status")
	p=$(grep -c '^ok ' "$log")
	s=$(grep -c '^ok .*# SKIP' "$log")
	f=$(grep -c '^not ok ' "$log")
	# A program that dies says nothing any more: that is a failure, too.
	if [ "$f" = 0 ] && [ "$status" != 0 ] && [ "$status" != 4 ]; then
		f=1
	fi
	passed=$((passed + p - s))
	for name in $(unexpected_skips "$log" | tr ' ' '_'); do
		echo "    # $name was skipped, which MIGDB_NO_SKIP forbids"
		[ "$name" = all_of_it ] || { s=$((s - 1)); p=$((p - 1)); }
		f=$((f + 1))
	done
	skipped=$((skipped + s))
	failed=$((failed + f))
	[ "$f" = 0 ] && ok=ok || ok="not ok"
	echo "$ok $suite ${t}_test # $((p - s)) passed, $f failed, $s skipped, $(($(date +%s) - start)) s"
done
suite=$((suite + 1))
# Nothing younger than 5 s is suspected; what it finds it says in the log, too.
if grep -qw kmemleak=on /proc/cmdline; then
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	echo scan >/sys/kernel/debug/kmemleak
	sed 's/^/    /' /sys/kernel/debug/kmemleak
fi
after=$(kernel_complaints)
if [ "$after" = "$before" ] && ! lockdep_is_off; then
	echo "ok $suite kernel log # no BUG, WARNING or stall"
	passed=$((passed + 1))
else
	! lockdep_is_off || echo "    lockdep is off: it found something, or cannot say"
	dmesg | grep -A70 -E "$complaint" | tail -200 | sed 's/^/    /'
	echo "not ok $suite kernel log"
	failed=$((failed + 1))
fi
rm -f "$log" "$log.status"
echo "# Totals: pass:$passed fail:$failed xfail:0 xpass:0 skip:$skipped error:0"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
