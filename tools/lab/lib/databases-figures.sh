# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The shares that tools/lab/tests/60-databases.sh has limits for, as figures of
# "make bench-guest".  Needs lib/lab-lib.sh.
#
#   dbs_figures DIR OUT     boots the guest with disks in DIR, writes one JSON object

. "$(dirname "${BASH_SOURCE[0]}")/databases.sh"
. "$(dirname "${BASH_SOURCE[0]}")/databases-mariadb.sh"
. "$(dirname "${BASH_SOURCE[0]}")/databases-postgres.sh"

# figure NAME JQ [ARG...]: of the last comparison; JQ sees the object of "of".
figure() {
	jq -n --slurpfile s "$DBS_WORK/shares" --argjson pages "${3:-0}" --arg name "$1" \
		'{($name): (($s | map({(.what): .}) | add) | '"$2"' | . * 10000 | round / 10000)}' >>"$DBS_WORK/figures"
}

dbs_figures_mariadb() {
	step "figures: MariaDB, by BPF"
	dbs_hints on
	maria_start
	maria_warm
	maria_load oltp_read_write 8 >/dev/null
	maria_clean
	dbs_measure "pool=private:$(maria_pid):5"
	figure innodb_named_share '.pool.right / $pages' "$(maria_clean_pages)"
	maria_measure_loaded
	figure stale_share_rw '(.pool.named - .pool.right) / .pool.named'
	step "figures: MariaDB, by its agent"
	maria_agent >/dev/null
	maria_stop
	dbs_hints agent-only
	maria_start
	maria_warm
	maria_load oltp_read_write 8 >/dev/null
	maria_clean
	dbs_measure "pool=private:$(maria_pid):5"
	figure innodb_exact_share '.pool.right / $pages' "$(maria_clean_pages)"
	maria_stop
}

dbs_figures_postgres() {
	step "figures: PostgreSQL"
	dbs_hints on
	pg_start
	pg_warm >/dev/null
	pg_load -N -T 8 >/dev/null
	pg_clean
	dbs_measure files=files:/srv/postgres/data/base
	figure pagecache_named_share '.files.right / .files.pages'
	pg_stop
}

dbs_figures() {
	dbs_ready
	dbs_boot "$1"
	: >"$DBS_WORK/figures"
	dbs_figures_mariadb
	dbs_figures_postgres
	dbs_off
	jq -s add "$DBS_WORK/figures" >"$2"
}
