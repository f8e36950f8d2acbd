# The command flowstream and the Python package behind it.  Python needs no building, but the package is copied to where the
# command looks for it, so that a build is used like an installation.
PYTHON_MODULES = __init__ cli client embedded errors fabric folder netns pcap ports processes staged topology trail words
PYTHON_FILES = $(PYTHON_MODULES:%=lib/flowstream/python/flowstream/%.py)
PLATFORM_FILES = $(PLATFORMS:%=lib/flowstream/platforms/%.xml)

EXTRA_DIST += clients/flowstream clients/completion/flowstream.bash $(PYTHON_MODULES:%=clients/python/flowstream/%.py)
CLEANFILES += bin/flowstream

all-local: bin/flowstream $(PYTHON_FILES) $(PLATFORM_FILES)

bin/flowstream: clients/flowstream
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)cp $< $@.new && chmod 755 $@.new && mv -f $@.new $@

lib/flowstream/python/flowstream/%.py: clients/python/flowstream/%.py
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)cp $< $@.new && mv -f $@.new $@

lib/flowstream/platforms/%.xml: etc/platforms/%.xml
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)cp $< $@.new && mv -f $@.new $@


install-data-local: install-clients
install-clients: bin/flowstream $(PYTHON_FILES) $(PLATFORM_FILES)
	$(MKDIR_P) "$(DESTDIR)$(bindir)" "$(DESTDIR)$(libdir)/flowstream/python/flowstream" \
	    "$(DESTDIR)$(libdir)/flowstream/platforms" "$(DESTDIR)$(datadir)/bash-completion/completions"
	$(INSTALL_SCRIPT) bin/flowstream "$(DESTDIR)$(bindir)/flowstream"
	$(INSTALL_DATA) $(PYTHON_FILES) "$(DESTDIR)$(libdir)/flowstream/python/flowstream"
	$(INSTALL_DATA) $(PLATFORM_FILES) "$(DESTDIR)$(libdir)/flowstream/platforms"
	$(INSTALL_DATA) $(srcdir)/clients/completion/flowstream.bash \
	    "$(DESTDIR)$(datadir)/bash-completion/completions/flowstream"
.PHONY: install-clients

bin_PROGRAMS += bin/flowstream-sign
bin_flowstream_sign_SOURCES = clients/sign.c
bin_flowstream_sign_CPPFLAGS = $(AM_CPPFLAGS) $(SODIUM_CFLAGS)
bin_flowstream_sign_LDFLAGS = $(PROGRAM_LDFLAGS)
bin_flowstream_sign_LDADD = -lflowstream-core $(SODIUM_LIBS)
bin_flowstream_sign_DEPENDENCIES = lib/libflowstream-core.so
