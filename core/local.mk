# libflowstream-core: what every daemon shares and that knows nothing of networks.
noinst_PROGRAMS += lib/libflowstream-core.so
FLOWSTREAM_SHARED += lib/libflowstream-core.so
lib_libflowstream_core_so_SOURCES = \
    core/call.c core/client.c core/client.h core/crash.c core/crash.h core/credentials.c core/credentials.h core/daemon.c core/daemon.h \
    core/describe.c core/describe.h core/door.c core/door.h core/elf.c core/elf.h core/engine.c core/engine.h core/engine_clock.c core/engine_run.c \
    core/engine_parts.h core/failpoint.c core/fence.c core/fence.h core/front.c core/front.h core/images.c core/images.h core/inherit.c core/inherit.h core/listen.c \
    core/listen.h core/loader.c core/loader.h core/log.c core/metrics.c core/metrics.h core/pack.c core/pack.h core/pack_names.def core/parallel.c core/parallel.h core/params.c core/params.h core/place.c core/place.h core/scan.c core/server.c \
    core/server.h core/server_parts.h core/server_request.c core/settings.c core/settings.h core/signature.c core/signature.h core/store.c core/store.h core/store_file.c \
    core/store_private.h core/submit.c core/submit.h core/suggest.c core/suggest.h core/table.c core/table.h core/tally.c core/tally.h core/turns.c core/turns.h core/util.c \
    core/util.h core/value.c core/versions.c core/versions.h core/vet.c core/vet.h core/workers.c core/workers.h core/xmlrpc.c core/xmlrpc.h \
    core/xmlrpc_encode.c
lib_libflowstream_core_so_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(CURL_CFLAGS) $(EXPAT_CFLAGS) $(XML_CFLAGS) $(SQLITE_CFLAGS) \
    $(GNUTLS_CFLAGS) $(SODIUM_CFLAGS)
lib_libflowstream_core_so_LDFLAGS = $(SHARED_LDFLAGS) -Wl,-soname,libflowstream-core.so
lib_libflowstream_core_so_LDADD = $(MHD_LIBS) $(CURL_LIBS) $(EXPAT_LIBS) $(XML_LIBS) $(SQLITE_LIBS) $(GNUTLS_LIBS) $(SODIUM_LIBS) \
    -lxmlrpc -lxmlrpc_util -lcrypt -lpthread -ldl -lm

# The schema of configuration files becomes a string of the library.
BUILT_SOURCES += core/daemon_schema.h
CLEANFILES += core/daemon_schema.h
core/daemon_schema.h: $(top_srcdir)/etc/schemas/daemon.rng
	@$(MKDIR_P) core
	$(AM_V_GEN){ echo '/* Made from etc/schemas/daemon.rng. */'; echo 'static const char daemon_schema[] ='; \
	    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/    "&\\n"/' $<; echo '    ;'; } > $@.new && mv -f $@.new $@
