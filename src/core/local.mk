# Floor 1: pure logic.
noinst_LIBRARIES += src/core/libcore.a
src_core_libcore_a_SOURCES = \
	src/core/address.c src/core/address.h \
	src/core/heap.c src/core/heap.h \
	src/core/helping.c src/core/helping.h \
	src/core/queue.c src/core/queue.h \
	src/core/settings.c src/core/settings.h \
	src/core/stats.c src/core/stats.h \
	src/core/table.c src/core/table.h \
	src/core/task.c src/core/task.h \
	src/core/url.c src/core/url.h \
	src/core/waiting.c src/core/waiting.h
