check_PROGRAMS += tests/unit/test-online
tests_unit_test_online_SOURCES = tests/unit/test_online.c
tests_unit_test_online_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_online_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,'$$ORIGIN/../../lib'
tests_unit_test_online_LDADD = -lflowstream-alloc
tests_unit_test_online_DEPENDENCIES = lib/libflowstream-alloc.so
