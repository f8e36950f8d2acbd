# Tests of core: the library's unit test, the daemon that tests/core/*.py drive, the fuzz targets.
check_PROGRAMS += tests/unit/test-core tests/unit/test-store tests/unit/test-store-faults tests/core/testdaemon bench/store/store-load bench/store/store-many
tests_unit_test_core_SOURCES = tests/unit/test_core.c
tests_unit_test_core_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_core_LDFLAGS = $(AM_LDFLAGS) -pie -Wl,--disable-new-dtags -Wl,-rpath,'$$ORIGIN/../../lib'
tests_unit_test_core_LDADD = -lflowstream-core -lxmlrpc -lxmlrpc_util -lpthread
tests_unit_test_core_DEPENDENCIES = lib/libflowstream-core.so
tests_unit_test_store_SOURCES = tests/unit/test_store.c
tests_unit_test_store_CPPFLAGS = $(AM_CPPFLAGS) $(SQLITE_CFLAGS)
tests_unit_test_store_LDFLAGS = $(tests_unit_test_core_LDFLAGS)
tests_unit_test_store_LDADD = $(tests_unit_test_core_LDADD) $(SQLITE_LIBS)
tests_unit_test_store_DEPENDENCIES = lib/libflowstream-core.so
tests_unit_test_store_faults_SOURCES = tests/unit/test_store_faults.c
tests_unit_test_store_faults_CPPFLAGS = $(tests_unit_test_store_CPPFLAGS)
tests_unit_test_store_faults_LDFLAGS = $(tests_unit_test_core_LDFLAGS)
tests_unit_test_store_faults_LDADD = $(tests_unit_test_store_LDADD)
tests_unit_test_store_faults_DEPENDENCIES = lib/libflowstream-core.so
bench_store_store_load_SOURCES = bench/store/store_load.c
bench_store_store_load_CPPFLAGS = $(AM_CPPFLAGS)
bench_store_store_load_LDFLAGS = $(tests_unit_test_core_LDFLAGS)
bench_store_store_load_LDADD = $(tests_unit_test_core_LDADD)
bench_store_store_load_DEPENDENCIES = lib/libflowstream-core.so
bench_store_store_many_SOURCES = bench/store/store_many.c
bench_store_store_many_CPPFLAGS = $(AM_CPPFLAGS)
bench_store_store_many_LDFLAGS = $(tests_unit_test_core_LDFLAGS)
bench_store_store_many_LDADD = $(tests_unit_test_core_LDADD)
bench_store_store_many_DEPENDENCIES = lib/libflowstream-core.so
check_PROGRAMS += tests/unit/test-answered
tests_unit_test_answered_SOURCES = tests/unit/test_answered.c daemons/resource/answered.c
tests_unit_test_answered_CPPFLAGS = $(AM_CPPFLAGS)
tests_unit_test_answered_LDFLAGS = $(tests_unit_test_core_LDFLAGS)
tests_unit_test_answered_LDADD = $(tests_unit_test_core_LDADD)
tests_unit_test_answered_DEPENDENCIES = lib/libflowstream-core.so
tests_core_testdaemon_SOURCES = tests/core/testdaemon.c
tests_core_testdaemon_LDFLAGS = $(AM_LDFLAGS) -pie -Wl,--disable-new-dtags -Wl,-rpath,'$$ORIGIN/../../lib'
tests_core_testdaemon_LDADD = -lflowstream-core
tests_core_testdaemon_DEPENDENCIES = lib/libflowstream-core.so
EXTRA_DIST += tests/core/daemon.py tests/core/test_server.py tests/core/test_door.py tests/core/test_loader.py tests/core/test_engine.py \
    tests/core/test_corpus.py tests/core/test_supervise.py tests/tsan.supp

# Not part of any other target: tests/fuzz/fuzz_xmlrpc -max_total_time=60 tests/fuzz/corpus/xmlrpc
FUZZ_CORE = core/elf.c core/util.c core/value.c core/xmlrpc.c core/xmlrpc_encode.c
FUZZ_COMPILE = $(MKDIR_P) tests/fuzz && $(FUZZ_CC) $(DEFS) $(AM_CPPFLAGS) -std=gnu11 -g -O1 -fno-omit-frame-pointer \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all

tests/fuzz/fuzz_xmlrpc: $(top_srcdir)/tests/fuzz/fuzz_xmlrpc.c $(FUZZ_CORE)
	$(AM_V_CCLD)$(FUZZ_COMPILE) -o $@ $(top_srcdir)/tests/fuzz/fuzz_xmlrpc.c $(addprefix $(top_srcdir)/,$(FUZZ_CORE)) \
	    $(EXPAT_LIBS) -lxmlrpc -lxmlrpc_util -lm

tests/fuzz/fuzz_encode: $(top_srcdir)/tests/fuzz/fuzz_encode.c $(FUZZ_CORE)
	$(AM_V_CCLD)$(FUZZ_COMPILE) -o $@ $(top_srcdir)/tests/fuzz/fuzz_encode.c $(addprefix $(top_srcdir)/,$(FUZZ_CORE)) \
	    $(EXPAT_LIBS) -lxmlrpc -lxmlrpc_util -lm

tests/fuzz/fuzz_pack: $(top_srcdir)/tests/fuzz/fuzz_pack.c $(FUZZ_CORE)
	$(AM_V_CCLD)$(FUZZ_COMPILE) -o $@ $(top_srcdir)/tests/fuzz/fuzz_pack.c $(addprefix $(top_srcdir)/,core/pack.c $(FUZZ_CORE)) \
	    $(EXPAT_LIBS) -lxmlrpc -lxmlrpc_util -lm

FUZZ_DOOR = core/credentials.c core/door.c core/inherit.c core/listen.c core/log.c core/server.c core/server_request.c core/workers.c $(FUZZ_CORE)
tests/fuzz/fuzz_http: $(top_srcdir)/tests/fuzz/fuzz_http.c $(FUZZ_DOOR)
	$(AM_V_CCLD)$(FUZZ_COMPILE) $(MHD_CFLAGS) $(GNUTLS_CFLAGS) -o $@ $(top_srcdir)/tests/fuzz/fuzz_http.c \
	    $(addprefix $(top_srcdir)/,$(FUZZ_DOOR)) $(MHD_LIBS) $(GNUTLS_LIBS) $(EXPAT_LIBS) -lxmlrpc -lxmlrpc_util -lcrypt -lpthread -lm

tests/fuzz/fuzz_elf: $(top_srcdir)/tests/fuzz/fuzz_elf.c $(FUZZ_CORE)
	$(AM_V_CCLD)$(FUZZ_COMPILE) -o $@ $(top_srcdir)/tests/fuzz/fuzz_elf.c $(top_srcdir)/core/elf.c $(top_srcdir)/core/util.c

FUZZ_VERSIONS = core/crash.c core/log.c core/versions.c core/util.c core/value.c
tests/fuzz/fuzz_versions: $(top_srcdir)/tests/fuzz/fuzz_versions.c $(FUZZ_VERSIONS)
	$(AM_V_CCLD)$(FUZZ_COMPILE) -o $@ $(top_srcdir)/tests/fuzz/fuzz_versions.c $(addprefix $(top_srcdir)/,$(FUZZ_VERSIONS)) -lxmlrpc -lxmlrpc_util -lpthread -lm

tests/fuzz/fuzz_signature: $(top_srcdir)/tests/fuzz/fuzz_signature.c core/signature.c core/util.c
	$(AM_V_CCLD)$(FUZZ_COMPILE) $(SODIUM_CFLAGS) -o $@ $(top_srcdir)/tests/fuzz/fuzz_signature.c $(top_srcdir)/core/signature.c $(top_srcdir)/core/util.c $(SODIUM_LIBS)

# The load generator of bench/rpc/run.py.
check_PROGRAMS += bench/rpc/rpc-load
bench_rpc_rpc_load_SOURCES = bench/rpc/rpc_load.c
bench_rpc_rpc_load_CPPFLAGS = $(AM_CPPFLAGS) $(GNUTLS_CFLAGS)
bench_rpc_rpc_load_LDFLAGS = $(AM_LDFLAGS) -pie
bench_rpc_rpc_load_LDADD = $(GNUTLS_LIBS)
check_PROGRAMS += bench/door/bare-mhd
bench_door_bare_mhd_SOURCES = bench/door/bare_mhd.c
bench_door_bare_mhd_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS)
bench_door_bare_mhd_LDFLAGS = $(AM_LDFLAGS) -pie
bench_door_bare_mhd_LDADD = $(MHD_LIBS)
EXTRA_DIST += bench/door/run.py
EXTRA_DIST += bench/rpc/run.py
