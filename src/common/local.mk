# Floor 0: what both programs use.
noinst_LIBRARIES += src/common/libcommon.a
src_common_libcommon_a_SOURCES = \
	src/common/api.h \
	src/common/buf.c src/common/buf.h \
	src/common/cleanup.h \
	src/common/json.c src/common/json.h \
	src/common/log.c src/common/log.h \
	src/common/units.c src/common/units.h \
	src/common/visible.c src/common/visible.h
src_common_libcommon_a_CFLAGS = $(AM_CFLAGS) $(JSON_CFLAGS)
