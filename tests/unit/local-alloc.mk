check_PROGRAMS += tests/unit/test-alloc
tests_unit_test_alloc_SOURCES = tests/unit/test_alloc.c
tests_unit_test_alloc_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_alloc_LDFLAGS = $(AM_LDFLAGS) -Wl,-rpath,'$$ORIGIN/../../lib'
tests_unit_test_alloc_LDADD = -lflowstream-alloc
tests_unit_test_alloc_DEPENDENCIES = lib/libflowstream-alloc.so

# What is inside the library, so compiled with its sources.
check_PROGRAMS += tests/unit/test-alloc-search
tests_unit_test_alloc_search_SOURCES = tests/unit/test_alloc_search.c $(lib_libflowstream_alloc_so_SOURCES)
nodist_tests_unit_test_alloc_search_SOURCES = alloc/schemas.h
tests_unit_test_alloc_search_CPPFLAGS = $(AM_CPPFLAGS) $(XML_CFLAGS)
tests_unit_test_alloc_search_LDFLAGS = $(AM_LDFLAGS)
tests_unit_test_alloc_search_LDADD = $(XML_LIBS) -lglpk -lm

# Not part of any other target: tests/fuzz/fuzz_alloc -max_total_time=60 tests/fuzz/corpus/alloc
tests/fuzz/fuzz_alloc: $(top_srcdir)/tests/fuzz/fuzz_alloc.c $(lib_libflowstream_alloc_so_SOURCES) alloc/schemas.h
	$(AM_V_CCLD)$(FUZZ_COMPILE) $(XML_CFLAGS) -o $@ $(top_srcdir)/tests/fuzz/fuzz_alloc.c \
	    $(addprefix $(top_srcdir)/,$(filter %.c,$(lib_libflowstream_alloc_so_SOURCES))) $(XML_LIBS) -lglpk -lm -lpthread
EXTRA_DIST += tests/fuzz/fuzz_alloc.c
