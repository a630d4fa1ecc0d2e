#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The units of the guest part where systemd runs them, installed by "make install
# ROLE=guest": migdb-hintd is started at boot, loads mem_hints, attaches, survives
# reloads of the module and its own end, and gets a unit's I/O accounted; the agents
# of memcached and PostgreSQL do their work in the sandboxes that their units make.
# shellcheck disable=SC2016,SC2317 # quoting is for the guest; functions are called by check

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/systemd.sh"

HINTD=/usr/local/sbin/migdb-hintd
DATA=/dev/disk/by-id/virtio-migdb-data

# property UNIT NAME: as systemd has it
property() { dbs_sh "systemctl show -P $2 $1"; }

# unit_is UNIT NAME VALUE
unit_is() {
	local is
	is=$(property "$1" "$2")
	[ "$is" = "$3" ] || { echo "$2 is $is"; return 1; }
}

# hintd_says PATTERN EXIT-CODE: of --status
hintd_says() {
	local said rc=0
	said=$(dbs_sh "$HINTD --status") || rc=$?
	printf '%s\n' "$said"
	[ $rc = "$2" ] && grep -qE "$1" <<<"$said"
}

# counted NAME: what it counts
counted() { dbs_sh "$HINTD --status" | awk -v name="$1" '$1 == name { print $2 }'; }

# reads: 1024 pages in 64 requests, by a process of no unit that is asked for
reads() { dbs_sh "dd if=$DATA of=/dev/null bs=64k count=64 iflag=direct status=none"; }
has_grown() { [ "$(counted "$1")" -ge "$2" ]; }

reads_are_noted() {
	local before
	before=$(counted nr_noted)
	reads
	wait_for 30 has_grown nr_noted $((before + 1024)) || { echo "$before, then $(counted nr_noted)"; return 1; }
}

# Until two looks, between which all that was under way has been entered, are the same.
stands_still() {
	local before
	before=$(counted nr_noted)
	sleep 0.5
	[ "$(counted nr_noted)" = "$before" ]
}

reads_are_filtered() {
	local noted filtered
	noted=$(counted nr_noted) filtered=$(counted filtered)
	reads
	wait_for 30 has_grown filtered $((filtered + 64)) || { echo "filtered: $filtered, then $(counted filtered)"; return 1; }
	stands_still
	[ "$(counted nr_noted)" = "$noted" ] || { echo "noted: $noted, then $(counted nr_noted)"; return 1; }
}

# The unit's processes go on reading; nobody else's I/O is noted.
unit_is_noted() {
	local before
	before=$(counted nr_noted)
	wait_for 60 has_grown nr_noted $((before + 4096))
}

well_formed() {
	local said
	said=$(dbs_sh "systemd-analyze verify --man=no --recursive-errors=no migdb-hintd.service migdb-memcached.service migdb-postgres.service 2>&1") ||
		{ printf '%s\n' "$said"; return 1; }
	! grep migdb <<<"$said"
}

# Nothing else of the machine has loaded it.
loaded_by_the_unit() {
	dbs_sh 'test -e /sys/kernel/mm/hints/root_gpa && ! grep -rl mem_hints /etc/modules /etc/modules-load.d /usr/lib/modules-load.d /lib/modules-load.d' &&
		dbs_sh 'journalctl -b -o cat -u migdb-hintd | grep -x attached'
}

unloads() { dbs_sh 'for i in $(seq 100); do rmmod mem_hints && exit 0; sleep 0.1; done; exit 1' 2>/dev/null; }

volume() {
	dbs_sh "echo '0 65536 linear $DATA 2048' | dmsetup create vol" || return
	wait_for 60 hintd_says '^volume vol hinted' 0 || { hintd_says . 0; return 1; }
}

# of those that systemd gives out
its_own_user() {
	local uid
	uid=$(dbs_sh "stat -c %u /proc/\$(systemctl show -P MainPID $1)")
	echo "uid $uid"
	[ "$uid" -ge 61184 ] && [ "$uid" -le 65519 ]
}

# An item in the cache that is large enough to be dropped.
mc_store() {
	dbs_sh "perl -MIO::Socket::INET -e '\$s = IO::Socket::INET->new(\"127.0.0.1:11211\") or die;
		print \$s \"set item 0 0 9000\\r\\n\", \"x\" x 9000, \"\\r\\nquit\\r\\n\"; print <\$s>' | grep STORED"
}

agent_is() { dbs_sh "cat /run/migdb-$1/status" | jq -e "$2"; }

# Before PostgreSQL 16 the buffers may begin beside a page: the agent says how to mend that,
# when it has seen the server's memory.
pg_align() {
	local kib
	wait_for 120 eval 'agent_is postgres ".state == \"waiting\"" || pg_wants' || return
	! agent_is postgres '.state == "waiting"' || return 0
	kib=$(pg_wants)
	dbs_sh "su postgres -c 'psql -c \"ALTER SYSTEM SET wal_buffers = \\\"${kib}kB\\\"\"' && systemctl restart postgresql@15-main"
}
pg_wants() { dbs_sh 'journalctl -b -o cat -u migdb-postgres' | sed -nE 's/.*with wal_buffers = ([0-9]+)kB.*/\1/p' | grep -m1 .; }

plan 38
sysd_ready
step "booting the guest"
dbs_boot "$BUILD/tests/65-systemd"
check "systemd is PID 1" test "$(dbs_sh 'cat /proc/1/comm')" = systemd
check "the units are well-formed" well_formed

step "migdb-hintd: boot"
check "migdb-hintd was started at boot" wait_for 120 unit_is migdb-hintd ActiveState active
check "and attaches" wait_for 120 hintd_says '^daemon attached' 0
check "systemd says so, too" unit_is migdb-hintd StatusText attached
check "it has loaded mem_hints itself" loaded_by_the_unit
check "I/O is noted" reads_are_noted
check "a logical volume is described, by the devices that it may open" volume

step "migdb-hintd: a unit"
dbs_sh 'systemctl start db'
check "a unit has no I/O accounting to begin with" unit_is db IOAccounting no
pid=$(property migdb-hintd MainPID)
dbs_sh 'echo "units = db.service" >/etc/migdb/hintd.conf; systemctl reload migdb-hintd'
check "the configuration is read again" wait_for 60 hintd_says '^unit db.service hinted /system.slice/db.service' 0
check "by the same process" unit_is migdb-hintd MainPID "$pid"
check "the unit's I/O is accounted, as systemd has it" unit_is db IOAccounting yes
check "and as the kernel has it" dbs_sh 'grep -w io /sys/fs/cgroup/system.slice/db.service/cgroup.controllers'
check "not for longer than until the next boot" dbs_sh 'test -d /run/systemd/system.control/db.service.d && ! test -e /etc/systemd/system.control'
check "its I/O is noted" unit_is_noted
dbs_sh 'systemctl kill -s STOP db'
check "it stands still" wait_for 30 stands_still
check "and nobody else's is noted" reads_are_filtered
dbs_sh 'systemctl kill -s CONT db; systemctl stop db'
check "it has ended: that is said" wait_for 60 hintd_says '^unit db.service not hinted: it does not run' 5
dbs_sh 'systemctl start db'
check "it is back: so are its hints" wait_for 60 hintd_says '^unit db.service hinted' 0
dbs_sh 'systemctl stop db; rm /etc/migdb/hintd.conf; systemctl reload migdb-hintd'
check "without a filter all I/O is noted" eval 'wait_for 60 hintd_says "^daemon attached" 0 && reads_are_noted'

step "migdb-hintd: the module, and its own end"
check "the module can be loaded anew" dbs_sh "$HINTD --release && rmmod mem_hints && modprobe mem_hints"
check "it attaches again" wait_for 120 hintd_says '^daemon attached' 0
check "and is the same process" unit_is migdb-hintd MainPID "$pid"
check "I/O is noted again" reads_are_noted
dbs_sh "kill -9 $pid"
check "killed: systemd starts it again" wait_for 120 unit_is migdb-hintd NRestarts 1
check "and it attaches" wait_for 120 hintd_says '^daemon attached' 0
dbs_sh 'systemctl stop migdb-hintd'
check "stopped: in order, and nothing is left" eval 'unit_is migdb-hintd Result success && dbs_sh "! test -e /run/migdb-hintd"'
check "so that the module can be unloaded" unloads
dbs_sh 'cd /lib/modules/*/updates && mv mem_hints.ko mem_hints.away && depmod && systemctl start migdb-hintd'
check "without the module it waits" eval 'unit_is migdb-hintd StatusText "waiting: mem_hints is not loaded" && hintd_says "^daemon waiting" 4'
check "until it comes" eval 'dbs_sh "cd /lib/modules/*/updates && mv mem_hints.away mem_hints.ko && depmod && modprobe mem_hints" && wait_for 120 hintd_says "^daemon attached" 0'

step "agents"
check "memcached and PostgreSQL run" eval 'wait_for 200 unit_is memcached ActiveState active && wait_for 200 unit_is postgresql@15-main ActiveState active'
check "memcached has an item" mc_store
dbs_sh 'echo "keep = 50" >>/etc/migdb/memcached.conf; systemctl start migdb-memcached migdb-postgres'
check "migdb-memcached waits" wait_for 60 agent_is memcached '.state == "waiting"'
check "as a user of its own" its_own_user migdb-memcached
check "migdb-postgres sees the server's memory" pg_align
check "and waits" wait_for 120 agent_is postgres '.state == "waiting" and .server > 1'
check "both hear of a migration, and ask their servers" eval 'dbs_measure table=table && agent_is memcached ".starts == 1 and .items == 1" && agent_is postgres ".starts == 1 and .files > 0"'
check "the guest's kernel has nothing to say of itself" dbs_no_fault
finish
