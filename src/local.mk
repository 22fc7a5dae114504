# Floors 3 and 5: the verbs, and the program.
noinst_LIBRARIES += src/libmanager.a
src_libmanager_a_SOURCES = \
	src/active.c src/active.h \
	src/admission.c src/admission.h \
	src/together.c src/together.h \
	src/attempt.c src/attempt.h \
	src/batch.c src/batch.h \
	src/dependants.c src/dependants.h \
	src/disk.c src/disk.h \
	src/engine.c src/engine.h \
	src/filter.c src/filter.h \
	src/failure.c src/failure.h \
	src/finisher.c src/finisher.h \
	src/help.c src/help.h \
	src/grasp.c src/grasp.h \
	src/hosts.c src/hosts.h \
	src/knobs.c src/knobs.h \
	src/lanes.c src/lanes.h \
	src/lists.c src/lists.h \
	src/manager.c src/manager.h \
	src/many.c src/many.h \
	src/overview.c src/overview.h \
	src/mirrors.c src/mirrors.h \
	src/put_back.c src/put_back.h \
	src/removal.c src/removal.h \
	src/takeover.c src/takeover.h \
	src/timer.c src/timer.h \
	src/verbs.c src/verbs.h \
	src/worker.c src/worker.h \
	src/yielding.c src/yielding.h

SERVICE_LIBS = \
	src/http/libhttp.a \
	src/libmanager.a \
	src/store/libstore.a \
	src/privsep/libprivsep.a \
	src/transfer/libtransfer.a \
	src/core/libcore.a \
	src/common/libcommon.a \
	$(MHD_LIBS) $(CURL_LIBS) $(CRYPTO_LIBS) $(SQLITE_LIBS) $(SYSTEMD_LIBS) $(PAM_LIBS) $(JSON_LIBS)

sbin_PROGRAMS += autodl-service
autodl_service_SOURCES = \
	src/main.c \
	src/names.c src/names.h \
	src/service.c src/service.h
autodl_service_LDADD = $(SERVICE_LIBS)
