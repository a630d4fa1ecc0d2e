# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Is the content of the moved VM's tables what it must be?  Needs lib/vm.sh.
#
#   content_lsn NAME             the end of the redo log, before the move
#   content_served NAME OUT      CHECKSUM TABLE of every table, as the VM serves them
#   content_stored NAME HOST OUT LSN   the same out of the disk: a copy of it, taken with
#                                the VM stopped for a moment, recovered by another server,
#                                whose log is OUT.log; OUT.newer: how many pages were
#                                written to disk in a state that is newer than LSN
#   content_clean                what an interrupted content_stored leaves
#
# What two equal lists prove: InnoDB changes a page in memory and writes what it did
# into the redo log, which is on disk when the client is told of the commit.  The
# other server knows nothing of the moved memory: it takes the pages that are on disk
# and replays the log on them.  A page on disk that is not newer than the log was when
# the move began is one from before the move, and each change to it since, on either
# host, is found in the log.  A row of it that the memory of the moved VM lost, has
# twice, has in an older version or with another byte in it then differs.  A newer page
# may be one out of the moved memory: of it the lists only prove that memory and disk
# agree.  The server writes pages when it is idle, so the copy comes first.
# What is neither in memory nor in the log does not show at all: for that there is the
# ledger, whose clients know what they were told.

CONTENT_LEDGER="ledger.account, ledger.journal"

content_tables() {
	local i
	for i in $(seq "$GUEST_TABLES"); do
		printf 'sbtest.sbtest%s\n' "$i"
	done
}

content_lsn() {
	vm_sql "$1" "SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'" | awk '{ print $2 }'
}

# content_newer DIR LSN: pages of InnoDB's data files with a higher number than LSN.
content_newer() {
	/usr/bin/python3 - "$@" <<-'END'
	import glob, os, sys
	directory, lsn = sys.argv[1], int(sys.argv[2])
	newer = seen = 0
	names = glob.glob(os.path.join(directory, "*", "*.ibd")) + glob.glob(os.path.join(directory, "undo*"))
	for name in names + [os.path.join(directory, "ibdata1")]:
	    with open(name, "rb") as f:
	        while len(page := f.read(16384)) == 16384:
	            seen += 1
	            newer += int.from_bytes(page[16:24], "big") > lsn
	if not seen:
	    sys.exit("no pages in " + directory)
	print(newer)
	END
}

# The clients are gone; what they left is rolled back by the server, which takes time.
content_quiet() {
	local end=$((SECONDS + 60))
	until [ "$(vm_sql "$1" "SELECT COUNT(*) FROM information_schema.innodb_trx")" = 0 ]; do
		[ $SECONDS -lt $end ] || { say "  transactions of $1 do not end"; return 1; }
		sleep 0.3
	done
}

content_checksum() {
	vm_sql "$1" "CHECKSUM TABLE $2 EXTENDED" >"$3.${2//[^a-z0-9]/-}"
}

content_served() {
	local t pids=() rc=0
	rm -f "$2".*
	content_quiet "$1" || return 1
	while read -r t; do
		content_checksum "$1" "$t" "$2" &
		pids+=($!)
	done < <(content_tables)
	content_checksum "$1" "$CONTENT_LEDGER" "$2" || rc=1
	for t in "${pids[@]}"; do
		wait "$t" || rc=1
	done
	[ $rc = 0 ] || return 1
	sort "$2".* >"$2"
	rm -f "$2".*
}

# The image behind the VM's disk of that name.
content_image() {
	local spec
	lab_load || die "there is no lab"
	for spec in "${LAB_DISKS[@]}"; do
		[[ $spec = "$1-data="* ]] || continue
		printf '%s\n' "${spec#*=}"
		return
	done
	die "the lab has no disk $1-data"
}

# content_copy NAME HOST DIR: the files of the data disk as they are at one moment, as
# after a power cut.  e2fsck replays the journal; nothing is mounted.
content_copy() {
	local name=$1 host=$2 dir=$3 image rc=0
	image=$(content_image "$name")
	need_space "$dir" 3000
	vm_stop "$name" "$host"
	cp --sparse=always --reflink=auto "$image" "$dir/data.img" || rc=1
	vm_cont "$name" "$host"
	[ $rc = 0 ] || die "cannot copy $image"
	e2fsck -fy "$dir/data.img" >"$dir/e2fsck.log" 2>&1 || [ $? -le 1 ] ||
		{ tail -5 "$dir/e2fsck.log" >&2; return 1; }
	mkdir "$dir/data"
	debugfs -R "rdump / $dir/data" "$dir/data.img" >/dev/null 2>"$dir/debugfs.log"
	rm -f "$dir/data.img"
	[ -s "$dir/data/ibdata1" ] || { tail -5 "$dir/debugfs.log" >&2; return 1; }
	chown -R root:root "$dir/data"
}

# content_stored NAME HOST OUT LSN: errors in OUT.log
content_stored() {
	local name=$1 host=$2 out=$3 lsn=$4 dir sock pid t i rc=1
	install_packages mariadb-server-core e2fsprogs
	content_clean
	dir=$BUILD/content-$LAB_NAME
	mkdir -p "$dir"
	# a socket's path may have 107 characters at most
	sock=$(vm_state "$name")/mariadb
	if content_quiet "$name" && content_copy "$name" "$host" "$dir" && content_newer "$dir/data" "$lsn" >"$out.newer"; then
		# It ends with this shell, however that ends.
		setpriv --pdeathsig KILL mariadbd --no-defaults --user=root --datadir="$dir/data" --socket="$sock" --pid-file="$dir/pid" \
			--skip-networking --skip-grant-tables --innodb-buffer-pool-size=512M \
			--innodb-log-file-size=96M --innodb-flush-log-at-trx-commit=0 --innodb-fast-shutdown=2 \
			</dev/null >"$out.log" 2>&1 9>&- &
		pid=$!
		for i in $(seq 300); do
			! mariadb -S "$sock" -e 'SELECT 1' >/dev/null 2>&1 || { rc=0; break; }
			kill -0 $pid 2>/dev/null || break
			sleep 0.2
		done
		if [ $rc = 0 ]; then
			{
				content_tables
				printf '%s\n' "$CONTENT_LEDGER"
			} | while read -r t; do
				mariadb -S "$sock" -N -B -e "CHECKSUM TABLE $t EXTENDED" </dev/null || exit 1
			done | sort >"$out" || rc=1
		fi
		kill $pid 2>/dev/null || true
		wait $pid 2>/dev/null || true
	fi
	content_clean
	[ $rc = 0 ] || { tail -5 "$out.log" >&2; return 1; }
}

content_clean() {
	local dir=$BUILD/content-$LAB_NAME pid
	if pid=$(cat "$dir/pid" 2>/dev/null) && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$dir/data"; then
		kill -KILL "$pid" 2>/dev/null || true
	fi
	rm -rf "$dir"
}
