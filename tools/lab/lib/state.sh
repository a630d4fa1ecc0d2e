# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Where one lab keeps what.  Everything is named after the lab, so that labs
# run side by side: LAB_NAME from the environment or --name, "lab" by default.
#
#   LAB_NS     network namespace that holds the bridges, taps and QEMUs
#   LAB_RUN    sockets, keys and pid files; gone after "lab down".  In /run,
#              because a socket's path may have 107 characters at most
#   LAB_STATE  consoles and logs; kept

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

LAB_RUN_BASE=/run/migdb-lab

# What a kernel says of its own faults; lockdep's warnings are in small letters.  That
# a CPU stood still for long is no fault of an emulated host's.
KERNEL_FAULT='BUG: [^s]|BUG: s[^o]|WARNING: CPU|WARNING: [a-z]|UBSAN:|Oops|general protection fault|refcount_t|list_(add|del) corruption|Kernel panic'

lab_names() {
	[[ $LAB_NAME =~ ^[a-z0-9][a-z0-9-]{0,31}$ ]] ||
		die "'$LAB_NAME' is no lab name: up to 32 lower-case letters, digits and dashes"
	if [ "$LAB_NAME" = lab ]; then
		LAB_NS=migdb-lab
		LAB_STATE=$BUILD/lab
	else
		LAB_NS=migdb-lab-$LAB_NAME
		LAB_STATE=$BUILD/lab-$LAB_NAME
	fi
	LAB_RUN=$LAB_RUN_BASE/$LAB_NAME
	export LAB_NAME LAB_NS LAB_STATE LAB_RUN
}

# lab_load: the settings that "up" has stored; fails when there is no lab.
lab_load() {
	LAB_HOSTS=() LAB_DISKS=() LAB_PAYLOADS=() LAB_TREE=
	[ -e "$LAB_RUN/env" ] || return 1
	# shellcheck disable=SC1091 # written by lab_store
	. "$LAB_RUN/env"
	[ -n "$LAB_TREE" ]
}

lab_store() {
	{
		declare -p LAB_HOSTS LAB_DISKS LAB_PAYLOADS LAB_MEM LAB_SMP LAB_TREE LAB_KERNEL
	} | sed 's/^declare -\([a-zA-Z]*\)-* /declare -g\1 /' >"$LAB_RUN/env.tmp"
	mv "$LAB_RUN/env.tmp" "$LAB_RUN/env"
}

lab_need() {
	lab_load || die "lab '$LAB_NAME' is not up (start it: lab up --name $LAB_NAME)"
	[ -e "$LAB_RUN/ready" ] || die "lab '$LAB_NAME' is not completely up: it is being started, or a start was killed (then: lab down --name $LAB_NAME)"
}

# host_check HOST: is it a host of this lab?
host_check() {
	local h
	for h in "${LAB_HOSTS[@]}"; do
		[ "$h" = "$1" ] && return 0
	done
	die "lab '$LAB_NAME' has no host '$1' (it has: ${LAB_HOSTS[*]})"
}

# host_index HOST: the last byte of its addresses.
host_index() {
	case $1 in
	a) printf 11 ;;
	b) printf 12 ;;
	*) die "hosts are called a and b, not '$1'" ;;
	esac
}

# number_of TEXT WHAT: 20M -> 20000000, 20Mi -> 20971520.
number_of() {
	numfmt --from=auto -- "${1^}" 2>/dev/null || numfmt --from=auto -- "${1^^}" 2>/dev/null ||
		die "'$1' is no $2 (a number, perhaps with K, M, G or Ki, Mi, Gi)"
}
