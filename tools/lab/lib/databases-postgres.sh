# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# PostgreSQL in the guest of lib/databases.sh: the tables of pgbench.

PG_BUFFERS=160	# MiB of shared_buffers: all of it fits
PG_BIN=/usr/lib/postgresql/15/bin
PG_WAL=4096	# KiB of wal_buffers: where the buffers are depends on it

# pg_as SCRIPT: as the server's user
pg_as() { dbs_sh "su postgres -s /bin/sh -c $(printf '%q' "PATH=$PG_BIN:\$PATH; cd /; $*")"; }
pg_sql() { pg_as "psql -XAtq -c $(printf '%q' "$*") postgres"; }
pg_pid() { dbs_sh 'head -n 1 /srv/postgres/data/postmaster.pid'; }

pg_start() {
	pg_as "pg_ctl -D /srv/postgres/data -w -t 300 -l /srv/postgres/log start -o '-c listen_addresses= \
		-c shared_buffers=${PG_BUFFERS}MB -c wal_buffers=${PG_WAL}kB -c huge_pages=off -c autovacuum=off \
		-c checkpoint_timeout=1h -c bgwriter_lru_maxpages=0'" >"$DBS_WORK/pg.log" 2>&1 ||
		die "PostgreSQL does not come up: $(tail -3 "$DBS_WORK/pg.log"; dbs_sh tail -5 /srv/postgres/log)"
}

pg_stop() { pg_as 'pg_ctl -D /srv/postgres/data -w -m fast stop' >/dev/null; }

# pg_checksums on|off: of the stopped cluster.
pg_set_checksums() {
	case $1 in
	on) pg_as 'pg_checksums --enable -D /srv/postgres/data' ;;
	off) pg_as 'pg_checksums --disable -D /srv/postgres/data' ;;
	esac >/dev/null
}

# All blocks of the tables and indexes, and something of a load.
pg_warm() {
	pg_sql "SELECT pg_prewarm('pgbench_accounts', 'buffer'), pg_prewarm('pgbench_accounts_pkey', 'buffer')"
}

# pg_load OPTIONS: pgbench
pg_load() { pg_as "pgbench -n -c 2 -j 2 $* postgres"; }

# What a checkpoint leaves dirty: nothing.
pg_clean() { pg_sql 'CHECKPOINT' && dbs_sh sync; }

pg_agent_run() {
	dbs_sh 'mkdir -p /run/migdb-postgres && chown postgres /run/migdb-postgres
		printf "data = /srv/postgres/data\npsql = %s/psql -d postgres\n" '$PG_BIN' >/run/postgres.conf
		setsid setpriv --reuid=postgres --regid=postgres --init-groups --bounding-set=-all,+checkpoint_restore \
			--inh-caps=-all,+checkpoint_restore --ambient-caps=-all,+checkpoint_restore \
			/opt/migdb-guest/root/usr/local/sbin/migdb-postgres -c /run/postgres.conf \
			</dev/null >/run/migdb-postgres.log 2>&1 &'
}

pg_agent_start() { pg_agent_run && wait_for 120 pg_agent_is waiting; }

pg_agent_is() { dbs_sh 'cat /run/migdb-postgres/status' | jq -e ".state == \"$1\""; }
pg_agent_said() { dbs_sh "grep -q $(printf '%q' "$1") /run/migdb-postgres.log"; }

pg_agent_stop() {
	dbs_sh 'kill $(pidof migdb-postgres); for i in $(seq 300); do pidof migdb-postgres >/dev/null || exit 0; sleep 0.1; done; exit 1'
}

# pg_trap SCHEMA: a user's operator there, which makes its owner a superuser when one
# concatenates as the agent does; it is seen to work.
pg_trap() {
	pg_sql "CREATE ROLE mallory; GRANT CREATE ON SCHEMA public TO mallory;" \
		"GRANT CREATE ON DATABASE postgres TO mallory" &&
		pg_sql "SET ROLE mallory; CREATE SCHEMA IF NOT EXISTS $1;" \
			"CREATE FUNCTION $1.trap(text, int) RETURNS text LANGUAGE plpgsql" \
			"AS 'BEGIN ALTER ROLE mallory SUPERUSER; RETURN 0; END';" \
			"CREATE OPERATOR $1.|| (LEFTARG = text, RIGHTARG = int, FUNCTION = $1.trap)" &&
		pg_sql "SELECT 'PG_' || 15" && pg_trapped &&
		pg_sql 'ALTER ROLE mallory NOSUPERUSER' && ! pg_trapped
}

pg_trapped() { [ "$(pg_sql "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'")" = t ]; }

# Nobody has stepped into it; and it is gone.
pg_trap_waits() { ! pg_trapped && pg_sql 'DROP OWNED BY mallory; DROP ROLE mallory'; }

# Where the buffers are, as the server says it; and how many pages of them are used.
pg_offset() { pg_sql "SELECT off FROM pg_shmem_allocations WHERE name = 'Buffer Blocks'"; }
pg_used_pages() { pg_sql 'SELECT 2 * count(*) FROM pg_buffercache WHERE relfilenode IS NOT NULL'; }
