# check_MODULE: one module each; test_*: end to end on the real programs; *.sh: on the tree.
AM_TESTS_ENVIRONMENT = \
	AUTODL_SOURCE='$(abs_top_srcdir)'; export AUTODL_SOURCE; \
	AUTODL_BUILD='$(abs_top_builddir)'; export AUTODL_BUILD;
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
TEST_EXTENSIONS = .sh

dist_check_SCRIPTS = tests/test_docs.sh tests/test_floors.sh tests/test_nginx.sh
TESTS += $(dist_check_SCRIPTS)
EXTRA_DIST += tests/tap.sh

if HAVE_CHECK
UNIT_TESTS = \
	tests/check_buf \
	tests/check_files \
	tests/check_json \
	tests/check_log \
	tests/check_naming \
	tests/check_peer \
	tests/check_queue \
	tests/check_routes_classic \
	tests/check_settings \
	tests/check_stats \
	tests/check_store \
	tests/check_task \
	tests/check_transfer \
	tests/check_units \
	tests/check_wire
END_TO_END_TESTS = \
	tests/test_bad_input \
	tests/test_cli \
	tests/test_service \
	tests/test_users
check_PROGRAMS += $(UNIT_TESTS) $(END_TO_END_TESTS) tests/origin
TESTS += $(UNIT_TESTS) $(END_TO_END_TESTS)
endif

check_LIBRARIES = tests/libtesting.a
tests_libtesting_a_SOURCES = \
	tests/harness.c tests/harness.h \
	tests/origin.c tests/origin.h \
	tests/tap.h
tests_libtesting_a_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(MHD_CFLAGS) $(JSON_CFLAGS) $(CURL_CFLAGS)
TEST_LIBS = tests/libtesting.a $(SERVICE_LIBS) $(CHECK_LIBS)

tests_origin_SOURCES = tests/origin_main.c
tests_origin_LDADD = $(TEST_LIBS)

tests_check_buf_SOURCES = tests/check_buf.c
tests_check_buf_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_buf_LDADD = $(TEST_LIBS)

tests_check_json_SOURCES = tests/check_json.c
tests_check_json_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_json_LDADD = $(TEST_LIBS)

tests_check_log_SOURCES = tests/check_log.c
tests_check_log_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_log_LDADD = $(TEST_LIBS)

tests_check_naming_SOURCES = tests/check_naming.c
tests_check_naming_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_naming_LDADD = $(TEST_LIBS)

tests_check_peer_SOURCES = tests/check_peer.c
tests_check_peer_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_peer_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=send
tests_check_peer_LDADD = $(TEST_LIBS)

tests_check_queue_SOURCES = tests/check_queue.c
tests_check_queue_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_queue_LDADD = $(TEST_LIBS)

tests_check_routes_classic_SOURCES = tests/check_routes_classic.c
tests_check_routes_classic_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_routes_classic_LDADD = $(TEST_LIBS)

tests_check_settings_SOURCES = tests/check_settings.c
tests_check_settings_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_settings_LDADD = $(TEST_LIBS)

tests_check_stats_SOURCES = tests/check_stats.c
tests_check_stats_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_stats_LDADD = $(TEST_LIBS)

tests_check_store_SOURCES = tests/check_store.c
tests_check_store_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_store_LDADD = $(TEST_LIBS)

tests_check_task_SOURCES = tests/check_task.c
tests_check_task_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_task_LDADD = $(TEST_LIBS)

tests_check_transfer_SOURCES = tests/check_transfer.c
tests_check_transfer_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_transfer_LDADD = $(TEST_LIBS)

tests_check_units_SOURCES = tests/check_units.c
tests_check_units_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_units_LDADD = $(TEST_LIBS)

tests_check_wire_SOURCES = tests/check_wire.c
tests_check_wire_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_wire_LDADD = $(TEST_LIBS)

tests_test_bad_input_SOURCES = tests/test_bad_input.c
tests_test_bad_input_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_bad_input_LDADD = $(TEST_LIBS)

tests_test_cli_SOURCES = tests/test_cli.c
tests_test_cli_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_cli_LDADD = $(TEST_LIBS)

tests_test_service_SOURCES = tests/test_service.c
tests_test_service_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_service_LDADD = $(TEST_LIBS)

tests_test_users_SOURCES = tests/test_users.c
tests_test_users_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_users_LDADD = $(TEST_LIBS)

tests_check_files_SOURCES = tests/check_files.c
tests_check_files_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_files_LDADD = $(TEST_LIBS)
