#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""report.py DIR OUT: the demo's table, verdict and result.json.

DIR holds env.json (rates as set and measured) and one RUN.json for each run, or,
for repeats, directories 1, 2, 3... with one RUN.json each.  Figures of repeats are
medians; one that spreads by more than 5 % ((largest - smallest) / median) is called
inconclusive.  Exit code: 0 when every run was right, 1 when something was wrong.  A
target for speed that was missed is told, and is not an error.
"""

import glob
import json
import os
import statistics
import sys

ORDER = ["default-ro", "migdb-ro", "default-rw", "migdb-rw"]
MAX_SPREAD = 5.0
# What is a figure of a run, so that repeats have a median of it.
FIGURES = ["total_ms", "downtime_ms", "oracle_ms", "source_bytes", "pages_sent", "pages_zero", "rounds",
           "pages_built", "pages_returned", "pages_revoked", "pages_recorded", "pages_unconfirmed",
           "pages_candidate", "pages_candidate_zero", "pages_stale", "read_bytes", "reads", "memory_bytes", "warm_percent"]


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def base_name(name):
    """The default run under the same load: what a run is measured against."""
    return name.replace("migdb", "default")


def fraction(run, base):
    """f: share of the default run's bytes that was in the construct set; None without one."""
    if not run or not base or not base["source_bytes"]:
        return None
    return round(4096 * (run["pages_candidate"] - run["pages_candidate_zero"]) / base["source_bytes"], 4)


def link_rate(base):
    """N: the rate that a default run reached; None without one."""
    return round(base["source_bytes"] / base["total_ms"] * 1000) if base else None


def bound(f, storage, link):
    """Storage and migration on separate paths (Documentation/admin-guide/migdb/start.rst)."""
    if f is None or not storage or not link:
        return None
    if f <= 0 or f >= 1:
        return 1.0
    return round(max(1.0, min(1 / (1 - f), 1 + storage / link)), 3)


def spread(values):
    """Per cent; None when there is one value only."""
    middle = statistics.median(values)
    if len(values) < 2:
        return None
    return round(100 * (max(values) - min(values)) / middle, 1) if middle else 0.0


def merge(records):
    """One record of several runs of one name: medians, and the worst of what must be right."""
    out = dict(records[0])
    for k in FIGURES:
        if k in out:
            known = [r[k] for r in records if r[k] is not None]
            out[k] = statistics.median(known) if known else None
    out["identical"] = all(r["identical"] for r in records)
    out["db_ok"] = all(r["db_ok"] for r in records)
    out["guest_faults"] = sum((r["guest_faults"] for r in records), [])
    out["client_errors"] = sum(r["client_errors"] for r in records)
    out["spread_percent"] = {k: spread([r[k] for r in records])
                             for k in ("total_ms", "downtime_ms", "source_bytes", "pages_built")}
    if len(records) > 1:
        out["repeats"] = records
    return out


def stale(run):
    """What was read in vain: pages whose block held something else, and blocks that became no page."""
    if run.get("pages_stale") is None or not run["pages_candidate"]:
        return None
    vain = max(0, run["read_bytes"] / 4096 - run["pages_built"])
    return {"pages": run["pages_stale"], "candidates": run["pages_candidate"],
            "share_percent": round(100 * run["pages_stale"] / run["pages_candidate"], 2),
            "blocks_in_vain": round(vain),
            "blocks_in_vain_per_page": round(vain / run["pages_stale"], 2) if run["pages_stale"] else None}


def wrong_run(r, name):
    bad = []
    if not r["identical"]:
        bad.append(f"{name}: memory differs in {r['oracle']['differing']} pages,"
                   " or the oracle does not know the construct set")
    if not r["db_ok"]:
        bad.append(f"{name}: the database is not right")
    if r["guest_faults"]:
        bad.append(f"{name}: the guest's kernel says: {r['guest_faults'][0]}")
    if r["client_errors"]:
        bad.append(f"{name}: clients saw {r['client_errors']} errors")
    if r["warm_percent"] < 60:
        bad.append(f"{name}: the warm pool is only {r['warm_percent']} % of the guest's memory")
    if name.startswith("migdb"):
        if r["migdb_state"] != "completed":
            bad.append(f"{name}: was an ordinary migration: {r['migdb_reason']}")
        total = r["pages_built"] + r["pages_returned"] + r["pages_revoked"] + r["pages_unconfirmed"]
        if total != r["pages_recorded"]:
            bad.append(f"{name}: built + returned + revoked + unconfirmed is {total},"
                       f" recorded are {r['pages_recorded']}")
        if not r["pages_built"]:
            bad.append(f"{name}: no page was built")
    return bad


def wrongs(records, env):
    """records: name -> list of runs."""
    bad = []
    repeats = env.get("repeats", 1)
    for name in ORDER:
        runs = records.get(name, [])
        for i, r in enumerate(runs):
            bad += wrong_run(r, name if len(runs) == 1 else f"{name}, repeat {i + 1}")
        if name in env["wanted"] and not runs:
            bad.append(f"{name}: there is no result")
        elif name in env["wanted"] and len(runs) != repeats:
            bad.append(f"{name}: {len(runs)} results, {repeats} were wanted")
    return bad


def targets(by, res):
    """Each figure that the project has set itself: text, whether it is met, its largest spread."""
    dro, mro, drw, mrw = (by.get(n) for n in ORDER)
    out = []

    def add(text, met, runs, field="total_ms"):
        spreads = [r["spread_percent"][field] for r in runs] or [None]
        out.append({"text": text, "met": met, "spread_percent": None if None in spreads else max(spreads)})

    def downtime(default, migdb):
        limit = 1.1 * default["downtime_ms"] + res["rtt_ms"]
        add(f"downtime of {migdb['name']} at most default + one round trip + 10 % ({limit:.1f} ms): "
            f"{migdb['downtime_ms']:.1f} ms", migdb["downtime_ms"] <= limit, [default, migdb], "downtime_ms")

    for what, used, free in (("storage", res["S_set"], res["unthrottled_storage_bytes_per_s"]),
                             ("link", res["N_set"], res["unthrottled_stream_bytes_per_s"])):
        add(f"{what} set to at most a third of what it does ({free / 1e6:.0f} MB/s): {used / 1e6:.0f} MB/s",
            3 * used <= free, [])
    if dro:
        add(f"default-ro takes at least 40 s: {dro['total_ms'] / 1000:.1f} s", dro["total_ms"] >= 40000, [dro])
    if dro and mro:
        add(f"migdb-ro at least 1.5 times shorter: {res['speedup_ro']:.2f}", res["speedup_ro"] >= 1.5, [dro, mro])
        if res["bound_ro"]:
            share = res["speedup_ro"] / res["bound_ro"]
            add(f"migdb-ro at least 90 % of the bound {res['bound_ro']:.2f}: {100 * share:.0f} %",
                share >= 0.9, [dro, mro])
        part = mro["source_bytes"] / dro["source_bytes"]
        add(f"source bytes below 70 %: {100 * part:.0f} %", part < 0.7, [dro, mro], "source_bytes")
        # f counts pages as a share of bytes, so half of it is compared in pages.
        cand = mro["pages_candidate"] - mro["pages_candidate_zero"]
        add(f"at least half of the construct set built: {mro['pages_built']:.0f} of {cand:.0f} pages",
            cand > 0 and 2 * mro["pages_built"] >= cand, [mro], "pages_built")
        downtime(dro, mro)
    if drw and mrw:
        longer = mrw["total_ms"] / drw["total_ms"]
        add(f"migdb-rw takes at most 105 % of the time of default-rw: {100 * longer:.0f} %", longer <= 1.05,
            [drw, mrw])
        downtime(drw, mrw)
    return out


def evaluate(env, records):
    """result.json of the runs."""
    by = {n: merge(records[n]) for n in ORDER if records.get(n)}
    for name, r in by.items():
        r["f"] = fraction(r, by.get(base_name(name)))
        r["stale"] = stale(r)
    dro, mro, drw, mrw = (by.get(n) for n in ORDER)
    link = link_rate(dro)
    res = {
        "runs": list(by.values()), "repeats": env.get("repeats", 1),
        "S_bytes_per_s": env["S_measured"],
        # N is of the read-only load, and of no other run when that was not made
        "N_bytes_per_s": link, "N_rw_bytes_per_s": link_rate(drw),
        "S_set": env["S_set"], "N_set": env["N_set"],
        "unthrottled_storage_bytes_per_s": env["S_free"], "unthrottled_stream_bytes_per_s": env["N_free"],
        "paths": "storage and migration on separate paths", "rtt_ms": env["rtt_ms"],
        "bound_ro": bound(mro["f"], env["S_measured"], link) if mro else None,
        "speedup_ro": round(dro["total_ms"] / mro["total_ms"], 3) if dro and mro else None,
        "speedup_rw": round(drw["total_ms"] / mrw["total_ms"], 3) if drw and mrw else None,
    }
    res["notes"] = [f"{base_name(n)} was not run: no N, f, bound and speed-up for {n}"
                    for n in by if base_name(n) not in by]
    if res["repeats"] < 2:
        res["notes"].append("one run of each: how far they spread is not known (--repeats 3)")
    res["wrong"] = wrongs(records, env)
    res["targets"] = targets(by, res)
    return res


def verdict_of(target):
    word = "met   " if target["met"] else "MISSED"
    if target["spread_percent"] is not None and target["spread_percent"] > MAX_SPREAD:
        return f"{word} (inconclusive: spread {target['spread_percent']:.0f} %)"
    return word


def print_table(res):
    head = ("run", "total s", "downtime ms", "oracle s", "sent MB", "pages sent", "built", "returned",
            "revoked", "identical", "db", "errors", "f")
    rows = [(r["name"], f"{r['total_ms'] / 1000:.1f}", f"{r['downtime_ms']:.0f}", f"{r['oracle_ms'] / 1000:.1f}",
             f"{r['source_bytes'] / 1e6:.0f}", f"{r['pages_sent']:.0f}", f"{r['pages_built']:.0f}",
             f"{r['pages_returned']:.0f}", f"{r['pages_revoked']:.0f}", "yes" if r["identical"] else "NO",
             "ok" if r["db_ok"] else "WRONG", str(r["client_errors"]),
             f"{r['f']:.2f}" if r["name"].startswith("migdb") and r["f"] is not None else "-")
            for r in res["runs"]]
    if res["repeats"] > 1:
        head += ("spread %",)
        rows = [row + ("-" if r["spread_percent"]["total_ms"] is None else f"{r['spread_percent']['total_ms']:.1f}",)
                for row, r in zip(rows, res["runs"])]
    width = [max(len(x[i]) for x in [head] + rows) for i in range(len(head))]
    print()
    for row in [head] + rows:
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, width))))
    print()
    if res["repeats"] > 1:
        print(f"Medians of {res['repeats']} alternating repeats; spread of the total times: (largest - smallest) / median")


def print_stale(name, s):
    if not s:
        return
    each = "" if s["blocks_in_vain_per_page"] is None else f", {s['blocks_in_vain_per_page']:.2f} for each stale page"
    print(f"  stale   {name}: {s['pages']:.0f} of {s['candidates']:.0f} pages ({s['share_percent']:.2f} %) did not hold"
          f" what their block does; {s['blocks_in_vain']} blocks were read in vain{each}")


def print_report(res, env):
    print_table(res)
    if res["N_bytes_per_s"]:
        link = f"link {res['N_bytes_per_s'] / 1e6:.1f} MB/s"
    else:
        link = f"link not measured under the read-only load (set to {env['N_set'] / 1e6:.1f} MB/s)"
    load = f"{env['rate']} transactions/s" if env["rate"] else "all that it can do"
    print(f"Storage {env['S_measured'] / 1e6:.1f} MB/s (unthrottled {env['S_free'] / 1e6:.0f}),"
          f" {link} (unthrottled {env['N_free'] / 1e6:.0f}), separate paths,"
          f" round trip {env['rtt_ms']:.1f} ms, guest {env['guest_mib']} MiB,"
          f" load {load}")
    for t in res["targets"]:
        print(f"  {verdict_of(t)}  {t['text']}")
    for r in res["runs"]:
        print_stale(r["name"], r["stale"])
    for n in res["notes"]:
        print("  note    " + n)
    print()
    if res["wrong"]:
        print("VERDICT: WRONG")
        for b in res["wrong"]:
            print("  " + b)
    else:
        print("VERDICT: every run identical, database intact, no client error")


def read_runs(directory, wanted):
    """Name -> its records, in the order of the repeats."""
    dirs = sorted((d for d in glob.glob(os.path.join(directory, "[0-9]*")) if os.path.isdir(d)),
                  key=lambda d: int(os.path.basename(d)) if os.path.basename(d).isdigit() else 0)
    out = {}
    for d in [directory] + dirs:
        for name in wanted:
            path = os.path.join(d, name + ".json")
            if os.path.exists(path):
                out.setdefault(name, []).append(load(path))
    return out


def main():
    directory, path = sys.argv[1:]
    env = load(os.path.join(directory, "env.json"))
    res = evaluate(env, read_runs(directory, env["wanted"]))
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        json.dump(res, f, indent=1)
        f.write("\n")
    os.replace(path + ".tmp", path)
    print_report(res, env)
    return 1 if res["wrong"] else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main())
