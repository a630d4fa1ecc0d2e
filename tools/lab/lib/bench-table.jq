# SPDX-License-Identifier: GPL-2.0
# result.json of tools/lab/bench as text.

def pad($n): tostring | if length < $n then . + (" " * ($n - length)) else . end;
def lpad($n): tostring | if length < $n then (" " * ($n - length)) + . else . end;
def round1: . * 10 | round / 10;
def round2: . * 100 | round / 100;
def mb: . / 1e6 | round1;
def ms: . / 1e6 | round2;
def kib: . / 1024 | round1;
def spread: "spread \(.spread_pct | round1) %" + (if .conclusive then "" else " inconclusive" end);
def target: if . then "met" else "not met" end;
def limit: if . == 0 then "none" else "\(mb) MB/s" end;

.machine as $m
| "migdb \($m.commit), \($m.date)\(if $m.quick then ", quick" else "" end)",
"host: \($m.host_cpus) CPUs, \($m.host_mib) MiB, \($m.kernel), \(if $m.accel == "tcg" then "emulated (TCG)" else $m.accel end) by \($m.qemu | split(" (")[0])",
"outer machine: \($m.outer_cores) cores (\($m.outer_cpu)), load \($m.load_before) before, \($m.load_after) after, \($m.seconds) s in all",
"Medians; a spread of more than 5 % over the runs is \"inconclusive\".  Times of an emulated host are for comparison within a run.",
"",
(if (.harvest | length) > 0 then
	"Harvest: ns per dirtied page, from the log to a list of pages (1 vCPU, stopped; fastest round of each run; load up to \(.harvest | map(.load) | max))",
	"  guest MiB  dirtied  per 2 MiB  way                          ns/page   log  list",
	(.harvest | sort_by([-.cluster, .pages, .mem_mib, .mode])[] |
		"  \(.mem_mib | lpad(9))  \(.pages | lpad(7))  \(if .cluster == 0 then "random" else .cluster end | lpad(9))  \({ring: "MIGDB_HARVEST + _DEQUEUE", bitmap: "KVM_GET_DIRTY_LOG + scan", reap: "ring by the VMM + scan"}[.mode] | pad(25))  \(.ns_per_page.median | round | lpad(9)) \(.log_ns_per_page | round | lpad(5)) \(.find_ns_per_page | round | lpad(5))   \(.ns_per_page | spread) (\(.ns_per_page.runs) runs)"),
	(.harvest_flat[] | select(.mode != "reap") |
		"  \(if .mode == "ring" then "migdb" else "KVM_GET_DIRTY_LOG" end), \(.pages) pages\(if .cluster == 0 then " at random places" else "" end): dearest/cheapest size \(.max_over_min * 100 | round / 100)\(if .mode == "ring" and .cluster > 0 then "; target (flat within 15 %): \(.within_15_pct | target)" else "" end)\(if .conclusive then "" else " (inconclusive)" end)"),
	""
else empty end),
(if (.fetch | length) > 0 then
	"Fetch: what a destination builds (1 worker), beside fio (libaio, direct, sequential); load up to \(.fetch | map(.load) | max)",
	(.fetch[] |
		"  \(.layout), \(.pages) pages, storage limit S \(.limit_bytes_per_s | limit), depth \(.depth), mean read \(.mean_read_bytes | kib) KiB (fio \(.fio_block_bytes | kib) KiB)",
		"    built \(.built_bytes_per_s.median | mb) MB/s \(.built_bytes_per_s | spread); read \(.read_bytes_per_s.median | mb) MB/s; fio \(.fio_bytes_per_s.median | mb) MB/s \(.fio_bytes_per_s | spread)",
		"    built is \(.built_pct_of_fio | round1) % of fio's, read \(.read_pct_of_fio | round1) %\(if .storage_is_limit then "; target (built at least 90 %): \(.target_90_pct_met | target)" else " (the storage is not the limit)" end)\(if .conclusive then "" else " (inconclusive)" end); returned \(.returned)"),
	""
else empty end),
(if (.memory | length) > 0 then
	"Kernel memory while all pages are recorded (128 and 512 MiB of guest memory)",
	(.memory[] |
		"  runs of \(.run_pages) page(s): source \(.source_bytes_per_page | round1) bytes a page + \(.source_fixed_bytes | kib) KiB; destination \(.dest_bytes_per_page | round1) bytes a page + \(.dest_fixed_bytes | kib) KiB of read buffers and the like; target (at most 32 bytes a page): \(.target_32_bytes_met | target)",
		(.at[] | "    \(.mem_mib) MiB, \(.pages) pages: source charged \(.source | kib) KiB (says \(.source_says | kib)), destination charged \(.dest | kib) KiB (says \(.dest_says | kib)), of it slab and vmalloc \(.dest_slab_vmalloc | kib) KiB",
			"      on the host, source and destination: MemAvailable \(-.source_host.available | kib), \(-.dest_host.available | kib); Slab \(.source_host.slab | kib), \(.dest_host.slab | kib); VmallocUsed \(.source_host.vmalloc | kib), \(.dest_host.vmalloc | kib) KiB"),
		"    otherwise: an open session \(.idle_session_bytes | kib) KiB, after both are closed \(.left_bytes | kib) KiB, the module \($m.module_bytes | kib) KiB"),
	""
else empty end),
(if (.fault | length) > 0 then
	"Page faults in post-copy: ms until a page that storage has is there, one at a time, with reading in the background (load up to \(.fault | map(.load) | max))",
	"  a read takes  read alone  by migdb  by user space  (p95)",
	(.fault[] | "  \(.delay_ms | lpad(9)) ms  \(.read.wait_ns.median | ms | lpad(10))  \(.migdb.wait_ns.median | ms | lpad(8))  \(.user.wait_ns.median | ms | lpad(13))  (\(.read.p95_ns | ms), \(.migdb.p95_ns | ms), \(.user.p95_ns | ms)); \(.migdb.faults) faults",
		"    migdb's is \(.fault_latency_ratio_vs_read | round2) of a read's, \(.fault_latency_ratio_vs_userspace | round2) of user space's; target (at most 1.2 of a read's): \(.target_1_2_met | target)\(if .conclusive then "" else " (inconclusive)" end)"),
	""
else empty end),
(if .hash.source_ns_per_page then
	"Hashing: source \(.hash.source_ns_per_page.median | round) ns a page (copy, zero check, tag, record)\(if .hash.dest_ns_per_page then ", destination \(.hash.dest_ns_per_page.median | round) ns (tag, claim, copy)" else "" end); \(.hash.source_ns_per_page | spread)",
	""
else empty end),
(if (.gap | length) > 0 then
	"Read shapes: wanted MB/s of 16 KiB extents at depth \(.gap[0].depth) (S \(.gap[0].limit_bytes_per_s | limit); load up to \(.gap | map(.load) | max))",
	"  requests/s  wanted %  gap  while below  max pages  mean read KiB  wanted MB/s",
	(.gap[] | "  \(if .limit_iops == 0 then "any" else .limit_iops end | lpad(10))  \(.fill_pct | lpad(8))  \(.gap_pages | lpad(3))  \(.short_pages | lpad(11))  \(.max_pages | lpad(9))  \(.mean_read_bytes | kib | lpad(13))  \(.wanted_bytes_per_s.median | mb | lpad(11))  \(.wanted_bytes_per_s | spread)"),
	""
else empty end)
