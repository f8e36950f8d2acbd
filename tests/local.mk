# tests
check_PROGRAMS =
include tests/unit/local-lang.mk
