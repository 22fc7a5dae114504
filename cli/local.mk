# The command line client.
bin_PROGRAMS += autodl
autodl_SOURCES = \
	$(CLI_ROOMS) \
	cli/client.c cli/client.h \
	cli/completions.c cli/completions.h \
	cli/help.c cli/help.h \
	cli/main.c \
	cli/options.c cli/options.h
# Those below the tables and above the service, which the fuzzer takes the place of.
CLI_ROOMS = \
	cli/address.c cli/address.h \
	cli/bar.c cli/bar.h \
	cli/cmd.c cli/cmd.h \
	cli/cmd_add.c \
	cli/cmd_control.c \
	cli/cmd_list.c \
	cli/cmd_settings.c \
	cli/cmd_stats.c \
	cli/cmd_status.c \
	cli/cmd_task.c \
	cli/cmd_watch.c \
	cli/cookies.c cli/cookies.h \
	cli/follow.c cli/follow.h \
	cli/given.c cli/given.h \
	cli/human.c cli/human.h \
	cli/input.c cli/input.h \
	cli/live.c cli/live.h \
	cli/login.c cli/login.h \
	cli/netrc.c cli/netrc.h \
	cli/output.c cli/output.h \
	cli/path.c cli/path.h \
	cli/pauses.c cli/pauses.h \
	cli/sse.c cli/sse.h \
	cli/ssh.c cli/ssh.h \
	cli/table.c cli/table.h \
	cli/tasks.c cli/tasks.h \
	cli/url.c cli/url.h \
	cli/view.c cli/view.h \
	cli/width.c cli/width.h \
	cli/wish.c cli/wish.h
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
