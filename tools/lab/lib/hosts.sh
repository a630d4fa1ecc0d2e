# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Starting and ending the emulated hosts.

. "$(dirname "${BASH_SOURCE[0]}")/image.sh"
. "$(dirname "${BASH_SOURCE[0]}")/disks.sh"
. "$(dirname "${BASH_SOURCE[0]}")/ssh.sh"
. "$(dirname "${BASH_SOURCE[0]}")/qemu.sh"

# Seconds from the start of QEMU to "ready"; other work on a small machine can
# slow an emulated host down tenfold.
BOOT_TIMEOUT=${LAB_BOOT_TIMEOUT:-240}

lan_mac() { printf '52:54:00:77:00:%s' "$(host_index "$1")"; }
mig_mac() { printf '52:54:00:78:00:%s' "$(host_index "$1")"; }

# host_initrd HOST: the base archive plus one with this lab's own files.
host_initrd() {
	local h=$1 dir other i
	i=$(host_index "$h")
	dir=$(mktemp -d "$LAB_RUN/initrd.XXXXXX")
	mkdir "$dir/lab"
	install -m 755 "$TOP/tools/lab/host/rc" "$TOP/tools/lab/host/start" "$dir/lab/"
	install -m 600 "$LAB_RUN/$h.hostkey" "$dir/lab/ssh_host_ed25519_key"
	cp "$LAB_RUN/key.pub" "$dir/lab/authorized_keys"
	cat >"$dir/lab/config" <<-END
		HOST=$h
		LAN_MAC=$(lan_mac "$h")
		MIG_MAC=$(mig_mac "$h")
		LAN_IP=$LAN.$i
		MIG_IP=$MIG.$i
		MIG_MTU=$MIG_MTU
	END
	if [ -n "$HOST_KMODS" ]; then
		mkdir "$dir/lab/modules"
		cp -a "$HOST_KMODS" "$dir/lab/modules/"
	fi
	{
		printf '127.0.0.1 localhost\n%s.1 client\n' "$LAN"
		for other in a b; do
			printf '%s.%s %s\n' "$LAN" "$(host_index $other)" $other
			printf '%s.%s %s-mig\n' "$MIG" "$(host_index $other)" $other
		done
	} >"$dir/lab/hosts"
	{
		cat "$HOST_INITRD"
		(cd "$dir" && find lab | cpio -o -H newc --quiet | gzip -1)
	} >"$LAB_RUN/$h.initrd"
	rm -rf "$dir"
}

# emulator_ready: sets LAB_QEMU, unless the user chose one.  Not the packaged QEMU:
# the newest 10.0 has lost faults of TCG that stop or reset a host now and then (code
# that went on running after the kernel had patched it, memory maps that changed
# under a running CPU).
emulator_ready() {
	if [ -z "${LAB_QEMU:-}" ]; then
		qemu_ready plain
		LAB_QEMU=$QEMU_BIN
	fi
	"$LAB_QEMU" --version >/dev/null || die "LAB_QEMU=$LAB_QEMU does not run"
}

# host_start HOST: QEMU in the background, in the lab's namespace.
host_start() {
	local h=$1 accel cpu args n p
	for p in "$LAB_STATE/$h.console" "$LAB_STATE/$h.qemu.log"; do
		[ ! -e "$p" ] || mv "$p" "$p.old"
	done
	case ${LAB_ACCEL:-tcg} in
	tcg)
		accel=tcg,thread=multi
		# Byte-wise string instructions and five-level page tables cost an
		# emulated CPU more than what they are meant to replace: filling
		# memory takes a fifth of the time without them.
		cpu=max,erms=off,fsrm=off,fsrs=off,fzrm=off,la57=off
		;;
	kvm)
		[ -w /dev/kvm ] || die "LAB_ACCEL=kvm, but /dev/kvm cannot be opened"
		accel=kvm
		cpu=host
		;;
	*) die "LAB_ACCEL=$LAB_ACCEL: tcg or kvm" ;;
	esac
	host_initrd "$h"
	# shellcheck disable=SC2054 # the commas are QEMU's
	args=(
		-name "migdb-$LAB_NAME-$h" -nodefaults -no-user-config -display none -no-reboot
		# A triple fault ends QEMU without a word: this says so, and where.
		-d cpu_reset -D "$LAB_STATE/$h.reset.log"
		-machine "q35,i8042=off,smbus=off,sata=off,vmport=off,usb=off,hpet=off"
		-accel "$accel" -cpu "$cpu" -smp "$LAB_SMP" -m "$LAB_MEM"
		-kernel "$HOST_KIMG" -initrd "$LAB_RUN/$h.initrd"
		# The emulated counter is the machine's own: the same on all CPUs.
		-append "console=ttyS0 loglevel=5 panic=-1 mitigations=off tsc=reliable net.ifnames=0 random.trust_cpu=on ${LAB_KERNEL_ARGS:-}"
		-serial "file:$LAB_STATE/$h.console"
		-qmp "unix:$LAB_RUN/$h.qmp,server=on,wait=off"
		-pidfile "$LAB_RUN/$h.pid"
		-object iothread,id=io
		-drive "file=$HOST_ROOT,format=raw,if=none,id=root,snapshot=on"
		-device "virtio-blk-pci,drive=root,serial=migdb-root"
		-netdev "tap,id=lan,ifname=$h-lan,script=no,downscript=no"
		-device "virtio-net-pci,netdev=lan,mac=$(lan_mac "$h"),romfile="
		-netdev "tap,id=mig,ifname=$h-mig,script=no,downscript=no"
		-device "virtio-net-pci,netdev=mig,mac=$(mig_mac "$h"),romfile="
	)
	n=0
	for p in "$LAB_RUN"/payload*.ext4; do
		[ -e "$p" ] || continue
		args+=(-drive "file=$p,format=raw,if=none,id=payload$n,readonly=on,file.locking=off"
			-device "virtio-blk-pci,drive=payload$n,serial=migdb-payload$n")
		n=$((n + 1))
	done
	mapfile -t -O ${#args[@]} args < <(disk_args)
	: >"$LAB_STATE/$h.console"
	# The snapshot of the root image is a deleted file in TMPDIR.
	TMPDIR=$LAB_STATE setsid nsenter --net="/run/netns/$LAB_NS" \
		"$LAB_QEMU" "${args[@]}" </dev/null >"$LAB_STATE/$h.qemu.log" 2>&1 9>&- &
}

# host_pid HOST: the pid of its QEMU, when it lives and is really ours.
host_pid() {
	local pid
	pid=$(cat "$LAB_RUN/$1.pid" 2>/dev/null) || return 1
	[ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$LAB_RUN/$1.pid" || return 1
	printf '%s\n' "$pid"
}

host_why() {
	say "last lines of $LAB_STATE/$1.console:"
	tail -n 15 "$LAB_STATE/$1.console" >&2
	[ ! -s "$LAB_STATE/$1.qemu.log" ] || tail -n 5 "$LAB_STATE/$1.qemu.log" >&2
	! grep -aq '^Triple fault' "$LAB_STATE/$1.reset.log" 2>/dev/null ||
		say "its processor ended in a triple fault: $LAB_STATE/$1.reset.log"
}

# host_wait HOST: until its console says that it is ready.
host_wait() {
	local h=$1 end=$((SECONDS + BOOT_TIMEOUT)) seen=
	until grep -aq '^LAB-READY' "$LAB_STATE/$h.console"; do
		if grep -aq '^LAB-FAILED' "$LAB_STATE/$h.console"; then
			host_why "$h"
			die "host $h: $(grep -a -m1 '^LAB-FAILED' "$LAB_STATE/$h.console")"
		fi
		if host_pid "$h" >/dev/null; then
			seen=1
		elif [ -n "$seen" ] || [ -s "$LAB_STATE/$h.qemu.log" ]; then
			host_why "$h"
			die "host $h: QEMU ended while the host was booting"
		fi
		if [ $SECONDS -ge $end ]; then
			host_why "$h"
			die "host $h is not up after $BOOT_TIMEOUT s (LAB_BOOT_TIMEOUT changes that)"
		fi
		sleep 0.2
	done
	rm -f "$LAB_RUN/$h.initrd"
	ssh_open "$h"
	# The emulated clock counts from a whole second.
	host_ssh "$h" "date -s @$(date +%s.%N) >/dev/null" </dev/null
}

# host_kill HOST: what a power cut does.
host_kill() {
	local pid tries
	pid=$(host_pid "$1") || return 0
	kill "$pid" 2>/dev/null || true
	for ((tries = 0; tries < 50; tries++)); do
		host_pid "$1" >/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
	while host_pid "$1" >/dev/null; do
		sleep 0.1
	done
}

# hosts_stop: every QEMU of the lab.
hosts_stop() {
	local f h
	for f in "$LAB_RUN"/*.pid; do
		[ -e "$f" ] || continue
		h=${f##*/}
		host_kill "${h%.pid}"
	done
}

# qmp HOST JSON: one command to the host's QEMU, prints what it returns.
qmp() {
	local h=$1 json=$2 reply pid
	coproc LAB_QMP { exec socat - "UNIX-CONNECT:$LAB_RUN/$h.qmp" 2>/dev/null; }
	pid=$LAB_QMP_PID
	# Events come in between; the answers come in order.
	printf '{"execute":"qmp_capabilities"}\n%s\n' "$json" >&"${LAB_QMP[1]}"
	reply=$(qmp_reply <&"${LAB_QMP[0]}" >/dev/null && qmp_reply <&"${LAB_QMP[0]}") || true
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	[ -n "$reply" ] || die "no answer from the QEMU of host $h"
	jq -e 'has("error") | not' <<<"$reply" >/dev/null ||
		die "QEMU of host $h: $(jq -r .error.desc <<<"$reply")"
	jq -c .return <<<"$reply"
}

qmp_reply() {
	local line
	while IFS= read -r -t 30 line; do
		case $line in
		'{"return"'* | '{"error"'* | '{"id"'*)
			printf '%s\n' "$line"
			return 0
			;;
		esac
	done
	return 1
}

# storage_rate BYTES|off [HOST...]
storage_rate() {
	local rate=$1 h bps=0
	shift
	[ "$rate" = off ] || bps=$(number_of "$rate" "rate in bytes per second")
	[ $# -gt 0 ] || set -- "${LAB_HOSTS[@]}"
	for h; do
		host_check "$h"
		qmp "$h" "$(jq -nc --argjson bps "$bps" '{execute:"qom-set", arguments:
			{path:"/objects/storage", property:"limits", value:{"bps-total":$bps}}}')" >/dev/null
		printf '%s\n' "$rate" >"$LAB_RUN/$h.storage-rate"
	done
}
