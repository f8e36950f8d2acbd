# tests
check_PROGRAMS =
include tests/unit/local-pm.mk
