# Floor 2: getting a file from the network.
noinst_LIBRARIES += src/transfer/libtransfer.a
src_transfer_libtransfer_a_SOURCES = \
	src/transfer/checksum.c src/transfer/checksum.h \
	src/transfer/download.c src/transfer/download.h \
	src/transfer/gather.c src/transfer/gather.h \
	src/transfer/naming.c src/transfer/naming.h \
	src/transfer/part.c src/transfer/part.h \
	src/transfer/ranges.c src/transfer/ranges.h \
	src/transfer/ratelimit.c src/transfer/ratelimit.h \
	src/transfer/resume.c src/transfer/resume.h \
	src/transfer/retry.c src/transfer/retry.h \
	src/transfer/team.c src/transfer/team.h \
	src/transfer/transfer.c src/transfer/transfer.h
src_transfer_libtransfer_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(CURL_CFLAGS)
