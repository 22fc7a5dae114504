# The command line client.
bin_PROGRAMS += autodl
autodl_SOURCES = \
	cli/address.c cli/address.h \
	cli/client.c cli/client.h \
	cli/cmd.c cli/cmd.h \
	cli/cmd_add.c \
	cli/cmd_control.c \
	cli/cmd_status.c \
	cli/help.c cli/help.h \
	cli/main.c \
	cli/output.c cli/output.h
autodl_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(JSON_CFLAGS)
autodl_LDADD = src/common/libcommon.a $(CURL_LIBS) $(JSON_LIBS)
