#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Ratios of alternating pairs, with intervals; and shares, with limits.

usage: pairs.py SAMPLES STATUS BENCH FIGURES OUT

SAMPLES: JSON lines {bench: "pair", kind, pair, side, tps, load}; side is "off" or
what is compared with it.  STATUS: what migdb-hints --status said at the end.  BENCH:
what the guest's bench printed, of which the lines "# bench-json: " count.  FIGURES:
one JSON object of numbers, which are told and kept as they are.
Prints a table, writes OUT.  The interval is Student's, on the logarithms of the
ratios of the pairs: a drift of the machine between pairs does not widen it.
Exit code 1, after all is written: an interval lies below its target as a whole, or a
share is below its own.  An interval that holds the target says nothing either way, and
is no error.
"""

import json
import math
import statistics
import sys

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom; beyond: 1.96.
T975 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
        2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
        2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042]

# What on/off should reach, of the throughput.
TARGETS = {"ro": 0.99, "rw": 0.98}

# What should be named rightly, of what a server has in memory.
SHARES = {"innodb_named_share": 0.98, "innodb_exact_share": 0.995, "pagecache_named_share": 0.95}


def interval(ratios):
    """Geometric mean and 95 % interval."""
    logs = [math.log(r) for r in ratios]
    n = len(logs)
    mean = sum(logs) / n
    var = sum((x - mean) ** 2 for x in logs) / (n - 1)
    t = T975[n - 2] if n - 2 < len(T975) else 1.96
    half = t * math.sqrt(var / n)
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def read_status(path):
    """Numbers of "name value" lines."""
    numbers = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split()
            if len(words) == 2 and words[1].isdigit():
                numbers[words[0]] = int(words[1])
    return numbers


def read_bench(path):
    """What the guest's bench measured."""
    mark = "# bench-json: "
    with open(path, encoding="utf-8") as f:
        return [json.loads(line[len(mark):]) for line in f if line.startswith(mark)]


def snapshot_figures(bench):
    """Time per million pages of the largest snapshot, and how far all sizes lie apart."""
    sizes = sorted((s["pages"], s["us"]) for s in bench if s["bench"] == "snapshot")
    if len(sizes) < 2:
        sys.exit("pairs.py: no snapshots were measured")
    ms = [us * 1000 / pages for pages, us in sizes]
    spread = (max(ms) - min(ms)) / statistics.median(ms)
    print(f"snapshot of {sizes[-1][0]} pages: {ms[-1]:.1f} ms per million pages; linear: {len(ms)} sizes from "
          f"{sizes[0][0]} pages on lie {100 * spread:.0f} % apart ({min(ms):.1f} to {max(ms):.1f})")
    return {"snapshot_ms_per_million_pages": ms[-1], "snapshot_spread_percent": 100 * spread,
            "snapshots": [{"pages": p, "us": us} for p, us in sizes]}


def store_figures(bench):
    """A store to a descriptor with its pool known to the kernel over one without."""
    pairs = {}
    for s in bench:
        if s["bench"] == "store":
            pairs.setdefault(s["pair"], {})[s["side"]] = s["ns"]
    whole = [p for p in pairs.values() if len(p) == 2]
    if len(whole) < 2:
        sys.exit("pairs.py: no stores were measured")
    mean, low, high = interval([p["pool"] / p["off"] for p in whole])
    with_pool, without = (statistics.median(p[side] for p in whole) for side in ("pool", "off"))
    said = "a cost is to be seen" if low > 1 else "no measurable cost"
    print(f"store to a descriptor of a pool: {with_pool:.2f} ns, {without:.2f} ns where it is no pool; "
          f"ratio {mean:.3f}   {low:.3f} .. {high:.3f}: {said}")
    return {"ns_per_store_pool": with_pool, "ns_per_store": without, "store_ratio": mean,
            "store_ratio_low": low, "store_ratio_high": high}


def shares_below(figures):
    """Tells all figures; the names of those that are below their target."""
    below = []
    for name in SHARES:
        if name not in figures:
            sys.exit(f"pairs.py: {name} was not measured")
    for name, value in figures.items():
        target = SHARES.get(name)
        said = ""
        if target is not None and value < target:
            below.append(name)
            said = f": BELOW the target of {target}"
        elif target is not None:
            said = f": the target of {target} is met"
        print(f"{name} {value}{said}")
    return below


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as f:
        samples = [json.loads(line) for line in f]
    status = read_status(sys.argv[2])
    bench = read_bench(sys.argv[3])
    with open(sys.argv[4], encoding="utf-8") as f:
        figures = json.load(f)
    pairs = {}
    for s in samples:
        pairs.setdefault(s["kind"], {}).setdefault(s["pair"], {})[s["side"]] = s["tps"]
    result = {"pairs": {}, "loads": [s["load"] for s in samples],
              "ns_per_request": status.get("ns_per_run"),
              "requests_timed": status.get("runs_timed"), "samples": samples}
    print(f"{'':10} {'pairs':>5} {'off tps':>8} {'on/off':>7}   95 % interval")
    for kind, of_kind in pairs.items():
        ratios = []
        off = []
        for sides in of_kind.values():
            other = [v for k, v in sides.items() if k != "off"]
            if "off" in sides and other and sides["off"] > 0 and other[0] > 0:
                ratios.append(other[0] / sides["off"])
                off.append(sides["off"])
        if len(ratios) < 2:
            sys.exit(f"pairs.py: {kind}: fewer than two whole pairs")
        mean, low, high = interval(ratios)
        result["pairs"][kind] = {"n": len(ratios), "ratio": mean, "low": low, "high": high,
                                 "off_tps": sum(off) / len(off)}
        print(f"{kind:10} {len(ratios):5} {sum(off) / len(off):8.1f} {mean:7.3f}   {low:.3f} .. {high:.3f}")
    for kind in ("ro", "rw"):
        if kind in result["pairs"]:
            result[f"tps_ratio_{kind}"] = result["pairs"][kind]["ratio"]
            result[f"tps_ratio_{kind}_low"] = result["pairs"][kind]["low"]
    print(f"time of the hint program per completed request: {result['ns_per_request']} ns "
          f"({result['requests_timed']} requests)")
    result.update(snapshot_figures(bench))
    result.update(store_figures(bench))
    slower = []
    for kind, target in TARGETS.items():
        p = result["pairs"].get(kind)
        if not p:
            continue
        if p["high"] < target:
            said = f"SLOWER than the target of {target}"
            slower.append(kind)
        elif p["low"] >= target:
            said = f"the target of {target} is met"
        else:
            said = f"inconclusive: the interval holds the target of {target}"
        print(f"{kind}: {said}")
    result["slower"] = slower
    result["below"] = shares_below(figures)
    result.update(figures)
    with open(sys.argv[5], "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    return 1 if slower or result["below"] else 0


if __name__ == "__main__":
    sys.exit(main())
