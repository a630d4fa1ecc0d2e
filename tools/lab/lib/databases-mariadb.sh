# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# MariaDB in the guest of lib/databases.sh: two sysbench tables, a pool that holds
# both.

MARIA_POOL=${MARIA_POOL:-192}	# MiB

maria_pid() { dbs_sh pidof mariadbd; }
maria_sql() { dbs_sh "mariadb -N -B -e $(printf '%q' "$*")"; }
maria_status() { maria_sql "SHOW GLOBAL STATUS LIKE '$1'" | awk '{ print $2 }'; }

maria_start() {
	dbs_sh "setsid mariadbd --user=mysql --innodb-buffer-pool-size=${MARIA_POOL}M </dev/null >>/run/mariadbd.log 2>&1 &"
	wait_for 300 maria_sql 'SELECT 1' || die "mariadbd does not come up: $(dbs_sh tail -5 /run/mariadbd.log)"
}

maria_stop() {
	dbs_sh 'mariadb-admin shutdown; for i in $(seq 1200); do pidof mariadbd >/dev/null || exit 0; sleep 0.1; done; exit 1' ||
		die "mariadbd does not end"
}

# As run_warm_table: all leaves of the clustered index, and the secondary one.
maria_warm() {
	maria_sql "SELECT SUM(LENGTH(pad)) FROM sbtest.seq_1_to_${DBS_ROWS}_step_60 s JOIN sbtest.sbtest1 t ON t.id = s.seq;
		SELECT SUM(LENGTH(pad)) FROM sbtest.seq_1_to_${DBS_ROWS}_step_60 s JOIN sbtest.sbtest2 t ON t.id = s.seq;
		SELECT COUNT(*) FROM sbtest.sbtest1 FORCE INDEX (k_1); SELECT COUNT(*) FROM sbtest.sbtest2 FORCE INDEX (k_2)" >/dev/null
}

# Nothing left to purge, nothing left to write.
maria_clean() {
	local end=$((SECONDS + 300))
	maria_sql 'SET GLOBAL innodb_max_purge_lag_wait=0; SET GLOBAL innodb_max_dirty_pages_pct=0'
	until [ "$(maria_status Innodb_buffer_pool_pages_dirty)" = 0 ]; do
		[ $SECONDS -lt $end ] || die "the pool does not become clean"
		sleep 0.5
	done
}

# How many pages of 4 KiB the pool has that are as on the disk, as the server says
# it.  Not so are temporary tables and their rollback segments, 128 pages at least.
maria_clean_pages() {
	maria_sql "SELECT 4 * COUNT(*) FROM information_schema.INNODB_BUFFER_PAGE
		WHERE PAGE_STATE = 'FILE_PAGE' AND OLDEST_MODIFICATION < 2"
}

# maria_load TEST SECONDS
maria_load() {
	sysbench "$1" --db-driver=mysql --mysql-host=127.0.0.1 --mysql-port="$DBS_SQL_PORT" --mysql-user=sbtest \
		--mysql-password=sbtest --tables=2 --table-size="$DBS_ROWS" --threads=2 --time="$2" --events=0 run
}

# While a load writes: the server stands still for the comparison only.
maria_measure_loaded() {
	local load rc=0
	maria_load oltp_read_write 12 >"$DBS_WORK/load.out" 2>&1 &
	load=$!
	sleep 6
	dbs_measure --freeze "$(maria_pid)" "pool=private:$(maria_pid):5" || rc=$?
	wait $load || { cat "$DBS_WORK/load.out"; rc=1; }
	return $rc
}

maria_agent() {
	dbs_sh 'cp /opt/migdb-guest/root/usr/local/lib/migdb/migdb_innodb.so /usr/lib/mysql/plugin/'
	maria_sql "CREATE FUNCTION migdb_innodb_status RETURNS STRING SONAME 'migdb_innodb.so'"
	maria_sql 'SELECT migdb_innodb_status()'
}

maria_agent_is() {
	local said
	for _ in $(seq 60); do
		said=$(maria_sql 'SELECT migdb_innodb_status()')
		[ "$(jq -r .state <<<"$said")" != "$1" ] || return 0
		sleep 0.5
	done
	echo "$said"
	return 1
}

# Its thread is gone, and the device is closed.
maria_drop_agent() {
	maria_sql 'DROP FUNCTION migdb_innodb_status'
	dbs_sh '! grep -q migdb_innodb /proc/$(pidof mariadbd)/maps && ! ls -l /proc/$(pidof mariadbd)/fd | grep mem_hint'
}

maria_check_tables() {
	[ "$(maria_sql 'CHECK TABLE sbtest.sbtest1, sbtest.sbtest2' | grep -c 'status.*OK')" = 2 ]
}
