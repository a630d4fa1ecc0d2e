#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What QEMU's own tools say of our series: its checkpatch, the unit test of the
# guest's channel under valgrind, the qtest that migrates with x-migdb on.
# shellcheck disable=SC2317 # functions are called by check

. "$(dirname "$0")/../lib/lab-lib.sh"
. "$TOP/tools/lab/lib/qemu.sh"

# clean_patch FILE: but for what is for QEMU's maintainers, of a series of theirs.
clean_patch() {
	local out
	out=$(perl "$QEMU_TREE/scripts/checkpatch.pl" --no-tree -q --terse "$1" 2>&1) || true
	out=$(grep -vE '^total: |does MAINTAINERS need updating|are you using scripts/update-linux-headers' <<<"$out") || return 0
	printf '%s\n' "$out"
	return 1
}

build() {
	with_lock qemu qemu_in_build nice ninja tests/unit/test-migdb tests/qtest/migration-test
}

# Each test of its own in the output counts; none may be missing.
unit_test() {
	qemu_in_build valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite \
		--errors-for-leak-kinds=definite ./tests/unit/test-migdb --tap -k | tee "$dir/unit" || return 1
	[ "$(grep -c '^ok' "$dir/unit")" -ge 35 ]
}

# The wrapper leaves out what needs firmware that the lab's QEMU does not have.
qtest() {
	printf '#!/bin/sh\nexec "%s" -vga none -nic none "$@"\n' "$QEMU_BIN" >"$dir/qemu-system-x86_64"
	chmod +x "$dir/qemu-system-x86_64"
	qemu_in_build timeout 300 env QTEST_QEMU_BINARY="$dir/qemu-system-x86_64" ./tests/qtest/migration-test \
		--full --tap -k -p "/x86_64/migration/precopy/$1/migdb" 2>&1 | tee "$dir/qtest" || return 1
	[ "$(grep -c '^ok' "$dir/qtest")" = 1 ]
}

qemu_ready migdb
install_packages perl valgrind
dir=$BUILD/qemu-series
rm -rf "$dir"
mkdir -p "$dir"
at_exit 'rm -rf "$dir"'
mapfile -t series < <(qemu_series)

plan $((${#series[@]} + 4))
for f in "${series[@]}"; do
	check "checkpatch of $(basename "$f")" clean_patch "$f"
done
check "its tests build" build
check "a guest that cannot be trusted: unit test, under valgrind" unit_test
check "qtest: a migration with x-migdb on" qtest tcp/plain
check "qtest: the same to a file" qtest file
finish
