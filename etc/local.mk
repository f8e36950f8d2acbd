# etc: the platform files that "flowstream up --platform" is given; clients/local.mk copies and installs them.
PLATFORMS = embedded one-computer two-racks
EXTRA_DIST += $(PLATFORMS:%=etc/platforms/%.xml)

# Units for systemd: installed for the operator to look at and enable, see the opening of each.
UNITS = etc/systemd/flowstream-resource.service etc/systemd/flowstream-openflow.service etc/systemd/flowstream-modulehost.service \
    etc/systemd/flowstream-pm.service etc/systemd/flowstream-monitoring.service
EXTRA_DIST += $(UNITS) etc/schemas/daemon.rng
unitdir = $(prefix)/lib/systemd/system
CLEANFILES += $(UNITS:%=%.made)
all-local: $(UNITS:%=%.made)
# The units name the installation's folder of programs.
etc/systemd/%.service.made: etc/systemd/%.service
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)sed -e 's,BINDIR/,$(bindir)/,g' $< > $@.new && mv -f $@.new $@

install-data-local: install-units
install-units: $(UNITS:%=%.made)
	$(MKDIR_P) "$(DESTDIR)$(unitdir)"
	for f in $(UNITS); do $(INSTALL_DATA) $$f.made "$(DESTDIR)$(unitdir)/$${f##*/}" || exit 1; done
.PHONY: install-units
