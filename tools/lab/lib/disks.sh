# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Disks of the hosts: the shared ones (one raw file, attached to every host
# with cache=none, as a shared LUN would be) and the payload images.

. "$(dirname "${BASH_SOURCE[0]}")/state.sh"

# disk_parse NAME=PATH[:ro]: sets disk_name, disk_path, disk_ro.
disk_parse() {
	local spec=$1
	[[ $spec =~ ^([A-Za-z0-9_.-]+)=(.+)$ ]] || die "--disk $spec: NAME=PATH or NAME=PATH:ro is wanted"
	disk_name=${BASH_REMATCH[1]}
	disk_path=${BASH_REMATCH[2]}
	disk_ro=off
	case $disk_path in
	*:ro)
		disk_path=${disk_path%:ro}
		disk_ro=on
		;;
	esac
	# A virtio-blk serial has 20 bytes; a longer one would be cut silently.
	[ ${#disk_name} -le 20 ] || die "--disk $disk_name: a name may have 20 characters at most"
	case $disk_name in
	migdb-*) die "--disk $disk_name: names that begin with migdb- belong to the lab" ;;
	esac
}

# disk_check NAME=PATH[:ro]: prints it with the path made absolute.
disk_check() {
	local size
	disk_parse "$1"
	[ -e "$disk_path" ] || die "--disk $disk_name: there is no $disk_path (make it: truncate -s 1G $disk_path)"
	disk_path=$(realpath "$disk_path")
	if [ -b "$disk_path" ]; then
		size=$(blockdev --getsize64 "$disk_path")
	else
		[ -f "$disk_path" ] || die "--disk $disk_name: $disk_path is neither a file nor a block device"
		size=$(stat -c %s "$disk_path")
	fi
	if [ "$size" -eq 0 ] || [ $((size % 4096)) -ne 0 ]; then
		die "--disk $disk_name: $disk_path has $size bytes, a multiple of 4096 is wanted"
	fi
	dd if="$disk_path" of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null ||
		die "--disk $disk_name: the file system of $disk_path ($(stat -f -c %T "$disk_path")) does not do O_DIRECT, which cache=none needs: put it on ext4 or XFS"
	case $disk_path in
	*[,:]*) die "--disk $disk_name: no comma or colon in a path, please: $disk_path" ;;
	esac
	printf '%s=%s%s\n' "$disk_name" "$disk_path" "$([ $disk_ro = off ] || printf :ro)"
}

# disk_args: QEMU's arguments for the shared disks, one per line.  All disks of
# a host share one throttle group, which "lab storage" sets.
disk_args() {
	local spec
	printf '%s\n' -object throttle-group,id=storage
	for spec in "${LAB_DISKS[@]}"; do
		disk_parse "$spec"
		# locking=off: the other host has the same file open for writing.
		printf '%s\n' -blockdev \
			"driver=file,node-name=file-$disk_name,filename=$disk_path,cache.direct=on,locking=off,aio=io_uring,read-only=$disk_ro,discard=unmap" \
			-blockdev \
			"driver=raw,node-name=raw-$disk_name,file=file-$disk_name,cache.direct=on,read-only=$disk_ro,discard=unmap" \
			-blockdev \
			"driver=throttle,node-name=$disk_name,throttle-group=storage,file=raw-$disk_name,cache.direct=on,read-only=$disk_ro,discard=unmap" \
			-device "virtio-blk-pci,drive=$disk_name,serial=$disk_name,share-rw=on,iothread=io"
	done
}

# payload_image DIR OUT: what DIR holds, as a small ext4 image.
payload_image() {
	local dir=$1 out=$2 kib files
	kib=$(du -sk --apparent-size "$dir" | cut -f1)
	files=$(find "$dir" | wc -l)
	rm -f "$out"
	mke2fs -q -t ext4 -O ^has_journal,^resize_inode -E lazy_itable_init=1 -m 0 -b 4096 \
		-N $((files + 64)) -d "$dir" "$out" $(((kib + kib / 8 + files * 8 + 4096) / 1024 + 1))M >/dev/null 2>"$out.log" ||
		{ cat "$out.log" >&2; die "--payload $dir: mke2fs failed"; }
	rm -f "$out.log"
}

# payload_images: all of them anew.  A host that runs keeps the deleted old
# files.  An image is made beside its name, never written in place.
payload_images() {
	local dir n=0
	for dir in "${LAB_PAYLOADS[@]}"; do
		payload_image "$dir" "$LAB_RUN/payload$n.tmp"
		mv -f "$LAB_RUN/payload$n.tmp" "$LAB_RUN/payload$n.ext4"
		n=$((n + 1))
	done
}
