# alloc: the allocator library and flowstream-alloc

noinst_PROGRAMS += lib/libflowstream-alloc.so
FLOWSTREAM_SHARED += lib/libflowstream-alloc.so
lib_libflowstream_alloc_so_SOURCES = \
	alloc/bounds.c alloc/bounds.h \
	alloc/check.c \
	alloc/exact.c alloc/exact.h \
	alloc/flow.c alloc/flow.h \
	alloc/greedy.c \
	alloc/load.c alloc/load.h \
	alloc/memory.c alloc/memory.h \
	alloc/objectives.c alloc/objectives.h alloc/objectives.def \
	alloc/pack.c \
	alloc/platform.c \
	alloc/platform_check.c \
	alloc/proof.c \
	alloc/rack.c alloc/rack.h \
	alloc/rack_build.c \
	alloc/rack_mend.c \
	alloc/relieve.c \
	alloc/routes.c alloc/routes.h \
	alloc/search.c alloc/search.h \
	alloc/services.c \
	alloc/solution.c alloc/solution.h \
	alloc/state.c alloc/state.h \
	alloc/tabu.c alloc/tabu.h \
	alloc/tabu_moves.c \
	alloc/xml.c alloc/xml.h
nodist_lib_libflowstream_alloc_so_SOURCES = alloc/schemas.h
lib_libflowstream_alloc_so_CPPFLAGS = $(AM_CPPFLAGS) $(XML_CFLAGS)
lib_libflowstream_alloc_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-alloc.so
lib_libflowstream_alloc_so_LDADD = $(XML_LIBS) -lglpk -lm

bin_PROGRAMS += bin/flowstream-alloc
bin_flowstream_alloc_SOURCES = alloc/main.c alloc/trace.c alloc/trace.h
bin_flowstream_alloc_LDFLAGS = $(PROGRAM_LDFLAGS)
bin_flowstream_alloc_LDADD = -lflowstream-alloc
bin_flowstream_alloc_DEPENDENCIES = lib/libflowstream-alloc.so

# The schemas are part of the library, so that no program has to find them.
ALLOC_SCHEMAS = etc/schemas/platform.rng etc/schemas/services.rng
EXTRA_DIST += $(ALLOC_SCHEMAS) alloc/embed.awk
BUILT_SOURCES += alloc/schemas.h
CLEANFILES += alloc/schemas.h

alloc/schemas.h: $(ALLOC_SCHEMAS) alloc/embed.awk
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)cd $(top_srcdir) && awk -f alloc/embed.awk $(ALLOC_SCHEMAS) > $(abs_top_builddir)/$@.new && \
	    mv -f $(abs_top_builddir)/$@.new $(abs_top_builddir)/$@
