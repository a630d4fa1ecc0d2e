# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For tests of QEMU itself: small guests in the lab, one on each host, that move
# between QEMUs of either variant.  See tests/qemu-mixed.sh.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/qemu.sh"

A=10.77.0.11
B=10.77.0.12
mixed_json=$BUILD/qemu-mixed.json

qmp() {
	lab netns python3 "$TOP/tools/lab/lib/qmp.py" "$@"
}

# vm HOST VARIANT [ARGUMENT...]: a guest of MIXED_MEM MiB on HOST, monitor on port
# 4440; MIXED_ENV are words for env(1).
MIXED_MEM=64
MIXED_ENV=()
vm() {
	local host=$1 variant=$2 addr=$A
	[ "$host" = a ] || addr=$B
	shift 2
	on "$host" "
		setsid env ${MIXED_ENV[*]@Q} /opt/migdb/$variant/qemu-system-x86_64 -nodefaults -no-user-config -display none \
			-machine pc -accel kvm -m $MIXED_MEM -name mixed -pidfile /run/mixed.pid \
			-qmp tcp:0.0.0.0:4440,server=on,wait=off $(printf '%q ' "$@") </dev/null >/run/mixed.log 2>&1 &
		for i in \$(seq 600); do [ -s /run/mixed.pid ] && exit 0; sleep 0.1; done
		cat /run/mixed.log; exit 1" && qmp "$addr:4440" wait 120 >/dev/null
}

vm_end() {
	on "$1" 'pid=$(cat /run/mixed.pid 2>/dev/null) || exit 0
		kill -9 $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done; rm -f /run/mixed.pid'
}

# ram_sum HOST ADDRESS [GPA BYTES]: of all of the guest's RAM, or of a part.
ram_sum() {
	qmp "$2:4440" cmd '{"execute":"pmemsave","arguments":{"val":'$((${3:-0}))',"size":'$((${4:-MIXED_MEM << 20}))',"filename":"/run/mixed.ram"}}' >/dev/null &&
		on "$1" 'sha256sum </run/mixed.ram; rm /run/mixed.ram'
}

# same_ram: all of it, on both hosts, which are asked at the same time.  In a shell of
# its own: a caller may have something running whose number is in $!.
same_ram() (
	ram_sum a "$A" >"$mixed_json.sum" &
	there=$(ram_sum b "$B") || true
	wait $! && [ -n "$there" ] && [ "$there" = "$(cat "$mixed_json.sum")" ] || { echo "RAM differs"; exit 1; }
)

# said: why each side that knows x-migdb made an ordinary migration.
said() {
	field '"; ".join("%s: %s, %s" % (n, i["state"], i.get("reason")) for n, i in (("source", src), ("destination", dst)) if i)'
}

# field EXPRESSION: of the last migration's result.
field() {
	python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
print(eval(sys.argv[2], {"r": r, "src": r.get("source", {}).get("x-migdb"), "dst": r.get("destination", {}).get("x-migdb")}))' "$mixed_json" "$1"
}

# mixed_payload DIR: both variants, at /opt/migdb in the hosts, the modules, and what
# makes calls fail or take long (host/nomem.c).
mixed_payload() {
	"$TOP/tools/build/modules" >&2
	rm -rf "$1"
	mkdir -p "$1"
	qemu_ready plain
	cp -a "$QEMU_PAYLOAD/qemu" "$1/plain"
	qemu_ready migdb
	cp -a "$QEMU_PAYLOAD/qemu" "$1/migdb"
	cp "$BUILD/migdb.ko" "$1/"
	gcc -shared -fPIC -O2 -Wall -Wextra -Werror -isystem "$TOP/include/uapi" \
		-o "$1/nomem.so" "$TOP/tools/lab/host/nomem.c"
}
