# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# One measured move of the database VM under load, with every check: what the
# demo and the end-to-end tests are made of.  Needs lib/vm.sh and a running VM.
#
#   run_warm NAME                 reads all tables into the buffer pool
#   run_fio_rate HOST BLOCK-SIZE  bytes per second of direct reads, as deep as migdb's
#   run_stream_rate NAME FROM TO OUT  what a migration moves per second; TO has no VM
#   run_migrate NAME RUN FROM TO DIR [qmp.py options]
#        RUN is default-ro, migdb-ro, default-rw or migdb-rw (what is before the
#        dash chooses capabilities, what is behind it the load).  Leaves the VM
#        running on TO and DIR/RUN.json behind; fails when there is no result.
#
# The state before each run: all tables in the pool, nothing dirty in it.

. "$(dirname "${BASH_SOURCE[0]}")/vm.sh"
. "$(dirname "${BASH_SOURCE[0]}")/content.sh"

RUN_THREADS=${RUN_THREADS:-4}
# Transactions a second that are offered; 0: as many as there can be.
RUN_RATE=${RUN_RATE:-0}
RUN_BEFORE=${RUN_BEFORE:-5}	# seconds of load before the move
RUN_AFTER=${RUN_AFTER:-6}	# and after the VM runs again

run_fio_rate() {
	vm_lab exec "$1" fio --name=s --filename=/dev/lab/db-data --rw=read --direct=1 --ioengine=libaio \
		--iodepth=64 --bs="$2" --size=1200M --time_based --runtime=5 --ramp_time=1 --readonly \
		--output-format=json | jq '.jobs[0].read.bw_bytes'
}

# The migration is given up after some seconds and the VM stays where it is.
run_stream_rate() {
	vm_start "$1" "$3" --incoming
	vm_migrate "$1" "$2" "$3" "$4" --param max-bandwidth=12500000000 --cancel-after 5 --trial ||
		die "the trial migration failed: $(cat "$4")"
	vm_quit "$1" "$3"
	# The first second is for starting up; an early end counts as it is.
	jq '.samples as $s | ([$s[] | select(.[0] >= 1)][0] // $s[0]) as $a | $s[-1] as $b |
		if $b[0] > $a[0] and $b[1] > $a[1] then ($b[1] - $a[1]) / ($b[0] - $a[0])
		else .source.ram.transferred / .before_cancel_s end | floor' "$4"
}

run_packages() {
	install_packages sysbench mariadb-client-core python3 python3-pymysql jq
}

# run_tables CMD...: for all tables at once; CMD gets the table's name.
run_tables() {
	local i pids=() rc=0
	for i in $(seq "$GUEST_TABLES"); do
		"$@" "sbtest$i" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || rc=1
	done
	return $rc
}

# A page of the clustered index holds about 75 rows: every 60th row reads them
# all, and counting walks the secondary index.
run_warm_table() {
	vm_sql "$1" "SELECT SUM(LENGTH(pad)) FROM sbtest.seq_1_to_${GUEST_ROWS}_step_60 s JOIN sbtest.$2 t ON t.id = s.seq;
		SELECT COUNT(*) FROM sbtest.$2 FORCE INDEX (k_${2#sbtest})" >/dev/null
}

run_status() {
	vm_sql "$1" "SHOW GLOBAL STATUS LIKE '$2'" | awk '{ print $2 }'
}

run_warm() {
	local name=$1 end=$((SECONDS + 120))
	run_tables run_warm_table "$name" || die "the tables of $name cannot be read"
	vm_ssh "$name" "mariadb -e 'SET GLOBAL innodb_max_dirty_pages_pct=0'" || die "no root access to the database of $name"
	until [ "$(run_status "$name" Innodb_buffer_pool_pages_dirty)" = 0 ]; do
		[ $SECONDS -lt $end ] || die "the database of $name does not become clean"
		sleep 0.5
	done
	vm_ssh "$name" "mariadb -e 'SET GLOBAL innodb_max_dirty_pages_pct=90'"
}

# run_warmth NAME: per cent of the guest's memory that is pool with data in it.
run_warmth() {
	echo $(($(run_status "$1" Innodb_buffer_pool_bytes_data) * 100 / (GUEST_MEM * 1048576)))
}

# run_sysbench NAME LOAD [SECONDS]: the load itself, one report line a second;
# without SECONDS until it is killed.
run_sysbench() {
	local test
	case $2 in
	ro) test=oltp_read_only ;;
	rw) test=oltp_read_write ;;
	*) die "a load is ro or rw, not '$2'" ;;
	esac
	exec nsenter --net="/run/netns/$LAB_NS" sysbench "$test" --db-driver=mysql \
		--mysql-host="$(vm_ip "$1")" --mysql-user=sbtest --mysql-password=sbtest \
		--tables="$GUEST_TABLES" --table-size="$GUEST_ROWS" --threads="$RUN_THREADS" \
		--rate="$RUN_RATE" \
		--time="${3:-0}" --events=0 --report-interval=1 --percentile=95 run
}

run_checksum_table() {
	vm_sql "$1" "CHECKSUM TABLE sbtest.$2"
}

run_check_table() {
	[ "$(vm_sql "$1" "CHECK TABLE sbtest.$2" | awk -F'\t' '$3 == "status" { print $4 }')" = OK ]
}

# run_content NAME: what a read-only load leaves as it is.
run_content() {
	run_tables run_checksum_table "$1" | sort
}

# run_content_before NAME HOST OUT: the same, as disk and log have it.
run_content_before() {
	content_stored "$1" "$2" "$3.stored" 0 && grep '^sbtest\.' "$3.stored" >"$3"
}

# After a read-only run the content is what it was; after a read-write run it is what
# the disk and the redo log say (lib/content.sh).
run_content_ok() {
	local name=$1 host=$2 load=$3 out=$4 want got
	case $load in
	ro)
		want=$out.content got=$out.content.after
		run_content "$name" >"$got" || return 1 ;;
	rw)
		want=$out.stored got=$out.served
		content_stored "$name" "$host" "$want" "$(cat "$out.lsn")" || { say "  the stored tables cannot be read"; return 1; }
		[ "$(cat "$want.newer")" != 0 ] || echo log >"$out.compared"
		content_served "$name" "$got" || return 1 ;;
	esac
	[ -s "$want" ] && cmp -s "$want" "$got" && return
	say "  the content of the tables is not what it must be:"
	diff "$want" "$got" >&2
	return 1
}

# The server's uptime tells a restart that nobody would notice otherwise.
run_db_ok() {
	local name=$1 load=$2 dir=$3 run=$4 host=$5 ok=1
	run_content_ok "$name" "$host" "$load" "$dir/$run" || { say "  $run: the content is not right"; ok=0; }
	run_tables run_check_table "$name" || { say "  $run: CHECK TABLE is not OK"; ok=0; }
	[ "$(vm_sql "$name" "CHECK TABLE ledger.account, ledger.journal" | grep -c 'status.*OK')" = 2 ] ||
		{ say "  $run: CHECK TABLE of the ledger is not OK"; ok=0; }
	if ! vm_lab netns /usr/bin/python3 "$TOP/tools/lab/guest/ledger.py" verify "$(vm_ip "$name")" \
		"$dir/$run.ledger" >"$dir/$run.ledger.verify"; then
		say "  $run: the ledger is wrong: $(cat "$dir/$run.ledger.verify")"
		ok=0
	fi
	[ "$(vm_ssh "$name" 'grep -c "ready for connections" /run/mariadbd.log')" = 1 ] ||
		{ say "  $run: the database server was restarted"; ok=0; }
	[ $ok = 1 ]
}

# Errors that the real clients saw: sysbench's own and reconnects, one more when
# it ended by itself, one when nothing was served after the move, the ledger's.
run_client_errors() {
	local out=$1 ledger=$2 sysbench_died=$3 served_after=$4
	{
		awk '/^\[ / { for (i = 1; i < NF; i++) if ($i == "err/s:" || $i == "reconn/s:") n += $(i + 1) }
		     /FATAL/ { n++ } END { printf "%d\n", n + 0.5 }' "$out"
		echo "$sysbench_died"
		[ "$served_after" -gt 0 ] && echo 0 || echo 1
		jq '.errors' "$ledger" 2>/dev/null || echo 1
	} | awk '{ n += $1 } END { print n }'
}

# Transactions in the report lines from number N on.
run_served() {
	awk -v from="$2" '/^\[ / && ++line > from { for (i = 1; i < NF; i++) if ($i == "tps:") n += $(i + 1) }
		END { printf "%d\n", n }' "$1"
}

run_clients_start() {
	local name=$1 load=$2 dir=$3 run=$4
	(run_sysbench "$name" "$load") >"$dir/$run.sysbench" 2>&1 </dev/null &
	RUN_SYSBENCH=$!
	RUN_LEDGER=
	nsenter --net="/run/netns/$LAB_NS" /usr/bin/python3 "$TOP/tools/lab/guest/ledger.py" run "$(vm_ip "$name")" \
		$((SECONDS + RANDOM)) "$dir/$run.ledger" </dev/null >"$dir/$run.ledger.log" 2>&1 &
	RUN_LEDGER=$!
}

run_clients_stop() {
	RUN_DIED=0
	kill -0 "$RUN_SYSBENCH" 2>/dev/null || RUN_DIED=1
	kill "$RUN_SYSBENCH" 2>/dev/null || true
	kill "$RUN_LEDGER" 2>/dev/null || true
	wait "$RUN_SYSBENCH" 2>/dev/null || true
	wait "$RUN_LEDGER" 2>/dev/null || true
}

# A host that had VMs before has full caches and its free memory in pieces; the
# host that the first run goes to has neither.
run_host_fresh() {
	vm_lab exec "$1" 'sync; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory'
}

# All with a return path, as libvirt has it: QEMU's downtime ends when the
# destination has loaded all then, without it when the source has written all.
# x-migdb opens it by itself; "off": what an earlier run has left.
run_caps() {
	case $1 in
	migdb-*) printf '%s\n' --cap x-migdb=on --cap return-path=off ;;
	*) printf '%s\n' --cap return-path=on ;;
	esac
}

# What the guest's kernel says of its own faults, as a JSON array: it boots "quiet", so
# its console does not have them.
run_guest_faults() {
	{ vm_ssh "$1" dmesg || echo "the guest's log cannot be read"; } |
		grep -aE -m8 "$KERNEL_FAULT|cannot be read" | jq -Rn '[inputs]'
}

# run_record NAME HOST RECORDED: the kernel's record of the source of the move that has just
# ended, which has recorded so many pages; null if its log does not have it.
run_record() {
	local found
	found=$(vm_lab exec "$2" dmesg | sed -n 's/.*migdb-json: //p' |
		jq -c --arg uuid "$(vm_uuid "$1")" --argjson recorded "$3" \
			'select(.label == $uuid and .role == "source" and .recorded == $recorded)' | tail -n 1) || true
	printf '%s\n' "${found:-null}"
}

run_migrate() {
	local name=$1 run=$2 from=$3 to=$4 dir=$5 load=${2##*-} masks=() caps=() lines t0 oracle_ms
	local identical=false db_ok=false guest_faults errors warm served rc=0
	shift 5
	mkdir -p "$dir"
	rm -f "$dir/$run".*
	step "$run: reading the tables into the pool"
	if vm_died "$name" "$from"; then
		die "$run: there is no VM to move"
	fi
	run_warm "$name"
	warm=$(run_warmth "$name")
	if [ "$load" = rw ]; then
		echo pages >"$dir/$run.compared"
		rm -f "$dir/content.ro"
	else
		# Read-only runs share it, until a run writes.  Not asked of the guest, which is
		# an order of magnitude slower, and whose memory is what moves.
		[ -s "$dir/content.ro" ] || run_content_before "$name" "$from" "$dir/content.ro" ||
			die "$run: the tables cannot be read"
		cp "$dir/content.ro" "$dir/$run.content"
		echo before >"$dir/$run.compared"
	fi
	mapfile -t masks < <(vm_masks "$name")
	mapfile -t caps < <(run_caps "$run")
	run_host_fresh "$to"
	vm_start "$name" "$to" --incoming
	run_clients_start "$name" "$load" "$dir" "$run"
	sleep "$RUN_BEFORE"
	[ "$load" != rw ] || content_lsn "$name" >"$dir/$run.lsn" || echo 0 >"$dir/$run.lsn"
	step "$run: moving $name from $from to $to"
	vm_migrate "$name" "$from" "$to" "$dir/$run.migration" --param max-bandwidth=12500000000 \
		"${caps[@]}" "$@" || rc=$?
	if [ $rc -ne 0 ]; then
		run_clients_stop
		say "$run: the migration failed: $(jq -r '.error // .source["error-desc"] // .status' "$dir/$run.migration")"
		vm_console "$name" "$to" | tail -5 >&2
		vm_died "$name" "$from" || true
		return 1
	fi
	t0=$(date +%s%N)
	if vm_oracle "$name" "$from" "$to" "$dir/$run.oracle" "${masks[@]}"; then
		identical=true
	else
		say "  $run: memory differs:"
		head -20 "$dir/$run.oracle" >&2
	fi
	# The oracle must know of every page that migdb could build.
	if ! jq -se '.[0].construct >= (.[1].source["x-migdb"]["candidate-pages"] // 0)' \
		"$dir/$run.oracle.json" "$dir/$run.migration" >/dev/null; then
		say "  $run: the construct set is larger than what the guest's hint table names: $(cat "$dir/$run.oracle.json")"
		identical=false
	fi
	oracle_ms=$((($(date +%s%N) - t0) / 1000000))
	vm_cont "$name" "$to"
	# The same connections must go on: TCP's retransmission has backed off while
	# the oracle kept the VM stopped, so they may need a while.
	lines=$(grep -c '^\[ ' "$dir/$run.sysbench") || true
	for _ in $(seq 60); do
		[ "$(run_served "$dir/$run.sysbench" "$lines")" = 0 ] || break
		sleep 1
	done
	sleep "$RUN_AFTER"
	run_clients_stop
	served=$(run_served "$dir/$run.sysbench" "$lines")
	errors=$(run_client_errors "$dir/$run.sysbench" "$dir/$run.ledger" "$RUN_DIED" "$served")
	step "$run: $(jq -r '"\(.total_ms / 100 | round / 10) s, \(.source.ram.transferred / 1000000 | floor) MB"' "$dir/$run.migration"), identical: $identical; checking the database"
	vm_quit "$name" "$from"
	! run_db_ok "$name" "$load" "$dir" "$run" "$to" || db_ok=true
	guest_faults=$(run_guest_faults "$name") || true
	run_record "$name" "$from" "$(jq '.source["x-migdb"]["recorded-pages"] // -1' "$dir/$run.migration")" >"$dir/$run.record"
	jq -n --slurpfile m "$dir/$run.migration" --slurpfile o "$dir/$run.oracle.json" \
		--slurpfile k "$dir/$run.record" --arg name "$run" --argjson oracle_ms "$oracle_ms" --argjson identical $identical \
		--argjson db_ok $db_ok --argjson guest_faults "$guest_faults" --arg compared "$(cat "$dir/$run.compared")" \
		--argjson newer "$(cat "$dir/$run.stored.newer" 2>/dev/null || echo null)" --argjson errors "$errors" --argjson warm "$warm" --argjson served "$served" '
		$m[0] as $m | $m.source["x-migdb"] as $x | $m.destination["x-migdb"] as $d |
		{ name: $name, total_ms: $m.total_ms, downtime_ms: $m.source.downtime, oracle_ms: $oracle_ms,
		  source_bytes: $m.source.ram.transferred,
		  pages_sent: $m.source.ram.normal, pages_zero: $m.source.ram.duplicate,
		  rounds: $m.source.ram["dirty-sync-count"],
		  pages_built: ($x["built-pages"] // 0), pages_returned: ($x["returned-pages"] // 0),
		  pages_revoked: ($x["revoked-pages"] // 0), pages_recorded: ($x["recorded-pages"] // 0),
		  pages_unconfirmed: ($x["unconfirmed-pages"] // 0),
		  pages_candidate: ($x["candidate-pages"] // 0), pages_candidate_zero: ($x["zero-pages"] // 0),
		  pages_stale: $k[0].by_reason.mismatch,
		  migdb_state: $x.state, migdb_reason: $x.reason,
		  read_bytes: ($d["read-bytes"] // 0), reads: ($d.reads // 0), memory_bytes: ($x["memory-bytes"] // 0),
		  migdb_source: $x, migdb_destination: $d,
		  identical: $identical, oracle: $o[0], db_ok: $db_ok, guest_faults: $guest_faults, db_compared: $compared, db_pages_newer: $newer, client_errors: $errors,
		  warm_percent: $warm, served_after: $served }' >"$dir/$run.json"
}
