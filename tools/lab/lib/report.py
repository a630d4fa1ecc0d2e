#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""report.py DIR OUT: the demo's table, verdict and result.json.

DIR holds one RUN.json for each run and env.json (rates as set and measured).
Exit code: 0 when every run was right, 1 when something was wrong.  A target
for speed that was missed is told, and is not an error.
"""

import json
import os
import sys

ORDER = ["default-ro", "migdb-ro", "default-rw", "migdb-rw"]


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def fraction(run, base):
    """f: share of the default run's bytes that was in the construct set."""
    if not run or not base or not base["source_bytes"]:
        return 0.0
    return 4096 * (run["pages_candidate"] - run["pages_candidate_zero"]) / base["source_bytes"]


def bound(f, storage, link):
    """Static split, storage and migration on separate paths (Documentation/admin-guide/migdb/start.rst)."""
    if not f or f >= 1 or not storage or not link:
        return 1.0
    return max(1.0, min(1 / (1 - f), storage / (link * f)))


def wrongs(runs, env):
    bad = []
    for r in runs:
        name = r["name"]
        if not r["identical"]:
            bad.append(f"{name}: memory differs in {r['oracle']['differing']} pages")
        if not r["db_ok"]:
            bad.append(f"{name}: the database is not right")
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
    for name in env["wanted"]:
        if name not in [r["name"] for r in runs]:
            bad.append(f"{name}: there is no result")
    return bad


def targets(by, res):
    """(text, met) for each figure that the project has set itself."""
    dro, mro, drw, mrw = (by.get(n) for n in ORDER)
    out = []
    if dro:
        out.append((f"default-ro takes at least 40 s: {dro['total_ms'] / 1000:.1f} s", dro["total_ms"] >= 40000))
    if dro and mro:
        share = res["speedup_ro"] / res["bound_ro"] if res["bound_ro"] else 0
        out.append((f"migdb-ro at least 1.5 times shorter: {res['speedup_ro']:.2f}", res["speedup_ro"] >= 1.5))
        out.append((f"migdb-ro at least 90 % of the bound {res['bound_ro']:.2f}: {100 * share:.0f} %", share >= 0.9))
        part = mro["source_bytes"] / dro["source_bytes"]
        out.append((f"source bytes below 70 %: {100 * part:.0f} %", part < 0.7))
        # f counts pages as a share of bytes, so half of it is compared in pages.
        cand = mro["pages_candidate"] - mro["pages_candidate_zero"]
        out.append((f"at least half of the construct set built: {mro['pages_built']} of {cand} pages",
                    cand > 0 and 2 * mro["pages_built"] >= cand))
        limit = 1.1 * dro["downtime_ms"] + res["rtt_ms"]
        out.append((f"downtime at most default + one round trip + 10 % ({limit:.0f} ms): {mro['downtime_ms']} ms",
                    mro["downtime_ms"] <= limit))
    if drw and mrw:
        longer = mrw["total_ms"] / drw["total_ms"]
        out.append((f"migdb-rw takes at most 105 % of the time of default-rw: {100 * longer:.0f} %", longer <= 1.05))
    return out


def main():
    directory, path = sys.argv[1:]
    env = load(os.path.join(directory, "env.json"))
    runs = [load(os.path.join(directory, n + ".json")) for n in ORDER
            if n in env["wanted"] and os.path.exists(os.path.join(directory, n + ".json"))]
    by = {r["name"]: r for r in runs}
    for r in runs:
        r["f"] = round(fraction(r, by.get(r["name"].replace("migdb", "default"))), 4)
    dro, mro, drw, mrw = (by.get(n) for n in ORDER)
    link = round(dro["source_bytes"] / dro["total_ms"] * 1000) if dro else env["N_set"]
    res = {
        "runs": runs,
        "S_bytes_per_s": env["S_measured"], "N_bytes_per_s": link,
        "S_set": env["S_set"], "N_set": env["N_set"],
        "unthrottled_fetch_bytes_per_s": env["S_free"], "unthrottled_stream_bytes_per_s": env["N_free"],
        "paths": "storage and migration on separate paths", "rtt_ms": env["rtt_ms"],
        "bound_ro": round(bound(mro["f"], env["S_measured"], link), 3) if mro else 0,
        "speedup_ro": round(dro["total_ms"] / mro["total_ms"], 3) if dro and mro else 0,
        "speedup_rw": round(drw["total_ms"] / mrw["total_ms"], 3) if drw and mrw else 0,
    }
    bad = wrongs(runs, env)
    goals = targets(by, res)
    res["wrong"] = bad
    res["targets"] = [{"text": t, "met": m} for t, m in goals]
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        json.dump(res, f, indent=1)
        f.write("\n")
    os.replace(path + ".tmp", path)

    head = ("run", "total s", "downtime ms", "oracle s", "sent MB", "pages sent", "built", "returned",
            "revoked", "identical", "db", "errors", "f")
    rows = [(r["name"], f"{r['total_ms'] / 1000:.1f}", str(r["downtime_ms"]), f"{r['oracle_ms'] / 1000:.1f}",
             f"{r['source_bytes'] / 1e6:.0f}", str(r["pages_sent"]), str(r["pages_built"]),
             str(r["pages_returned"]), str(r["pages_revoked"]), "yes" if r["identical"] else "NO",
             "ok" if r["db_ok"] else "WRONG", str(r["client_errors"]),
             f"{r['f']:.2f}" if r["name"].startswith("migdb") else "-") for r in runs]
    width = [max(len(x[i]) for x in [head] + rows) for i in range(len(head))]
    print()
    for row in [head] + rows:
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, width))))
    print()
    print(f"Storage {env['S_measured'] / 1e6:.1f} MB/s (unthrottled {env['S_free'] / 1e6:.0f}),"
          f" link {link / 1e6:.1f} MB/s (unthrottled {env['N_free'] / 1e6:.0f}), separate paths,"
          f" round trip {env['rtt_ms']:.1f} ms, guest {env['guest_mib']} MiB")
    for text, met in goals:
        print(f"  {'met   ' if met else 'MISSED'}  {text}")
    print()
    if bad:
        print("VERDICT: WRONG")
        for b in bad:
            print("  " + b)
        return 1
    print("VERDICT: every run identical, database intact, no client error")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main())
