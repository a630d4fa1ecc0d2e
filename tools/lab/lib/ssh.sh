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
	in_netns ssh -F "$LAB_RUN/$h.ssh" "$h" "$@"
}

# ssh_open HOST: the shared connection.  Detached from our output, or a pipe
# that reads it would wait for the lab to end.
ssh_open() {
	local tries
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

# host_put HOST SRC DST: like cp -a: into DST when it is a directory or ends in
# a slash, else to that name.  A directory's content merges into an existing one.
host_put() {
	local h=$1 src=$2 dst=$3 q base
	[ -e "$src" ] || die "put: there is no $src"
	base=$(basename "$(realpath "$src")")
	printf -v q '%q' "$dst"
	if [ -d "$src" ]; then
		printf -v base '%q' "$base"
		tar -C "$src" -S -cf - . | host_ssh "$h" -T \
			"d=$q; case \$d in */) d=\$d$base ;; esac; mkdir -p \"\$d\" && tar -C \"\$d\" -xf -"
	else
		tar -C "$(dirname "$(realpath "$src")")" -S -cf - -- "$base" | {
			printf -v base '%q' "$base"
			host_ssh "$h" -T "d=$q; b=$base
				case \$d in */) mkdir -p \"\$d\" ;; esac
				if [ -d \"\$d\" ]; then tar -C \"\$d\" -xf -; exit; fi
				mkdir -p \"\$(dirname \"\$d\")\" && t=\$(mktemp -d \"\$(dirname \"\$d\")/.put.XXXXXX\") &&
				tar -C \"\$t\" -xf - && mv -f \"\$t/\$b\" \"\$d\"; rc=\$?; rm -rf \"\$t\"; exit \$rc"
		}
	fi
}

# host_get HOST SRC DST: the same the other way round.
host_get() {
	local h=$1 src=$2 dst=$3 q tmp
	printf -v q '%q' "$src"
	case $dst in
	*/) mkdir -p "$dst" ;;
	*) mkdir -p "$(dirname "$dst")" ;;
	esac
	tmp=$(mktemp -d "$LAB_RUN/get.XXXXXX")
	if ! host_ssh "$h" -T "tar -C \"\$(dirname $q)\" -S -cf - -- \"\$(basename $q)\"" </dev/null |
	     tar -C "$tmp" -xf -; then
		rm -rf "$tmp"
		die "get: cannot fetch $src from host $h"
	fi
	if [ -d "$dst" ] && ! [ -d "$tmp/$(basename "$src")" ]; then
		dst=$dst/$(basename "$src")
	elif [ -d "$tmp/$(basename "$src")" ]; then
		case $dst in */) dst=$dst$(basename "$src") ;; esac
		mkdir -p "$dst"
		cp -a --sparse=auto "$tmp/$(basename "$src")/." "$dst/"
		rm -rf "$tmp"
		return
	fi
	cp -a --sparse=auto "$tmp/$(basename "$src")" "$dst"
	rm -rf "$tmp"
}
