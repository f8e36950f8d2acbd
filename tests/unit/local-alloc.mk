check_PROGRAMS += tests/unit/test-alloc
tests_unit_test_alloc_SOURCES = tests/unit/test_alloc.c
tests_unit_test_alloc_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_alloc_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,'$$ORIGIN/../../lib'
tests_unit_test_alloc_LDADD = -lflowstream-alloc
tests_unit_test_alloc_DEPENDENCIES = lib/libflowstream-alloc.so
