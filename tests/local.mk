# tests
check_PROGRAMS =
include tests/unit/local-openflow.mk
