# The command line client.
bin_PROGRAMS += autodl
autodl_SOURCES = \
	cli/address.c cli/address.h \
	cli/client.c cli/client.h \
	cli/cmd.c cli/cmd.h \
	cli/cmd_add.c \
	cli/cmd_control.c \
	cli/cmd_status.c \
	cli/completions.c cli/completions.h \
	cli/help.c cli/help.h \
	cli/login.c cli/login.h \
	cli/main.c \
	cli/netrc.c cli/netrc.h \
	cli/output.c cli/output.h
autodl_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(JSON_CFLAGS)
autodl_LDADD = src/common/libcommon.a $(CURL_LIBS) $(JSON_LIBS)

# Completion scripts come from the program's own tables. Debian: zshcompletiondir of its own.
bashcompletiondir = $(datadir)/bash-completion/completions
zshcompletiondir = $(datadir)/zsh/site-functions
nodist_bashcompletion_DATA = cli/completions/autodl
nodist_zshcompletion_DATA = cli/completions/_autodl
CLEANFILES += cli/completions/autodl cli/completions/_autodl
cli/completions/autodl: autodl
	$(AM_V_GEN)$(MKDIR_P) cli/completions && ./autodl completions bash >$@.new && mv $@.new $@
cli/completions/_autodl: autodl
	$(AM_V_GEN)$(MKDIR_P) cli/completions && ./autodl completions zsh >$@.new && mv $@.new $@
