#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kselftests of the host part, in one emulated host with nested KVM: the ABI,
# disks, claims, hint tables, streams, the fetch path, the dirty consumer, moves of
# the reference VMM, killed VMMs.  Prints their KTAP as it is.
#
# With LAB_KERNEL (tools/build/kernel) that kernel's own migdb is tested; tests have 5
# times as long, and the host more memory, if it has checkers.
# A test that is skipped here has failed: the lab's kernel has all that they need.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/kernel.sh"

dir=$BUILD/tests/host-selftests
env='' mem=()
if [ -n "${LAB_KERNEL:-}" ] && grep -qs '^CONFIG_KASAN=y' "$LAB_KERNEL/config"; then
	env=MIGDB_TIMEOUT_FACTOR=5
	mem=(--mem 4096)
fi
rm -rf "$dir"
mkdir -p "$dir/payload"
kernel_ready
{
	{ [ -n "${LAB_KERNEL:-}" ] || "$TOP/tools/build/modules"; } &&
	make -s -C "$TOP/tools/testing/selftests/migdb" KSRC="$KSRC" OUT="$dir/build" -j"$(nproc)" &&
	# Nothing of the benchmarks runs here; but they use the same library.
	make -s -C "$TOP/tools/testing/selftests/migdb/perf" KSRC="$KSRC" OUT="$dir/perf" -j"$(nproc)"
} >"$dir/build.log" 2>&1 || { tail -20 "$dir/build.log" >&2; die "the selftests do not build (log: $dir/build.log)"; }
find "$dir/build" -maxdepth 1 -type f -exec cp -t "$dir/payload" {} +
[ -n "${LAB_KERNEL:-}" ] || cp "$BUILD/migdb.ko" "$dir/payload/"
lab_up --hosts 1 "${mem[@]}" --payload "$dir/payload" >&2
rc=0
lab exec a "cd /opt/migdb && MIGDB_NO_SKIP=${MIGDB_NO_SKIP-1} $env ./run.sh $*" </dev/null || rc=$?
exit $rc
