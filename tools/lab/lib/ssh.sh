# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Commands and files to and from a host.  One connection per host is kept open
# (a key exchange takes most of a second under emulation) and commands share it.

. "$(dirname "${BASH_SOURCE[0]}")/net.sh"

ssh_keys() {
	local h
	ssh-keygen -q -t ed25519 -N '' -C lab -f "$LAB_RUN/key"
	: >"$LAB_RUN/known_hosts"
	for h in "${LAB_HOSTS[@]}"; do
		ssh-keygen -q -t ed25519 -N '' -C "$h" -f "$LAB_RUN/$h.hostkey"
		printf '%s %s\n' "$h" "$(cut -d' ' -f1,2 "$LAB_RUN/$h.hostkey.pub")" >>"$LAB_RUN/known_hosts"
		cat >"$LAB_RUN/$h.ssh" <<-END
			Host $h
			HostName $LAN.$(host_index "$h")
			HostKeyAlias $h
			User root
			IdentityFile $LAB_RUN/key
			IdentitiesOnly yes
			UserKnownHostsFile $LAB_RUN/known_hosts
			StrictHostKeyChecking yes
			Ciphers aes128-gcm@openssh.com
			KexAlgorithms curve25519-sha256
			ControlPath $LAB_RUN/$h.ctl
			ControlMaster auto
			ControlPersist yes
			ConnectTimeout 10
			ServerAliveInterval 10
			ServerAliveCountMax 6
			LogLevel ERROR
		END
	done
}

# host_ssh HOST [SSH-OPTION...] [COMMAND]: ssh's exit code is the command's.
host_ssh() {
	local h=$1
	shift
	# A dead host would answer after a minute of silence only.
	host_pid "$h" >/dev/null || { say "error: host $h is not running (lab log $h)"; return 255; }
	in_netns ssh -F "$LAB_RUN/$h.ssh" "$h" "$@"
}

# ssh_open HOST: the shared connection.  Detached from our output, or a pipe
# that reads it would wait for the lab to end.
ssh_open() {
	local tries
	in_netns ssh -F "$LAB_RUN/$1.ssh" -O exit "$1" >/dev/null 2>&1 || true
	for tries in 1 2 3 4 5 6 7 8 9 10; do
		in_netns setsid ssh -F "$LAB_RUN/$1.ssh" -fN "$1" </dev/null >"$LAB_STATE/$1.ssh.log" 2>&1 && return 0
		sleep "0.$tries"
	done
	die "no ssh connection to host $1: $(tail -1 "$LAB_STATE/$1.ssh.log")"
}

# command_line WORD...: one word is a shell command line, several are a command
# and its arguments, which reach it as they are.
command_line() {
	if [ $# -eq 1 ]; then
		printf '%s' "$1"
	else
		printf '%q ' "$@"
	fi
}

host_exec() {
	local h=$1
	shift
	host_ssh "$h" -T "$(command_line "$@")"
}

# Files travel beside ssh, over a plain TCP connection that the host opens to
# us inside the namespace: encryption under emulation costs a factor of ten.
bulk_port() {
	printf '%s' $((20000 + (RANDOM * 32768 + RANDOM) % 40000))
}

# bulk_send HOST COMMAND <ARCHIVE: COMMAND in the host reads what we read.
bulk_send() {
	local port pid rc=0
	port=$(bulk_port)
	exec {bulk_in}<&0
	in_netns socat -u -b 262144 - "TCP-LISTEN:$port,bind=$LAN.1,reuseaddr,accept-timeout=30" <&"$bulk_in" &
	pid=$!
	exec {bulk_in}<&-
	host_ssh "$1" -T "set -o pipefail; socat -u -b 262144 TCP:$LAN.1:$port,retry=100,interval=0.05 - | { $2; }" </dev/null || rc=$?
	[ $rc -eq 0 ] || kill $pid 2>/dev/null || true
	wait $pid || rc=1
	return $rc
}

# bulk_receive HOST COMMAND: writes what COMMAND in the host writes.
bulk_receive() {
	local port pid rc=0
	port=$(bulk_port)
	in_netns socat -u -b 262144 "TCP-LISTEN:$port,bind=$LAN.1,reuseaddr,accept-timeout=30" - </dev/null &
	pid=$!
	host_ssh "$1" -T "set -o pipefail; { $2; } | socat -u -b 262144 - TCP:$LAN.1:$port,retry=100,interval=0.05" </dev/null >/dev/null || rc=$?
	[ $rc -eq 0 ] || kill $pid 2>/dev/null || true
	wait $pid || rc=1
	return $rc
}

# host_put HOST SRC DST: like cp -a: into DST when it is a directory or ends in
# a slash, else to that name.  A directory's content merges into an existing one.
host_put() {
	local h=$1 src dst base dir rc=0
	[ -e "$2" ] || die "put: there is no $2"
	src=$(realpath "$2")
	printf -v dst '%q' "$3"
	dir=$(dirname "$src")
	base=$(basename "$src")
	if [ -d "$src" ]; then
		case $3 in
		*/) printf -v dst '%q' "$3$base" ;;
		esac
		tar -C "$src" -S -cf - . |
			bulk_send "$h" "mkdir -p $dst && tar -C $dst -xf -" || rc=$?
	else
		tar -C "$dir" -S -cf - -- "$base" | {
			printf -v base '%q' "$base"
			bulk_send "$h" "d=$dst
				case \$d in */) mkdir -p \"\$d\" ;; esac
				if [ -d \"\$d\" ]; then
					tar -C \"\$d\" -xf -
				else
					mkdir -p \"\$(dirname \"\$d\")\" && t=\$(mktemp -d \"\$(dirname \"\$d\")/.put.XXXXXX\") &&
					tar -C \"\$t\" -xf - && mv -f \"\$t\"/$base \"\$d\"; rc=\$?
					rm -rf \"\$t\"
					(exit \$rc)
				fi"
		} || rc=$?
	fi
	[ $rc -eq 0 ] || die "put: cannot copy $2 to $3 in host $h"
}

# host_get HOST SRC DST: the same the other way round.
host_get() {
	local h=$1 dst=$3 base q tmp
	base=$(basename "$2")
	printf -v q '%q' "$2"
	case $dst in
	*/) mkdir -p "$dst" ;;
	*) mkdir -p "$(dirname "$dst")" ;;
	esac
	# Beside the destination, so that the last step is a rename.
	if [ -d "$dst" ]; then
		tmp=$(mktemp -d "$dst/.get.XXXXXX")
	else
		tmp=$(mktemp -d "$(dirname "$dst")/.get.XXXXXX")
	fi
	if ! bulk_receive "$h" "tar -C \"\$(dirname $q)\" -S -cf - -- \"\$(basename $q)\"" | tar -C "$tmp" -xf -; then
		rm -rf "$tmp"
		die "get: cannot fetch $2 from host $h"
	fi
	if [ -d "$tmp/$base" ]; then
		case $dst in
		*/) dst=$dst$base ;;
		esac
		mkdir -p "$dst"
		cp -a --sparse=auto "$tmp/$base/." "$dst/"
	else
		[ ! -d "$dst" ] || dst=$dst/$base
		mv -f "$tmp/$base" "$dst"
	fi
	rm -rf "$tmp"
}
