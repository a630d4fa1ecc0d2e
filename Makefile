# SPDX-License-Identifier: GPL-2.0
#
# Everything generated goes to build/ (or $MIGDB_BUILD) and to the cache,
# ~/.cache/migdb (or $MIGDB_CACHE).  Kbuild is what the kernel's build reads.

MAKEFLAGS += --no-print-directory
.SUFFIXES:
# "make modules tools install": one after the other, whatever -j says
.NOTPARALLEL:

help:
	@echo 'migdb: live migration that builds database pages from shared storage'
	@echo
	@echo '  make demo            move a MariaDB VM between two emulated hosts: table and verdict;'
	@echo '                       REPEATS=3: medians of three of each'
	@echo '  make check           every test there is; the last line counts them.  tools/lab/check -l'
	@echo '                       lists its parts, tools/lab/check PART... runs some'
	@echo '  make check-debug     those of both modules in a kernel with KASAN, UBSAN, lockdep and'
	@echo '                       kmemleak; tools/lab/check --debug PART... runs some'
	@echo '  make check-kernels   those of the guest part on kernels that have both in the tree: built in,'
	@echo '                       as modules, with lockdown=integrity, and without them; and some of the host part'
	@echo '  make bench           figures that need no database: build/bench/result.json'
	@echo '  make bench-guest     what hints cost a database in the guest, and how much they name'
	@echo
	@echo '  make modules         build/migdb.ko and build/mem_hints.ko'
	@echo '                       KDIR=headers KSRC=source of the same version (default: the'
	@echo '                       stock kernel that the lab runs), W=1e: warnings are errors'
	@echo '  make tools           migdb-hintd and migdb-hints, which load the BPF program,'
	@echo '                       and libmigdb: build/tools'
	@echo '  make install         modules, headers and tools; DESTDIR=, PREFIX=/usr/local,'
	@echo '                       ROLE=host: modules of a host are loaded at boot; ROLE=guest'
	@echo
	@echo '  make kunit           KUnit suites of the pure logic, under UML'
	@echo '  make usertest        the same logic in user space: ASan, UBSan, TSan, fuzzing'
	@echo '                       (FUZZ_SECONDS=5 for each fuzzer); and the tests of libmigdb'
	@echo '  make sparse          sparse over both modules'
	@echo '  make checkpatch      checkpatch --strict over the sources'
	@echo '  make htmldocs        the documents as HTML: build/htmldocs/html'
	@echo
	@echo '  make kernel          bootable 6.12 kernels with everything built in, as modules, and'
	@echo '                       without: build/kernel/{y,m,n}; DEBUG=1: with KASAN and lockdep'
	@echo '  make KSRC=… overlay         lay the sources over a 6.12 kernel tree'
	@echo '  make KSRC=… overlay-remove  and take them out again'
	@echo '  make clean           remove build/'

modules:
	@tools/build/modules

sparse:
	@tools/build/modules sparse

htmldocs:
	@tools/build/htmldocs

checkpatch:
	@tools/build/checkpatch

tools:
	@tools/build/tools

install:
	@tools/build/install

kunit:
	@tools/build/kunit

usertest:
	@tools/testing/migdb/run
	@tools/testing/migdb/libmigdb/run

kernel:
	@tools/build/kernel $(if $(DEBUG),--debug) $(KERNELS)

overlay:
	@tools/build/overlay apply

overlay-remove:
	@tools/build/overlay remove

check:
	@tools/lab/check

check-debug:
	@tools/lab/check --debug

check-kernels:
	@tools/lab/check --kernels

demo:
	@tools/lab/demo $(if $(REPEATS),--repeats $(REPEATS))

bench:
	@tools/lab/bench

bench-guest:
	@tools/lab/bench-guest

clean:
	@tools/build/clean

.PHONY: bench-guest help htmldocs modules sparse checkpatch tools install kunit usertest kernel overlay \
	overlay-remove check check-debug check-kernels demo bench clean
