# Tests: each kind says in its fragment what it builds.
check_PROGRAMS =
include tests/unit/local-openflow.mk
include tests/unit/local-alloc.mk
include tests/unit/local-pm.mk
include tests/unit/local-lang.mk
include tests/unit/local-core.mk
