# SPDX-License-Identifier: GPL-2.0
#
# Samples of tools/lab/bench (one object per run) -> result.json: medians and
# spreads, and whether a target is met.  "conclusive": all runs within 5 %.

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;

def stat: {median: median, runs: length,
	   spread_pct: (if median == 0 then 0 else (max - min) / median * 100 end)}
	  | . + {conclusive: (.spread_pct <= 5)};

def all_conclusive: map(.conclusive) | all;

# The line through two points: what a page costs, and what is there anyway.
def slope($a; $b; f): (($b | f) - ($a | f)) / ($b.pages - $a.pages);

. as $all
| (map(select(.bench == "machine"))[0] + (map(select(.bench == "end"))[0] // {}) | del(.bench)) as $machine
| (map(select(.bench == "harvest")) | group_by([.pages, .cluster, .mode, .mem_mib]) | map({
	mode: .[0].mode, mem_mib: .[0].mem_mib, pages: .[0].pages, cluster: .[0].cluster,
	load: (map(.load) | max), ns_per_page: (map(.ns_per_page) | stat),
	log_ns_per_page: (map(.log_ns_per_page) | median),
	find_ns_per_page: (map(.find_ns_per_page) | median)})) as $harvest
| (map(select(.bench == "fetch")) | group_by([.limit, .unit]) | map(
	.[0] as $f
	| ($all | map(select(.bench == "fio" and .limit == $f.limit and .unit == $f.unit))) as $fio
	| {layout: (if $f.unit == 0 then "dense" else "\($f.unit * 4) KiB extents, \($f.fill) % of the disk" end),
	   limit_bytes_per_s: $f.limit, mem_mib: $f.mem_mib, pages: $f.pages, depth: $depth,
	   mean_read_bytes: (map(.mean_read_bytes) | median), fio_block_bytes: ($fio | map(.bs) | median),
	   built_bytes_per_s: (map(.bytes_per_s) | stat), read_bytes_per_s: (map(.read_bytes_per_s) | stat),
	   fio_bytes_per_s: ($fio | map(.bytes_per_s) | stat),
	   returned: (map(.returned) | add), load: (map(.load) | max)}
	| . + {built_pct_of_fio: (.built_bytes_per_s.median / .fio_bytes_per_s.median * 100),
	       read_pct_of_fio: (.read_bytes_per_s.median / .fio_bytes_per_s.median * 100)}
	| . + {storage_is_limit: (.limit_bytes_per_s > 0),
	       target_90_pct_met: (if .limit_bytes_per_s > 0 then .built_pct_of_fio >= 90 else null end),
	       conclusive: ([.built_bytes_per_s, .fio_bytes_per_s] | all_conclusive)})) as $fetch
| (map(select(.bench == "memory")) | group_by(.unit) | map(
	(group_by(.mem_mib) | map({pages: .[0].pages, mem_mib: .[0].mem_mib,
		source: (map(.source.charged) | median), dest: (map(.dest.charged) | median),
		dest_slab_vmalloc: (map(.dest.charged_slab + .dest.charged_vmalloc) | median),
		source_host: (.[0].source | {available, slab, vmalloc}),
		dest_host: (.[0].dest | {available, slab, vmalloc}),
		source_says: (map(.source_says) | median), dest_says: (map(.dest_says) | median),
		idle_session: (map(.idle_session.charged) | median),
		left: (map(.left.charged) | median)})) as $at
	| {run_pages: .[0].unit, runs: (map(.run) | max), at: $at,
	   idle_session_bytes: ($at | map(.idle_session) | median),
	   left_bytes: ($at | map(.left) | max),
	   source_bytes_per_page: slope($at[0]; $at[-1]; .source),
	   dest_bytes_per_page: slope($at[0]; $at[-1]; .dest_slab_vmalloc),
	   source_fixed_bytes: ($at[0].source - slope($at[0]; $at[-1]; .source) * $at[0].pages),
	   dest_fixed_bytes: ($at[-1].dest - slope($at[0]; $at[-1]; .dest_slab_vmalloc) * $at[-1].pages)}
	| . + {target_32_bytes_met: (.source_bytes_per_page <= 32 and .dest_bytes_per_page <= 32)})) as $memory
| (map(select(.bench == "fault")) | group_by(.delay_ms) | map(
	(group_by(.mode) | map({key: .[0].mode, value: {wait_ns: (map(.median_ns) | stat),
		p95_ns: (map(.p95_ns) | median), faults: (map(.faults) | min)}}) | from_entries) as $m
	| {delay_ms: .[0].delay_ms, load: (map(.load) | max), read: $m.read, migdb: $m.migdb, user: $m.user,
	   fault_latency_ratio_vs_read: ($m.migdb.wait_ns.median / $m.read.wait_ns.median),
	   fault_latency_ratio_vs_userspace: ($m.migdb.wait_ns.median / $m.user.wait_ns.median),
	   conclusive: ($m | map_values(.wait_ns) | [.[]] | all_conclusive)}
	| . + {target_1_2_met: (.fault_latency_ratio_vs_read <= 1.2)})) as $fault
| {machine: $machine,
   fault: $fault,
   harvest: $harvest,
   harvest_flat: ($harvest | group_by([.pages, .cluster, .mode]) | map(select(length > 1)
	| map(.ns_per_page.median) as $m
	| {mode: .[0].mode, pages: .[0].pages, cluster: .[0].cluster, max_over_min: (($m | max) / ($m | min)),
	   within_15_pct: (($m | max) <= ($m | min) * 1.15),
	   conclusive: (map(.ns_per_page) | all_conclusive)})),
   fetch: $fetch,
   memory: $memory,
   hash: {source_ns_per_page: (map(select(.source_hash_ns_per_page)) | map(.source_hash_ns_per_page)
		| if length > 0 then stat else null end),
	  dest_ns_per_page: (map(select(.bench == "fetch")) | map(.dest_hash_ns_per_page)
		| if length > 0 then stat else null end)},
   gap: (map(select(.bench == "gap")) | group_by([.iops, .fill, .max, .gap, .short]) | map({
	limit_bytes_per_s: .[0].limit, limit_iops: .[0].iops, fill_pct: .[0].fill,
	load: (map(.load) | max), gap_pages: .[0].gap, short_pages: .[0].short, max_pages: .[0].max, depth: .[0].depth,
	mean_read_bytes: (map(.mean_read_bytes) | median),
	wanted_bytes_per_s: (map(.wanted_bytes_per_s) | stat)}))}
