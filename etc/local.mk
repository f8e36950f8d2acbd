# etc: the platform files that "flowstream up --platform" is given; clients/local.mk copies and installs them.
PLATFORMS = embedded
EXTRA_DIST += $(PLATFORMS:%=etc/platforms/%.xml)
