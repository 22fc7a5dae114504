# Floor 2: who runs as whom.
noinst_LIBRARIES += src/privsep/libprivsep.a
src_privsep_libprivsep_a_SOURCES = \
	src/privsep/caps.c src/privsep/caps.h \
	src/privsep/directory.c src/privsep/directory.h \
	src/privsep/filer.c src/privsep/filer.h \
	src/privsep/files.c src/privsep/files.h \
	src/privsep/makedir.c src/privsep/makedir.h \
	src/privsep/monitor.c src/privsep/monitor.h \
	src/privsep/pam.c src/privsep/pam.h \
	src/privsep/privsep.c src/privsep/privsep.h \
	src/privsep/wire.c src/privsep/wire.h
src_privsep_libprivsep_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PAM_CFLAGS)
EXTRA_DIST += src/privsep/autodl.pam
