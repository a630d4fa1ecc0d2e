# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# memcached in the guest of lib/databases.sh, its client outside; and moves of the
# whole guest, into a pipe that throws it away.

MC_ITEMS=2000
MC_BYTES=16000		# of a value: the items are 32 MB
MC_GETS=3000
MC_RATE=40000000	# bytes per second of the moves

mc_client() { /usr/bin/python3 "$TOP/tools/lab/guest/memcached.py" "$DBS_MC_PORT" "$@"; }

mc_start() {
	dbs_sh 'setsid memcached -u memcache -m 200 -l 10.0.2.15,127.0.0.1 </dev/null >/run/memcached.log 2>&1 &'
	wait_for 120 mc_client get 1 1 1 1 || die "memcached does not come up: $(dbs_sh cat /run/memcached.log)"
}

mc_stop() { dbs_sh 'kill $(pidof memcached)'; wait_for 120 dbs_sh '! pidof memcached'; }

# mc_agent KEEP: the agent, with that share kept
mc_agent() {
	dbs_sh "printf 'server = 127.0.0.1:11211\nkeep = $1\n' >/run/memcached.conf
		mkdir -p /run/migdb-memcached
		setsid /opt/migdb-guest/root/usr/local/sbin/migdb-memcached -c /run/memcached.conf </dev/null >>/run/migdb-memcached.log 2>&1 &"
	wait_for 120 dbs_sh 'grep -q waiting /run/migdb-memcached/status'
}

mc_agent_stop() {
	dbs_sh 'kill $(pidof migdb-memcached); for i in $(seq 300); do pidof migdb-memcached >/dev/null || break; sleep 0.1; done
		rm -f /run/migdb-memcached/status'
}

dbs_qmp() { /usr/bin/python3 "$TOP/tools/lab/lib/qmp.py" "127.0.0.1:$DBS_QMP_PORT" cmd "$1"; }

# dbs_migrate OUT: moves the guest to nowhere; it goes on here.  What QEMU says of it.
dbs_migrate() {
	local end=$((SECONDS + 300)) said=
	dbs_qmp '{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":'$MC_RATE'}}' >/dev/null &&
		dbs_qmp '{"execute":"migrate","arguments":{"uri":"exec:cat >/dev/null"}}' >/dev/null || return
	until [[ $said = *'"completed"'* ]]; do
		said=$(dbs_qmp '{"execute":"query-migrate"}') || return
		if [[ $said = *'"failed"'* ]] || [ $SECONDS -ge $end ]; then
			printf '%s\n' "$said"
			return 1
		fi
		sleep 0.3
	done
	printf '%s\n' "$said" >"$1"
	dbs_qmp '{"execute":"cont"}' >/dev/null
}

# mc_move KEEP: one line of the table, {keep, gets, hits, wrong, ms, bytes}
mc_move() {
	local keep=$1 rc=0
	mc_client fill $MC_ITEMS $MC_BYTES &&
		mc_client get $MC_ITEMS $MC_BYTES $MC_GETS 1 >/dev/null &&
		mc_agent "$keep" &&
		dbs_measure table=table || return
	dbs_sh cat /run/migdb-memcached/status >"$DBS_WORK/memcached.$keep.agent"
	dbs_sh 'sync; echo 3 >/proc/sys/vm/drop_caches'
	dbs_migrate "$DBS_WORK/migration" || rc=$?
	mc_agent_stop
	[ $rc = 0 ] || return $rc
	mc_client get $MC_ITEMS $MC_BYTES $MC_GETS 2 |
		jq -c --argjson keep "$keep" --slurpfile m "$DBS_WORK/migration" \
			'($m[0] | .return // .) as $m | . + {keep: $keep, ms: $m["total-time"], bytes: $m.ram.transferred}' \
			>"$DBS_WORK/memcached.$keep"
}

mc_of() { jq -r "$2" "$DBS_WORK/memcached.$1"; }

mc_table() {
	local keep
	diag "kept %   hit rate %   move s    sent MB"
	for keep; do
		diag "$(mc_of "$keep" '"\(.keep)       \(.hits * 100 / .gets | round)     \(.ms / 1000)     \(.bytes / 1000000 | round)"')"
	done
}
