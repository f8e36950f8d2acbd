# lang: the allocation language as a library, and as a command on files
noinst_PROGRAMS += lib/libflowstream-lang.so
FLOWSTREAM_SHARED += lib/libflowstream-lang.so
lib_libflowstream_lang_so_SOURCES = lang/lang.c lang/lexer.c lang/parser.c lang/parser_elements.c lang/keywords.c lang/check.c lang/ports.c lang/args.c \
    lang/graph.c lang/parts.c lang/parameters.c lang/units.c lang/delays.c lang/warnings.c lang/format.c lang/request.c lang/diagnostics.c lang/arena.c lang/table.c lang/text.c core/suggest.c \
    lang/arena.h lang/check.h lang/diagnostics.h lang/document.h lang/keywords.h lang/lexer.h lang/parser.h lang/settings.h core/suggest.h lang/syntax.h \
    lang/table.h lang/text.h lang/units.h lang/utf8.h lang/keywords.def include/flowstream/api.h include/flowstream/lang.h include/flowstream/request.h
lib_libflowstream_lang_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-lang.so

bin_PROGRAMS += bin/flowstream-lang
bin_flowstream_lang_SOURCES = lang/main.c lang/files.c lang/types.c lang/files.h lang/types.h
bin_flowstream_lang_LDFLAGS = $(PROGRAM_LDFLAGS)
bin_flowstream_lang_LDADD = -lflowstream-lang
bin_flowstream_lang_DEPENDENCIES = lib/libflowstream-lang.so

# The syntax files for editors are kept as they were made; the tests say when they are not up to date.
EXTRA_DIST += lang/make-syntax.py etc/editors/flowstream.vim etc/editors/flowstream.tmLanguage.json
editors:
	$(PYTHON) $(top_srcdir)/lang/make-syntax.py
.PHONY: editors
