#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a kernel of the tree with both options off, and looks that nothing of them is
# there: absent_test.c.

top=$(cd "$(dirname "$0")/../../../../.." && pwd)
. "$top/tools/lab/lib/kernel.sh"

case ${1:-} in
-h | --help)
	cat <<-EOT
	Usage: absent.sh [DIRECTORY]

	DIRECTORY: the kernel, as tools/build/kernel leaves it (default: build/kernel/n).
	Prints KTAP.  Exits with 0 if all passed.  On a kernel of another kind most fails.
	EOT
	exit
	;;
esac

kernel=${1:-$BUILD/kernel/n}
src=$top/tools/testing/selftests/migdb/mem_hints
out=$BUILD/mem_hints_absent
console=$out/console
[ -s "$kernel/release" ] || die "$kernel is no directory of tools/build/kernel"

kernel_ready
install_packages clang libbpf-dev libelf-dev zlib1g-dev bpftool busybox-static cpio qemu-system-x86
mkdir -p "$out/tests" "$out/bpf"
make -s -C "$src" KSRC="$KSRC" O="$out/tests" "$out/tests/absent_test"
make -s -C "$top/tools/migdb/bpf" KDIR="$KDIR" O="$out/bpf"

root=$out/root
rm -rf "$root"
mkdir -p "$root"/{bin,dev,proc,sys,tmp}
cp "$(command -v busybox)" "$out/tests/absent_test" "$out/bpf/migdb-hints" "$out/bpf/migdb-hintd" "$root/bin/"
cat >"$root/init" <<-'EOT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
echo '# begin'
absent_test; echo "# end $?"
dmesg | grep -E 'BUG|WARNING|Oops|stall|Call Trace' && echo '# kernel complained'
echo '# guest done'
poweroff -f
EOT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$out/initrd.gz"

step "booting the guest"
: >"$console"
timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 512M -smp 2 -nodefaults -display none -no-reboot \
	-serial "file:$console" -kernel "$kernel/bzImage" -initrd "$out/initrd.gz" \
	-append "console=ttyS0 quiet panic=-1 rdinit=/init" </dev/null >"$out/qemu.log" 2>&1 || true

failed=0
tr -d '\r' <"$console" | grep -E '^(KTAP|TAP|ok|not ok|1\.\.|#)' || true
grep -q '^# end 0' "$console" || failed=1
grep -q '^# guest done' "$console" || { say "the guest did not finish: see $console"; failed=1; }
! grep -q '^# kernel complained' "$console" || { say "the guest's kernel complained: see $console"; failed=1; }
exit "$failed"
