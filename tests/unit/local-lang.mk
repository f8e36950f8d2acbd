# Tests of lang: the types that they use, the unit test of the library, and the fuzz target
STUB_TYPES = tests/lang/types/Counter.so tests/lang/types/Mirror.so tests/lang/types/Firewall.so tests/lang/types/Classifier.so \
    tests/lang/types/Sink.so tests/lang/types/Generator.so tests/lang/types/Join.so tests/lang/types/Tap.so tests/lang/types/Shaper.so
STUB_COMPILE = $(MKDIR_P) tests/lang/types && $(CC) $(DEFS) $(AM_CPPFLAGS) $(CPPFLAGS) $(AM_CFLAGS) $(CFLAGS) $(SHARED_LDFLAGS) $(LDFLAGS)
STUB_SOURCE = tests/lang/stub_type.c
EXTRA_DIST += tests/lang/stub_type.c tests/lang/run.py tests/lang/grammar.py
check_DATA += $(STUB_TYPES)

tests/lang/types/Counter.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Counter"' -DSTUB_MIN_INPUTS=1 -DSTUB_MAX_INPUTS=1 -DSTUB_MIN_OUTPUTS=1 -DSTUB_MAX_OUTPUTS=1 -o $@ $<
tests/lang/types/Firewall.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Firewall"' -DSTUB_MIN_INPUTS=1 -DSTUB_MAX_INPUTS=1 -DSTUB_MIN_OUTPUTS=1 -DSTUB_MAX_OUTPUTS=1 -o $@ $<
tests/lang/types/Mirror.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Mirror"' -DSTUB_MIN_INPUTS=1 -DSTUB_MAX_INPUTS=1 -DSTUB_MIN_OUTPUTS=1 -DSTUB_MAX_OUTPUTS=FS_PORTS_ANY -o $@ $<
tests/lang/types/Classifier.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Classifier"' -DSTUB_LIST=1 -DSTUB_MIN_INPUTS=1 -DSTUB_MAX_INPUTS=1 -DSTUB_MIN_OUTPUTS=1 -DSTUB_MAX_OUTPUTS=FS_PORTS_ANY -o $@ $<
tests/lang/types/Sink.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Sink"' -DSTUB_MIN_INPUTS=1 -DSTUB_MAX_INPUTS=1 -DSTUB_MIN_OUTPUTS=0 -DSTUB_MAX_OUTPUTS=0 -o $@ $<
tests/lang/types/Generator.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Generator"' -DSTUB_MIN_INPUTS=0 -DSTUB_MAX_INPUTS=0 -DSTUB_MIN_OUTPUTS=1 -DSTUB_MAX_OUTPUTS=1 -o $@ $<
tests/lang/types/Join.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Join"' -DSTUB_MIN_INPUTS=2 -DSTUB_MAX_INPUTS=2 -DSTUB_MIN_OUTPUTS=1 -DSTUB_MAX_OUTPUTS=1 -o $@ $<

tests/lang/types/Tap.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Tap"' -DSTUB_MIN_INPUTS=1 -DSTUB_MAX_INPUTS=1 -DSTUB_MIN_OUTPUTS=0 -DSTUB_MAX_OUTPUTS=1 -o $@ $<
tests/lang/types/Shaper.so: $(STUB_SOURCE)
	$(AM_V_CCLD)$(STUB_COMPILE) -DSTUB_NAME='"Shaper"' -DSTUB_ARGUMENTS=1 -DSTUB_MIN_INPUTS=1 -DSTUB_MAX_INPUTS=1 -DSTUB_MIN_OUTPUTS=1 -DSTUB_MAX_OUTPUTS=1 -o $@ $<

check_PROGRAMS += tests/unit/test-lang
tests_unit_test_lang_SOURCES = tests/unit/test-lang.c
tests_unit_test_lang_LDFLAGS = $(AM_LDFLAGS) -Wl,--disable-new-dtags -Wl,-rpath,'$$ORIGIN/../../lib'
tests_unit_test_lang_LDADD = -lflowstream-lang
tests_unit_test_lang_DEPENDENCIES = lib/libflowstream-lang.so $(STUB_TYPES)

# Not part of any other target: tests/fuzz/fuzz_lang -max_total_time=60 tests/fuzz/corpus/lang
tests/fuzz/fuzz_lang: $(top_srcdir)/tests/fuzz/fuzz_lang.c $(lib_libflowstream_lang_so_SOURCES)
	@$(MKDIR_P) tests/fuzz
	$(AM_V_CCLD)$(FUZZ_CC) $(DEFS) $(AM_CPPFLAGS) -std=gnu11 -g -O1 -fno-omit-frame-pointer \
	    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $(top_srcdir)/tests/fuzz/fuzz_lang.c \
	    $(addprefix $(top_srcdir)/,$(filter %.c,$(lib_libflowstream_lang_so_SOURCES)))
