# What systemd, PAM and administrators need of the service. Where the units go is configure's affair.
SYSTEM_FILES = system/autodl.conf system/systemd/autodl-service.service \
	system/systemd/user/autodl-service.service
EXTRA_DIST += $(SYSTEM_FILES:=.in)
CLEANFILES += $(SYSTEM_FILES)
$(SYSTEM_FILES): Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && sed -e 's,@sbindir[@],$(sbindir),g' \
		-e 's,@PACKAGE_VERSION[@],$(PACKAGE_VERSION),g' $(srcdir)/$@.in >$@
system/autodl.conf: $(srcdir)/system/autodl.conf.in
system/systemd/autodl-service.service: $(srcdir)/system/systemd/autodl-service.service.in
system/systemd/user/autodl-service.service: $(srcdir)/system/systemd/user/autodl-service.service.in

systemunitdir = @systemdsystemunitdir@
systemunit_DATA = system/systemd/autodl-service.service
userunitdir = $(prefix)/lib/systemd/user
userunit_DATA = system/systemd/user/autodl-service.service
sysusersdir = $(prefix)/lib/sysusers.d
dist_sysusers_DATA = system/sysusers.d/autodl.conf
examplesdir = $(docdir)/examples
examples_DATA = system/autodl.conf
dist_examples_DATA = system/examples/extra-directories.conf system/examples/strict.conf
pamexampledir = $(examplesdir)/pam.d
dist_pamexample_DATA = system/pam.d/autodl
