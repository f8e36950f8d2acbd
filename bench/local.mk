# bench: programs that measure; "make bench/lang/bench_lang" and run it.
EXTRA_PROGRAMS += bench/lang/bench_lang
bench_lang_bench_lang_SOURCES = bench/lang/bench_lang.c
bench_lang_bench_lang_LDFLAGS = $(AM_LDFLAGS) -Wl,--disable-new-dtags -Wl,-rpath,'$$ORIGIN/../../lib'
bench_lang_bench_lang_LDADD = -lflowstream-lang
bench_lang_bench_lang_DEPENDENCIES = lib/libflowstream-lang.so
