# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Redis in the guest of lib/databases.sh, with an append-only file.

REDIS_KEYS=20000

redis_start() {
	dbs_sh "cd /srv/redis && setsid setpriv --reuid=redis --regid=redis --init-groups redis-server --dir /srv/redis \
		--unixsocket /tmp/redis.sock --port 0 --save '' --appendonly yes --appendfsync everysec \
		--auto-aof-rewrite-percentage 0 --enable-debug-command yes </dev/null >/run/redis.log 2>&1 &"
	wait_for 300 redis_answers || die "redis does not come up: $(dbs_sh tail -n 5 /run/redis.log)"
}

redis_cli() { dbs_sh "redis-cli -s /tmp/redis.sock $*"; }
redis_answers() { [ "$(redis_cli ping)" = PONG ]; }
redis_pid() { dbs_sh pidof redis-server; }
redis_stop() { redis_cli shutdown nosave >/dev/null 2>&1 || true; wait_for 120 dbs_sh '! pidof redis-server'; }

# Values that differ and do not compress.
redis_fill() {
	dbs_sh "awk 'BEGIN { srand(7); for (i = 0; i < $REDIS_KEYS; i++) {
		v = \"\"; while (length(v) < 500) v = v sprintf(\"%08x\", rand() * 4294967295)
		printf \"SET key:%d %s\\r\\n\", i, v } }' | redis-cli -s /tmp/redis.sock --pipe"
	[ "$(redis_cli dbsize)" = $REDIS_KEYS ]
}

redis_load() { dbs_sh 'redis-benchmark -s /tmp/redis.sock -q -n 10000 -r 20000 -t get,set -d 100'; }
redis_digest() { redis_cli debug digest; }
