# Fuzzers (HACKING): real ones by `make fuzz`, which builds them apart; here they replay what is in
# tests/fuzz/corpus.
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/fuzz.sh \
	tests/fuzz/checks.dict tests/fuzz/cli.dict tests/fuzz/files.dict tests/fuzz/headers.dict \
	tests/fuzz/http.dict tests/fuzz/json.dict tests/fuzz/naming.dict tests/fuzz/request.dict \
	tests/fuzz/settings.dict tests/fuzz/units.dict tests/fuzz/wire.dict

if HAVE_CHECK
FUZZ_TARGETS = \
	tests/fuzz/fuzz_checks \
	tests/fuzz/fuzz_cli \
	tests/fuzz/fuzz_files \
	tests/fuzz/fuzz_headers \
	tests/fuzz/fuzz_http \
	tests/fuzz/fuzz_json \
	tests/fuzz/fuzz_naming \
	tests/fuzz/fuzz_request \
	tests/fuzz/fuzz_settings \
	tests/fuzz/fuzz_units \
	tests/fuzz/fuzz_wire
check_PROGRAMS += $(FUZZ_TARGETS)
TESTS += $(FUZZ_TARGETS)

# FUZZ_SECONDS=n make fuzz
fuzz:
	$(AM_TESTS_ENVIRONMENT) $(srcdir)/tests/fuzz/fuzz.sh
fuzz-targets: $(FUZZ_TARGETS)
endif

check_LIBRARIES += tests/fuzz/libfuzz.a
tests_fuzz_libfuzz_a_SOURCES = tests/fuzz/fuzz.c tests/fuzz/fuzz.h
if !FUZZERS
tests_fuzz_libfuzz_a_SOURCES += tests/fuzz/replay.c
endif
FUZZ_FLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
FUZZ_LIBS = tests/fuzz/libfuzz.a $(SERVICE_LIBS)

tests_fuzz_fuzz_checks_SOURCES = tests/fuzz/fuzz_checks.c
tests_fuzz_fuzz_checks_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS)
tests_fuzz_fuzz_checks_LDFLAGS = $(FUZZ_FLAGS)
tests_fuzz_fuzz_checks_LDADD = $(FUZZ_LIBS)

# The client's own reading, which is static, is part of the fuzzer; main is not wanted.
tests_fuzz_fuzz_cli_SOURCES = \
	tests/fuzz/fuzz_cli.c \
	$(CLI_ROOMS)
tests_fuzz_fuzz_cli_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(JSON_CFLAGS)
tests_fuzz_fuzz_cli_LDFLAGS = $(FUZZ_FLAGS)
tests_fuzz_fuzz_cli_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_files_SOURCES = tests/fuzz/fuzz_files.c
tests_fuzz_fuzz_files_LDFLAGS = $(FUZZ_FLAGS) -Wl,--wrap=socketpair
tests_fuzz_fuzz_files_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_headers_SOURCES = tests/fuzz/fuzz_headers.c
tests_fuzz_fuzz_headers_LDFLAGS = $(FUZZ_FLAGS)
tests_fuzz_fuzz_headers_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_http_SOURCES = tests/fuzz/fuzz_http.c tests/fake_manager.c tests/fake_manager.h
tests_fuzz_fuzz_http_CFLAGS = $(AM_CFLAGS) $(MHD_CFLAGS)
tests_fuzz_fuzz_http_LDFLAGS = $(FUZZ_FLAGS) -Wl,--wrap=MHD_start_daemon
tests_fuzz_fuzz_http_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_json_SOURCES = tests/fuzz/fuzz_json.c
tests_fuzz_fuzz_json_LDFLAGS = $(FUZZ_FLAGS)
tests_fuzz_fuzz_json_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_naming_SOURCES = tests/fuzz/fuzz_naming.c
tests_fuzz_fuzz_naming_LDFLAGS = $(FUZZ_FLAGS)
tests_fuzz_fuzz_naming_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_request_SOURCES = tests/fuzz/fuzz_request.c
tests_fuzz_fuzz_request_LDFLAGS = $(FUZZ_FLAGS)
tests_fuzz_fuzz_request_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_settings_SOURCES = tests/fuzz/fuzz_settings.c
tests_fuzz_fuzz_settings_LDFLAGS = $(FUZZ_FLAGS)
tests_fuzz_fuzz_settings_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_units_SOURCES = tests/fuzz/fuzz_units.c
tests_fuzz_fuzz_units_LDFLAGS = $(FUZZ_FLAGS)
tests_fuzz_fuzz_units_LDADD = $(FUZZ_LIBS)

tests_fuzz_fuzz_wire_SOURCES = tests/fuzz/fuzz_wire.c
tests_fuzz_fuzz_wire_LDFLAGS = $(FUZZ_FLAGS) -Wl,--wrap=readlink
tests_fuzz_fuzz_wire_LDADD = $(FUZZ_LIBS)
