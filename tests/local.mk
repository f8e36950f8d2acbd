# Tests: each kind says in its fragment what it builds.
check_PROGRAMS =
check_DATA =
include tests/unit/local-openflow.mk
include tests/unit/local-alloc.mk
include tests/unit/local-online.mk
include tests/unit/local-pm.mk
include tests/unit/local-lang.mk
include tests/platform/local.mk
include tests/unit/local-core.mk

# What the tests need beside the programs: "make tests".
tests: all
	$(MAKE) $(AM_MAKEFLAGS) $(check_PROGRAMS) $(check_DATA)
.PHONY: tests
EXTRA_DIST += tests/run.py tests/suite.txt tests/lsan.supp tests/lib/flowtest.py examples/demo.py examples/document.flow examples/mirror.flow examples/split.flow examples/web.flow
EXTRA_DIST += tests/lib/flood.py tests/lib/traffic.py tests/lib/loadables.py
EXTRA_DIST += tests/lib/oracle.py tests/lib/chaos.py tests/platform/test_nothing_lost.py tests/platform/test_supervisor.py tests/platform/test_backup.py tests/platform/test_failpoints.py tests/platform/test_stops.py tests/lib/failpoints.py tests/lib/faultways.py \
    tests/lib/mixed.py tests/lib/jitter.h tests/platform/test_mixed.py
