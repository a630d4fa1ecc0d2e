#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the demo and bench-guest make of their runs, on records that are known: figures,
# what they are measured against, and every verdict.  No lab is needed.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"

report=$TOP/tools/lab/lib/report.py
dir=$(mktemp -d)
at_exit 'rm -rf "$dir"'

# env [JQ]: the demo's environment file.
env_json() {
	jq -n '{wanted: ["default-ro", "migdb-ro", "default-rw", "migdb-rw"], guest_mib: 640, S_free: 600e6, N_free: 60e6,
		S_set: 60e6, N_set: 10e6, S_measured: 60e6, rtt_ms: 2, rate: 4, repeats: 1}' | jq "${1:-.}" >"$dir/env.json"
}

# record NAME TOTAL_MS [JQ]: a run that is right.  The default runs send 500 MB, of which
# 100000 pages are in the construct set: f is 0.8192.
record() {
	local at=$dir/${4:-}
	mkdir -p "$at"
	jq -n --arg name "$1" --argjson ms "$2" '
		($name | startswith("migdb")) as $m |
		{name: $name, total_ms: $ms, downtime_ms: 100, oracle_ms: 9000,
		 source_bytes: (if $m then 100e6 else 500e6 end), pages_sent: 30000, pages_zero: 10, rounds: 3,
		 pages_built: 0, pages_returned: 0, pages_revoked: 0, pages_recorded: 0, pages_unconfirmed: 0,
		 pages_candidate: 0, pages_candidate_zero: 0, pages_stale: null, migdb_state: null, migdb_reason: null,
		 read_bytes: 0, reads: 0, memory_bytes: 0, identical: true, oracle: {differing: 0}, db_ok: true, guest_faults: [],
		 client_errors: 0, warm_percent: 65, served_after: 100}
		| if $m then . + {pages_built: 99000, pages_returned: 400, pages_revoked: 500, pages_recorded: 99900,
			pages_candidate: 100100, pages_candidate_zero: 100, migdb_state: "completed"} else . end' |
		jq "${3:-.}" >"$at/$1.json"
}

all_right() {
	rm -rf "${dir:?}"/*
	env_json
	record default-ro 50000
	record migdb-ro 12500
	record default-rw 100000
	record migdb-rw 20000
}

run() {
	/usr/bin/python3 "$report" "$dir" "$dir/result" >"$dir/said"
}

# is EXPRESSION...: of result.json, each must be true.
is() {
	local e
	for e; do
		jq -e "$e" "$dir/result" >/dev/null || { echo "not so: $e"; jq -c 'del(.runs)' "$dir/result"; return 1; }
	done
}

said() { grep -qE -- "$1" "$dir/said" || { cat "$dir/said"; return 1; }; }

# found WHAT RUN JQ: a run that is not right makes the exit status 1 and is named.
found() {
	all_right
	record "$2" 12500 "$3"
	if run; then
		fail "$1: is an error"
	else
		pass "$1: is an error"
	fi
	check "$1: is told" said "^  $2: "
}

plan 81
all_right
check "all is right: success" run
check "and the verdict" said '^VERDICT: every run identical'
check "N is what default-ro reached" is '.N_bytes_per_s == 10e6' '.N_rw_bytes_per_s == 5e6'
check "f is a share of the default run's bytes" is '[.runs[].f] == [0, 0.8192, 0, 0.8192]'
# 1 / (1 - f) is 5.53, 1 + S / N is 7
check "the bound is that of the read-only load" is '.bound_ro == 5.531' '.speedup_ro == 4' '.speedup_rw == 5'
check "one run of each: says that the spread is not known" said 'how far they spread is not known'
check "all targets but the bound are met" is '[.targets[] | select(.met | not)] | length == 1 and (.[0].text | test("72 %"))'
env_json '.S_measured = 20e6'
run
check "slow storage: that is the bound" is '.bound_ro == 3'

all_right
rm "$dir/default-ro.json"
env_json '.wanted = ["migdb-ro", "default-rw", "migdb-rw"]'
check "no default-ro: success" run
check "N is not taken from default-rw" is '.N_bytes_per_s == null' '.N_rw_bytes_per_s == 5e6'
check "nor is a bound or a speed-up made up" is '.bound_ro == null' '.speedup_ro == null' '.runs[0].f == null' '.speedup_rw == 5'
check "and it says so" said 'note +default-ro was not run'
check "and that the link was not measured" said 'link not measured under the read-only load \(set to 10.0 MB/s\)'

found "memory differs" migdb-ro '.identical = false | .oracle.differing = 3'
found "the database is wrong" migdb-ro '.db_ok = false'
found "the guest's kernel has a fault" migdb-ro '.guest_faults = ["WARNING: CPU: 0 PID: 1 at mm/x.c:1"]'
found "a client saw an error" migdb-ro '.client_errors = 1'
found "the pool is cold" migdb-ro '.warm_percent = 59'
found "it was an ordinary migration" migdb-ro '.migdb_state = "ordinary" | .migdb_reason = "switched off"'
found "pages do not add up" migdb-ro '.pages_revoked = 0'
found "no page was built" migdb-ro '.pages_built = 0 | .pages_returned = 99400'
found "a default run differs" default-rw '.identical = false'
all_right
rm "$dir/migdb-rw.json"
check_fails "a run is missing: is an error" run
check "and is told" said '^  migdb-rw: there is no result'
all_right
record migdb-rw 105001
run
check "slower than 105 %: missed, no error" said '^  MISSED +migdb-rw takes .*: 105 %'
record default-ro 39999
run
check "too short a run: missed" said '^  MISSED +default-ro takes at least 40 s'
record migdb-ro 12500 '.downtime_ms = 113'
run
check "downtime above the limit: missed" said '^  MISSED +downtime of migdb-ro .*\(112.0 ms\): 113.0 ms'
record migdb-rw 20000 '.downtime_ms = 113'
run
check "of the read-write load, too" said '^  MISSED +downtime of migdb-rw .*\(112.0 ms\): 113.0 ms'
all_right
run
check "rates of at most a third: met" said '^  met +link set to at most a third of what it does \(60 MB/s\): 10 MB/s'
env_json '.N_set = 20000001 | .S_set = 200000001'
run
check "a link that is too fast: missed" said '^  MISSED +link set'
check "storage that is too fast: missed" said '^  MISSED +storage set'

all_right
record migdb-rw 20000 '.pages_stale = 400 | .read_bytes = 4096 * 99600'
run
check "stale pages: their share, and what was read in vain" is '.runs[3].stale == {"pages": 400, "candidates": 100100,
	"share_percent": 0.4, "blocks_in_vain": 600, "blocks_in_vain_per_page": 1.5}' '.runs[1].stale == null'
check "and it is told" said '^  stale   migdb-rw: 400 of 100100 pages \(0.40 %\).* 600 blocks were read in vain, 1.50 for each'
check "but not of a run whose record is not there" bash -c '! grep "stale   [^m]\|stale   migdb-ro" "$0"' "$dir/said"
record migdb-rw 20000 '.pages_stale = 0 | .read_bytes = 4096 * 98000'
run
check "no stale page: nothing is divided by it" said '^  stale   migdb-rw: 0 of 100100 .* 0 blocks were read in vain$'

# Repeats: the median of three is neither the mean nor the last one.
repeats() {
	rm -rf "${dir:?}"/*
	env_json '.repeats = 3 | .wanted = ["default-ro", "migdb-ro"]'
	record default-ro 50000 . 1
	record default-ro "$1" . 2
	record default-ro 52000 . 3
	record migdb-ro 12400 . 1
	record migdb-ro 12500 "${2:-.}" 2
	record migdb-ro 12600 . 3
}
repeats 50500
check "repeats: success" run
check "repeats: medians" is '[.runs[].total_ms] == [50500, 12500]' '.speedup_ro == 4.04' '[.runs[].repeats | length] == [3, 3]'
check "repeats: their spread" is '[.runs[].spread_percent.total_ms] == [4, 1.6]'
check "repeats: nothing is inconclusive" bash -c '! grep inconclusive "$0"' "$dir/said"
repeats 50500 '.pages_stale = 30'
check "repeats: a record that is not there does not count" run
check "repeats: but the others do" is '.runs[1].stale.pages == 30'
repeats 53000
run
check "a spread above 5 % is inconclusive" said '^  met    \(inconclusive: spread 6 %\)  migdb-ro at least 1.5 times'
check "what does not spread is not" said '^  met     source bytes below'
repeats 50500 '.db_ok = false'
check_fails "one repeat is wrong: is an error" run
check "and which one is told" said '^  migdb-ro, repeat 2: the database is not right'
repeats 50500
rm "$dir/2/default-ro.json"
check_fails "a repeat is missing: is an error" run

# pairs RO RW: eight pairs whose ratios on/off spread by half a per cent around these,
# every second one with "on" first; beside them a control whose halves are alike.
pairs() {
	rm -rf "${dir:?}"/*
	jq -nc --argjson ro "$1" --argjson rw "$2" '
		range(8) as $i | (100 + $i) as $off | ((if $i % 2 == 0 then 1.005 else 0.995 end)) as $wobble |
		(["ro", "on", $ro * $wobble], ["control", "off2", $wobble], ["rw", "on", $rw * $wobble]) as [$kind, $side, $ratio] |
		({side: "off", tps: $off}, {side: $side, tps: ($off * $ratio)}) |
		{bench: "pair", $kind, pair: $i, side, tps, load: 0.5}' >"$dir/samples"
	printf 'state idle\nns_per_run 1234\nruns_timed 5678\n' >"$dir/status"
	bench '[4096, 460], [65536, 6553.6], [16384, 1600]' 1.5 1.5
	figures .
}

# figures JQ: of databases, at their limits but for what JQ changes.
figures() {
	jq -n '{innodb_named_share: 0.98, stale_share_rw: 0.4, innodb_exact_share: 0.995, pagecache_named_share: 0.95}' |
		jq "$1" >"$dir/figures"
}

# bench PAGES-AND-US NS NS: what the guest's bench says of snapshots and of stores, with a
# pool and without.
bench() {
	{
		echo "# bench: direct read of 4 KiB"
		jq -nc --argjson on "$2" --argjson off "$3" "($1 | {bench: \"snapshot\", pages: .[0], us: .[1]}),
			(range(6) | {bench: \"store\", pair: ., side: \"off\", ns: \$off},
				{bench: \"store\", pair: ., side: \"pool\", ns: (\$on * (if . % 2 == 0 then 1.004 else 0.996 end))})" | sed 's/^/# bench-json: /'
	} >"$dir/bench"
}

run_pairs() {
	"$TOP/tools/lab/lib/pairs.py" "$dir/samples" "$dir/status" "$dir/bench" "$dir/figures" "$dir/result" >"$dir/said"
}

pairs 1 1
check "hints cost nothing: success" run_pairs
check "and the figures" is '.tps_ratio_ro > 0.999 and .tps_ratio_ro < 1.001' '.tps_ratio_ro_low > 0.99 and .tps_ratio_ro_low < 0.997' \
	'.ns_per_request == 1234' '.requests_timed == 5678' '.pairs.control.n == 8' '.slower == []'
check "and that the targets are met" said '^rw: the target of 0.98 is met'
check "a snapshot takes what the largest one does" is '.snapshot_ms_per_million_pages == 100' \
	'.snapshot_spread_percent > 14.5 and .snapshot_spread_percent < 14.7' '[.snapshots[].pages] == [4096, 16384, 65536]'
check "and how far from linear is told" said 'linear: 3 sizes from 4096 pages on lie 15 % apart \(97.7 to 112.3\)'
check "stores to a pool cost nothing" said 'ratio 1.000 .*: no measurable cost'
bench '[4096, 460], [65536, 6553.6]' 1.6 1.5
run_pairs
check "stores that cost more are told" said '1.60 ns, 1.50 ns where it is no pool; ratio 1.067 .*: a cost is to be seen'
bench '[4096, 460]' 1.5 1.5
check_fails "one size of snapshots is no line: is an error" run_pairs
pairs 1 1
run_pairs
check "shares at their limits are enough, and kept" is '.below == []' '.innodb_named_share == 0.98' '.stale_share_rw == 0.4'
check "and told" said '^pagecache_named_share 0.95: the target of 0.95 is met'
share_below() {
	pairs 1 1
	figures ".$1 = $2"
	check_fails "$1 below its limit: is an error" run_pairs
	check "which is told, and written" eval "said '^$1 $2: BELOW the target' && is '.below == [\"$1\"]'"
}
share_below innodb_named_share 0.9799
share_below innodb_exact_share 0.9949
share_below pagecache_named_share 0.9499
figures 'del(.innodb_exact_share)'
check_fails "a share that was not measured: is an error" run_pairs
pairs 0.99 0.98
check "an interval that holds the target: success" run_pairs
check "and it is said to be inconclusive" said '^ro: inconclusive'
pairs 0.98 1
check_fails "read-only, all of the interval below 0.99: is an error" run_pairs
check "which is told" said '^ro: SLOWER than the target of 0.99'
check "and written" is '.slower == ["ro"]' '.pairs.ro.high < 0.99' '.tps_ratio_rw > 0.99'
pairs 1 0.97
check_fails "read-write, all of the interval below 0.98: is an error" run_pairs
check "which is written, too" is '.slower == ["rw"]'
pairs 1 0.988
check "read-write, above 0.98 but below 0.99: success" run_pairs
pairs 1 1
head -n 2 "$dir/samples" >"$dir/one" && mv "$dir/one" "$dir/samples"
check_fails "one pair has no interval: is an error" run_pairs
finish
