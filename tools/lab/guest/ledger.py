#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A second client that knows what must be true of the database.

  ledger.py run HOST CLIENT OUT    transfers between accounts until SIGTERM
  ledger.py verify HOST OUT...     checks the database against what was told

Each transfer moves money between two accounts and notes it in a journal, in
one transaction.  The client keeps count of what the server acknowledged, on
this side of the network.  Whatever happens to the machine under the server:
the sum of all balances is constant, every balance equals its start plus its
journal, every acknowledged transfer is in the journal, and nothing is there
that was never asked for.
"""

import json
import random
import signal
import sys
import time

import pymysql

ACCOUNTS_START = 1000


def connect(host):
    return pymysql.connect(host=host, user="sbtest", password="sbtest", database="ledger",
                           connect_timeout=20, read_timeout=120, autocommit=False)


def run(host, client, out):
    state = {"client": client, "acked": 0, "tried": 0, "errors": 0, "messages": []}
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    signal.signal(signal.SIGINT, lambda *_: stop.append(1))
    rnd = random.Random(client)
    conn = connect(host)
    with conn.cursor() as cur:
        cur.execute("SELECT COUNT(*) FROM account")
        accounts = cur.fetchone()[0]
        cur.execute("SELECT COALESCE(MAX(seq), 0) FROM journal WHERE client=%s", (client,))
        first = cur.fetchone()[0]
        conn.commit()
    state["first"] = first
    seq = first
    while not stop:
        src, dst = rnd.sample(range(1, accounts + 1), 2)
        amount = rnd.randint(1, 50)
        seq += 1
        state["tried"] = seq
        try:
            with conn.cursor() as cur:
                cur.execute("UPDATE account SET balance=balance-%s WHERE id=%s", (amount, src))
                cur.execute("UPDATE account SET balance=balance+%s WHERE id=%s", (amount, dst))
                cur.execute("INSERT INTO journal VALUES (%s,%s,%s,%s,%s)",
                            (client, seq, src, dst, amount))
            conn.commit()
            state["acked"] = seq
        except pymysql.Error as e:
            state["errors"] += 1
            state["messages"].append(str(e)[:200])
            break
        time.sleep(0.2)
    with open(out, "w", encoding="utf-8") as f:
        json.dump(state, f)
    return 0 if not state["errors"] else 1


def verify(host, files):
    bad = []
    conn = connect(host)
    with conn.cursor() as cur:
        cur.execute("SELECT COUNT(*), SUM(balance) FROM account")
        count, total = cur.fetchone()
        if total != count * ACCOUNTS_START:
            bad.append(f"the sum of {count} balances is {total}")
        cur.execute("SELECT COUNT(*) FROM account LEFT JOIN"
                    " (SELECT id, SUM(x) AS d FROM (SELECT src AS id, -amount AS x FROM journal"
                    "  UNION ALL SELECT dst, amount FROM journal) AS moves GROUP BY id) AS sums USING (id)"
                    f" WHERE balance <> {ACCOUNTS_START} + COALESCE(d, 0)")
        wrong = cur.fetchone()[0]
        if wrong:
            bad.append(f"{wrong} balances do not agree with the journal")
        for name in files:
            with open(name, encoding="utf-8") as f:
                s = json.load(f)
            cur.execute("SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM journal WHERE client=%s AND seq>%s",
                        (s["client"], s["first"]))
            have, last = cur.fetchone()
            if last not in (s["acked"], s["tried"]) and last < s["acked"]:
                bad.append(f"client {s['client']}: {s['acked']} acknowledged, the journal ends at {last}")
            if have != last - s["first"] and last > s["first"]:
                bad.append(f"client {s['client']}: {have} rows up to {last}")
            if last > s["tried"]:
                bad.append(f"client {s['client']}: the journal has {last}, only {s['tried']} were tried")
    print(json.dumps({"ok": not bad, "problems": bad}))
    return 0 if not bad else 1


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "run":
        sys.exit(run(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    if len(sys.argv) > 3 and sys.argv[1] == "verify":
        sys.exit(verify(sys.argv[2], sys.argv[3:]))
    print(__doc__, file=sys.stderr)
    sys.exit(2)
