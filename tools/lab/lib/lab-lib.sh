# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For tests on the lab.  A test is a script that sources this file:
#
#	. "$(dirname "$0")/../lib/lab-lib.sh"
#	plan 2
#	disk=$(lab_disk db 256)
#	lab_up --disk db="$disk" --payload "$BUILD/payload"
#	check "a sees the disk" on a test -b /dev/lab/db
#	check "b reaches a" on b ping -c1 -W5 a-mig
#	finish
#
# Results are KTAP on stdout; what a failing command printed follows as
# diagnostics.  Whatever happens, the lab goes down when the script ends, also
# by Ctrl-C and even by kill -9 (the lab watches its owner).

. "$(dirname "${BASH_SOURCE[0]}")/state.sh"

# What a test is about stands at its head.
case "$(realpath "$0") ${1:-}" in
*/tests/*.sh\ -h|*/tests/*.sh\ --help)
	sed -n '4,/^$/s/^# \?//p' "$0" | grep -v '^shellcheck '
	say "It prints KTAP; tools/lab/check runs all of them."
	exit ;;
esac

LAB=$TOP/tools/lab/lab
# Each test file has a lab of its own, so that two may run side by side.
if [ -z "${LAB_NAME:-}" ]; then
	LAB_NAME=$(basename "$0" .sh | tr 'A-Z_.' 'a-z--' | tr -cd 'a-z0-9-')
	LAB_NAME=t-${LAB_NAME:0:28}
fi
lab_names

ktap_planned=0
ktap_count=0
ktap_failed=0
lab_is_up=
exit_commands=()

# plan N: how many results will follow.
plan() {
	ktap_planned=$1
	printf 'KTAP version 1\n1..%d\n' "$1"
}

diag() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

pass() {
	ktap_count=$((ktap_count + 1))
	printf 'ok %d %s\n' $ktap_count "$1"
}

fail() {
	ktap_count=$((ktap_count + 1))
	ktap_failed=$((ktap_failed + 1))
	printf 'not ok %d %s\n' $ktap_count "$1"
}

# skip NAME WHY
skip() {
	ktap_count=$((ktap_count + 1))
	printf 'ok %d %s # SKIP %s\n' $ktap_count "$1" "$2"
}

# check NAME CMD...: passes when CMD succeeds.
check() {
	local name=$1 out rc=0
	shift
	out=$("$@" 2>&1 </dev/null) || rc=$?
	if [ $rc -eq 0 ]; then
		pass "$name"
		return
	fi
	fail "$name"
	diag "exit code $rc of: $*"
	[ -z "$out" ] || diag "$out"
}

# check_fails NAME CMD...: passes when CMD fails.
check_fails() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1 </dev/null); then
		fail "$name"
		diag "succeeded: $*"
		[ -z "$out" ] || diag "$out"
	else
		pass "$name"
	fi
}

# check_says NAME PATTERN CMD...: CMD fails, and says why in these words.
check_says() {
	local name=$1 pattern=$2 out
	shift 2
	if out=$("$@" 2>&1 </dev/null); then
		fail "$name"
		diag "succeeded: $*"
	elif grep -qE "$pattern" <<<"$out"; then
		pass "$name"
	else
		fail "$name"
		diag "no '$pattern' in:"
		diag "$out"
	fi
}

# check_range NAME VALUE LOW HIGH [UNIT]: whole numbers.
check_range() {
	if [[ $2 =~ ^-?[0-9]+$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ]; then
		pass "$1"
	else
		fail "$1"
	fi
	diag "$1: ${2:-nothing} ${5:-} (wanted: $3 to $4)"
}

# wait_for SECONDS CMD...: until CMD succeeds.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1 </dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.3
	done
}

# on HOST CMD...: like "lab exec".
on() {
	"$LAB" exec "$@"
}

lab() {
	"$LAB" "$@"
}

# lab_disk NAME MIB: a fresh raw file for --disk, fully allocated so that the
# first writes cost what later ones cost.  Prints its path.
lab_disk() {
	local dir=$BUILD/disks path
	path=$dir/$LAB_NAME-$1.raw
	need_space "$BUILD" $(($2 + 200))
	mkdir -p "$dir"
	rm -f "$path"
	fallocate -l "${2}M" "$path"
	printf '%s\n' "$path"
}

# lab_up OPTIONS: as "lab up"; ends the test when there is no lab.
lab_up() {
	lab_is_up=1
	"$LAB" up --owner $$ "$@" || {
		lab_is_up=
		printf 'Bail out! the lab did not come up\n'
		exit 1
	}
}

lab_down() {
	lab_is_up=
	"$LAB" down
}

# at_exit COMMAND-LINE: run when the test ends, the last one first.
at_exit() {
	exit_commands=("$1" "${exit_commands[@]}")
}

# lab_faults: what the hosts' kernels said of the kind since the lab came up.
lab_faults() {
	local h
	for h in a b; do
		[ ! -s "$LAB_STATE/$h.console" ] ||
			grep -aE -m3 "$KERNEL_FAULT" "$LAB_STATE/$h.console" | sed "s/^/host $h: /" || true
	done
}

test_end() {
	local rc=$? cmd faults=
	trap - EXIT
	trap '' INT TERM HUP
	for cmd in "${exit_commands[@]}"; do
		eval "$cmd" || true
	done
	[ -z "$lab_is_up" ] || faults=$(lab_faults)
	if [ -n "$faults" ]; then
		diag "a host's kernel has a fault:"
		diag "$faults"
		[ $rc != 0 ] || rc=1
	fi
	[ -z "$lab_is_up" ] || "$LAB" down || true
	rm -f "$BUILD/disks/$LAB_NAME"-*.raw
	exit $rc
}
trap test_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# finish: the last line of a test.
finish() {
	if [ $ktap_count -ne "$ktap_planned" ]; then
		diag "$ktap_count results, $ktap_planned were planned"
		ktap_failed=$((ktap_failed + 1))
	fi
	diag "Totals: pass:$((ktap_count - ktap_failed)) fail:$ktap_failed"
	[ $ktap_failed -eq 0 ] || exit 1
	exit 0
}
