# The command flowstream and the Python package behind it.  Python needs no building, but the package is copied to where the
# command looks for it, so that a build is used like an installation.
PYTHON_MODULES = __init__ change cli client embedded errors fabric folder mend netns pcap ports processes staged supervision topology trail words
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


# For those who write loadables: in the build folder with the headers of the sources, installed with the installed ones.
CONFIGURED = sed -e 's|%VERSION%|$(PACKAGE_VERSION)|' -e 's|%SANITIZE%|$(SANITIZE)|'
EXTRA_DIST += clients/flowstream-config.in clients/flowstream.pc.in
CLEANFILES += bin/flowstream-config lib/pkgconfig/flowstream.pc
all-local: bin/flowstream-config lib/pkgconfig/flowstream.pc
bin/flowstream-config: clients/flowstream-config.in
	$(AM_V_GEN)$(CONFIGURED) -e 's|%INCLUDE%|$(abs_top_srcdir)/include|' $< > $@.new && chmod 755 $@.new && mv -f $@.new $@
lib/pkgconfig/flowstream.pc: clients/flowstream.pc.in
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(CONFIGURED) -e 's|%INCLUDE%|$(abs_top_srcdir)/include|' $< > $@.new && mv -f $@.new $@

install-data-local: install-clients
install-clients: bin/flowstream $(PYTHON_FILES) $(PLATFORM_FILES)
	$(MKDIR_P) "$(DESTDIR)$(bindir)" "$(DESTDIR)$(libdir)/flowstream/python/flowstream" \
	    "$(DESTDIR)$(libdir)/flowstream/platforms" "$(DESTDIR)$(datadir)/bash-completion/completions"
	$(INSTALL_SCRIPT) bin/flowstream "$(DESTDIR)$(bindir)/flowstream"
	$(MKDIR_P) "$(DESTDIR)$(libdir)/pkgconfig"
	$(CONFIGURED) -e 's|%INCLUDE%|$(includedir)|' $(srcdir)/clients/flowstream-config.in > "$(DESTDIR)$(bindir)/flowstream-config"
	chmod 755 "$(DESTDIR)$(bindir)/flowstream-config"
	$(CONFIGURED) -e 's|%INCLUDE%|$(includedir)|' $(srcdir)/clients/flowstream.pc.in > "$(DESTDIR)$(libdir)/pkgconfig/flowstream.pc"
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
