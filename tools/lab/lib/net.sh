# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The lab's network, all of it inside one namespace:
#
#   br-lan  10.77.0.0/24  clients run here, in the namespace itself (.1);
#           hosts .11 and .12; nested guests from .21 on, through br0 of a host
#   br-mig  10.78.0.0/24  the migration link between the hosts
#
# Rate: a token bucket on both taps of the migration link, so a limit for each
# direction.  Delay: netem inside the hosts, on their way out, because the
# kernel of the machine need not have netem; a delay of 1 ms adds 2 ms to the
# round trip.  Cut: the taps leave the bridge; packets vanish, no carrier is lost.

. "$(dirname "${BASH_SOURCE[0]}")/state.sh"

LAN=10.77.0
# shellcheck disable=SC2034 # hosts.sh
MIG=10.78.0
# Jumbo frames, as migration networks have them; an emulated receiver needs them.
MIG_MTU=9000

in_netns() {
	nsenter --net="/run/netns/$LAB_NS" "$@"
}

# The first "ip netns add" on a machine mounts /run/netns; who did that takes
# it away again when no namespace is left.
netns_add() {
	mountpoint -q /run/netns || touch "$LAB_RUN_BASE/.netns-mount"
	ip netns add "$LAB_NS"
}

netns_del() {
	ip netns del "$LAB_NS" || return 1
	if [ -e "$LAB_RUN_BASE/.netns-mount" ] && rmdir_able /run/netns; then
		umount /run/netns && rmdir /run/netns
		rm -f "$LAB_RUN_BASE/.netns-mount"
	fi
}

rmdir_able() {
	[ -z "$(ls -A "$1")" ]
}

net_up() {
	local h
	with_lock netns netns_add || die "cannot make the network namespace $LAB_NS"
	in_netns sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
			echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6' 2>/dev/null || true
	{
		printf 'link set lo up\n'
		printf 'link add br-lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n'
		printf 'link add br-mig mtu %s type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n' "$MIG_MTU"
		printf 'addr add %s.1/24 dev br-lan\n' "$LAN"
		printf 'link set %s up\n' br-lan br-mig
		for h in "${LAB_HOSTS[@]}"; do
			printf 'tuntap add %s mode tap vnet_hdr\n' "$h-lan" "$h-mig"
			printf 'link set %s-lan master br-lan up\n' "$h"
			printf 'link set %s-mig mtu %s master br-mig up\n' "$h" "$MIG_MTU"
		done
	} | ip -n "$LAB_NS" -batch - || die "cannot set up the network of $LAB_NS (is /dev/net/tun there?)"
}

# net_down: ends what runs in the namespace, then removes it; taps, bridges and
# addresses go with it.
net_down() {
	local pids sig
	[ -e "/run/netns/$LAB_NS" ] || return 0
	for sig in TERM TERM KILL; do
		pids=$(ip netns pids "$LAB_NS" 2>/dev/null || true)
		[ -n "$pids" ] || break
		# shellcheck disable=SC2086 # a list
		kill -"$sig" $pids 2>/dev/null || true
		sleep 0.3
	done
	with_lock netns netns_del || die "cannot remove the network namespace $LAB_NS"
}

# link_rate RATE: as tc says it (160mbit), or "off".  The queue is 20 ms deep,
# so that a full link does not turn into seconds of delay.
link_rate() {
	local rate=$1 h bytes burst limit
	if [ "$rate" != off ]; then
		bytes=$(rate_bytes "$rate")
		burst=$((bytes / 250))
		[ $burst -ge 70000 ] || burst=70000
		limit=$((bytes / 50))
		[ $limit -ge 150000 ] || limit=150000
	fi
	for h in "${LAB_HOSTS[@]}"; do
		if [ "$rate" = off ]; then
			in_netns tc qdisc del dev "$h-mig" root 2>/dev/null || true
		else
			in_netns tc qdisc replace dev "$h-mig" root tbf rate "$bytes"bps \
				burst $burst limit $((burst + limit)) || die "cannot set the rate of $h-mig to $rate"
		fi
	done
	printf '%s\n' "$rate" >"$LAB_RUN/link-rate"
}

# rate_bytes RATE: bytes per second of 160mbit, 1gbit, 500kbit, 20mbps (tc's
# "bps" are bytes).
rate_bytes() {
	local n unit=1
	[[ ${1,,} =~ ^([0-9]+)(k|m|g)?(bit|bps)$ ]] || die "'$1' is no rate (160mbit, 1gbit, 20mbps for bytes per second, or off)"
	n=${BASH_REMATCH[1]}
	case ${BASH_REMATCH[2]} in
	k) unit=1000 ;;
	m) unit=1000000 ;;
	g) unit=1000000000 ;;
	esac
	n=$((n * unit))
	[ "${BASH_REMATCH[3]}" = bps ] || n=$((n / 8))
	[ $n -ge 1000 ] || die "a rate of $1 is too small"
	printf '%s\n' "$n"
}

# link_delay DELAY [HOST...]: one way, as tc says it (500us, 1ms), or "off".
link_delay() {
	local delay=$1 h
	shift
	[ $# -gt 0 ] || set -- "${LAB_HOSTS[@]}"
	if [ "$delay" != off ] && ! [[ $delay =~ ^[0-9.]+(us|ms|s)$ ]]; then
		die "'$delay' is no delay (500us, 1ms, 0.1s or off)"
	fi
	for h; do
		if [ "$delay" = off ]; then
			host_ssh "$h" "tc qdisc del dev mig0 root 2>/dev/null || true" </dev/null
		else
			host_ssh "$h" "tc qdisc replace dev mig0 root netem delay $delay limit 100000" </dev/null
		fi || die "cannot set the delay in host $h"
	done
	printf '%s\n' "$delay" >"$LAB_RUN/link-delay"
}

link_cut() {
	local h
	for h in "${LAB_HOSTS[@]}"; do
		ip -n "$LAB_NS" link set "$h-mig" nomaster
	done
	printf 'cut\n' >"$LAB_RUN/link-cut"
}

link_restore() {
	local h
	for h in "${LAB_HOSTS[@]}"; do
		ip -n "$LAB_NS" link set "$h-mig" master br-mig
	done
	rm -f "$LAB_RUN/link-cut"
}
