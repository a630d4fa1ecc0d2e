#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# How much of what Debian's databases keep in memory is named, and how much of that
# is right: every hinted frame is compared with its block on the disk.  Real servers
# in one emulated guest, after real load; by the BPF program alone and by the
# agents.  With arguments only these sections: mariadb,
# postgresql, redis, memcached, none.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/databases.sh"
. "$TOP/tools/lab/lib/databases-mariadb.sh"
. "$TOP/tools/lab/lib/databases-postgres.sh"
. "$TOP/tools/lab/lib/databases-redis.sh"
. "$TOP/tools/lab/lib/databases-memcached.sh"

declare -A PLAN=([mariadb]=12 [postgresql]=22 [redis]=7 [memcached]=14 [none]=3)
SECTIONS=(mariadb postgresql redis memcached none)

# at_least NAME WHAT PAGES PERMYRIAD: of PAGES pages at least that share is right.
at_least() {
	local right
	right=$(share_of "$2" .right)
	diag "$1: $(share_of "$2" .), of $3 pages"
	check_range "$1" $((right * 10000 / $3)) "$4" 10000 "of 10000"
}

section_mariadb() {
	local pages

	step "mariadb: BPF"
	dbs_hints on
	maria_start
	maria_warm
	check "mariadb: serves sysbench" maria_load oltp_read_write 10
	maria_clean
	pages=$(maria_clean_pages)
	check "mariadb: the table is compared" dbs_measure "pool=private:$(maria_pid):5" table=table
	at_least "mariadb: the pool by BPF" pool $pages 9800
	diag "the table: $(share_of table .)"
	check "mariadb: under load, with the server stopped" maria_measure_loaded
	diag "under load: $(share_of pool .)"
	maria_stop

	step "mariadb: agent"
	dbs_hints agent-only
	maria_start
	check "mariadb: the agent is a function" maria_agent
	maria_stop
	maria_start
	check "mariadb: and is there after a restart" maria_agent_is waiting
	maria_warm
	check "mariadb: serves sysbench with the agent" maria_load oltp_read_write 10
	maria_clean
	pages=$(maria_clean_pages)
	check "mariadb: the table is compared again" dbs_measure "pool=private:$(maria_pid):5" table=table
	at_least "mariadb: the pool by the agent" pool $pages 9950
	diag "the agent: $(maria_sql 'SELECT migdb_innodb_status()')"
	diag "snapshot: $(dbs_sh 'cd /sys/kernel/mm/hints/snapshot; grep -H . *' | tr '\n' ' ')"
	check "mariadb: nothing stays named" maria_agent_is waiting
	check "mariadb: the agent goes with its function" maria_drop_agent
	check "mariadb: the tables are whole" maria_check_tables
	maria_stop
}

# pg_shared: what hintshare takes for the pool
pg_shared() { echo "buffers=shared:$(pg_pid):$(pg_offset):$((PG_BUFFERS << 20))"; }

pg_aligned() { [ $(($(pg_offset) % 4096)) = 0 ]; }

section_postgresql() {
	local off

	step "postgresql: BPF, with checksums"
	dbs_hints on
	pg_start
	check "postgresql: reads its tables" pg_warm
	check "postgresql: serves pgbench" pg_load -N -T 8
	pg_clean
	check "postgresql: the table is compared" dbs_measure files=files:/srv/postgres/data/base
	at_least "postgresql: the page cache by BPF" files "$(share_of files .pages)" 9500

	step "postgresql: agent, with checksums"
	off=$(pg_offset)
	diag "buffers begin at $off of the shared memory: $((off % 4096)) bytes behind a page"
	if ! pg_aligned; then
		pg_agent_run
		check "postgresql: the agent says how to align the buffers" \
			wait_for 120 pg_agent_said "wal_buffers = $((PG_WAL + 4096 - off % 4096))kB"
		pg_agent_stop
		PG_WAL=$((PG_WAL + 4096 - off % 4096))
	else
		pass "postgresql: the buffers are aligned as they are"
	fi
	pg_stop
	dbs_hints agent-only
	pg_start
	check "postgresql: they are aligned then" pg_aligned
	check "postgresql: a user's operator in public is a trap" pg_trap public
	check "postgresql: the agent finds the server" pg_agent_start
	check "postgresql: and does not step into it" pg_trap_waits
	check "postgresql: reads its tables again" pg_warm
	pg_clean
	check "postgresql: the buffers are compared" dbs_measure "$(pg_shared)"
	at_least "postgresql: clean buffers with checksums" buffers "$(pg_used_pages)" 9500
	check "postgresql: is written to, with checksums" pg_load -N -T 8
	pg_clean
	check "postgresql: the buffers are compared after that" dbs_measure "$(pg_shared)"
	diag "buffers that were written, with checksums: $(share_of buffers .)"
	# at least the half of each buffer that has no checksum
	at_least "postgresql: written buffers with checksums" buffers "$(pg_used_pages)" 5000
	pg_agent_stop
	pg_stop

	step "postgresql: agent, without checksums"
	check "postgresql: without checksums" pg_set_checksums off
	dbs_hints agent-only
	pg_start
	check "postgresql: one in a schema called as the agent's role is a trap" pg_trap postgres
	check "postgresql: the agent finds it again" pg_agent_start
	check "postgresql: and does not step into that" pg_trap_waits
	pg_warm >/dev/null
	check "postgresql: is written to, without checksums" pg_load -N -T 8
	pg_clean
	check "postgresql: its buffers are compared" dbs_measure "$(pg_shared)"
	at_least "postgresql: written buffers without checksums" buffers "$(pg_used_pages)" 9500
	diag "the agent: $(dbs_sh cat /run/migdb-postgres/status)"
	pg_agent_stop
	pg_stop
}

section_redis() {
	local digest

	step "redis"
	dbs_hints on
	redis_start
	check "redis: is filled" redis_fill
	check "redis: serves redis-benchmark" redis_load
	digest=$(redis_digest)
	# what a start reads
	redis_stop
	dbs_sh 'sync; echo 3 >/proc/sys/vm/drop_caches'
	redis_start
	check "redis: the table is compared" dbs_measure files=files:/srv/redis "heap=private:$(redis_pid):1"
	at_least "redis: the page cache of its file" files "$(share_of files .pages)" 9500
	check "redis: there was something to compare" test "$(share_of files .pages)" -gt 2000
	# Nothing on the disk has the form that values have in memory.
	diag "the heap: $(share_of heap .)"
	check "redis: its heap is on no disk" test "$(share_of heap '.right * 100 <= .pages')" = true
	check "redis: has all it had" test "$(redis_digest)" = "$digest"
	redis_stop
}

section_memcached() {
	local keep keeps=(100 75 50 25 0)

	step "memcached"
	dbs_hints agent-only
	mc_start
	for keep in "${keeps[@]}"; do
		check "memcached: is moved with $keep % kept" mc_move "$keep"
		check "memcached: $keep % kept: a client sees right values or none" test "$(mc_of "$keep" .wrong)" = 0
	done
	mc_table "${keeps[@]}"
	diag "the agent: $(cat "$DBS_WORK/memcached.50.agent")"
	# what is dropped are three quarters of zeros; the guest is not quiet otherwise
	check "memcached: with half of it fewer bytes are moved" \
		test $(($(mc_of 100 .bytes) - $(mc_of 50 .bytes))) -gt $((MC_ITEMS * MC_BYTES / 4))
	check "memcached: with nothing of it even fewer" \
		test $(($(mc_of 100 .bytes) - $(mc_of 0 .bytes))) -gt $((MC_ITEMS * MC_BYTES / 2))
	# most of what is asked for is in the half that is asked for most
	check "memcached: all are there with 100 % kept" test "$(mc_of 100 '.hits == .gets')" = true
	check "memcached: with half of the items kept most gets hit" test "$(mc_of 50 '.hits * 100 >= .gets * 80')" = true
	mc_stop
}

# No server and no agent: the guest part has next to nothing to say, and is right.
section_none() {
	step "none of them"
	dbs_hints on
	dbs_sh 'sync; echo 3 >/proc/sys/vm/drop_caches; cat /usr/bin/[a-m]* >/dev/null 2>&1 || true'
	check "none: a migration starts and ends" dbs_measure table=table
	at_least "none: what is named is right" table "$(share_of table .named)" 9500
	check "none: nobody has said anything" test "$(dbs_sh cat /sys/kernel/mm/hints/snapshot/frames)" = 0
}

[ $# -gt 0 ] || set -- "${SECTIONS[@]}"
total=0
for s; do
	[ -n "${PLAN[$s]:-}" ] || die "there is no section $s: ${SECTIONS[*]}"
	total=$((total + PLAN[$s]))
done
plan $((total + 1))
dbs_ready
step "booting the guest"
dbs_boot "$BUILD/tests/60-databases"
for s; do
	"section_$s"
done
check "the guest's kernel has nothing to say of itself" dbs_no_fault
finish
