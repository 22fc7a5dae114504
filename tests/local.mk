# check_MODULE: one module each; test_*: end to end on the real programs; *.sh: on the tree.
AM_TESTS_ENVIRONMENT = \
	AUTODL_SOURCE='$(abs_top_srcdir)'; export AUTODL_SOURCE; \
	AUTODL_BUILD='$(abs_top_builddir)'; export AUTODL_BUILD;
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
TEST_EXTENSIONS = .sh

dist_check_SCRIPTS = tests/test_commands.sh tests/test_completions.sh tests/test_docs.sh \
	tests/test_errands.sh tests/test_floors.sh tests/test_frozen.sh tests/test_nginx.sh \
	tests/test_screens.sh tests/test_secrets.sh tests/test_sftp.sh tests/test_system.sh
TESTS += $(dist_check_SCRIPTS)
EXTRA_DIST += tests/fixtures/make_fixture.c tests/fixtures/schema-1.db tests/fixtures/schema-2.db \
	tests/fixtures/schema-3.db tests/fixtures/schema-4.db
EXTRA_DIST += bench/fair_origin.py
EXTRA_DIST += tests/cli.sh tests/tap.sh tests/test_crash.sh tests/power_cut.sh
EXTRA_DIST += tests/screens/ends tests/screens/list-100 tests/screens/list-40 \
	tests/screens/list-60 tests/screens/list-pipe tests/screens/many tests/screens/minutes \
	tests/screens/paused tests/screens/show tests/screens/stats tests/screens/wait-120 \
	tests/screens/wait-50 tests/screens/wait-80 tests/screens/wait-interrupted \
	tests/screens/watch tests/screens/watch-interrupted tests/screens/watch-pipe

# The Debian packages: on a booted machine; and as packages. As root, and not part of `make check`.
EXTRA_DIST += tests/boot/boot_check.sh tests/boot/first_minutes.expected tests/boot/first_minutes.sh \
	tests/boot/machine.sh tests/boot/package_check.sh tests/boot/packages.sh
boot-check:
	$(AM_TESTS_ENVIRONMENT) $(srcdir)/tests/boot/boot_check.sh
package-check:
	$(AM_TESTS_ENVIRONMENT) $(srcdir)/tests/boot/package_check.sh
.PHONY: boot-check flood fuzz fuzz-targets package-check power-cut soak

if HAVE_CHECK
UNIT_TESTS = \
	tests/check_acceptor \
	tests/check_accounts \
	tests/check_address \
	tests/check_authorisation \
	tests/check_buf \
	tests/check_checksum \
	tests/check_cli \
	tests/check_connections \
	tests/check_distrust \
	tests/check_events \
	tests/check_faults \
	tests/check_files \
	tests/check_helping \
	tests/check_hostile \
	tests/check_grasp \
	tests/check_hosts \
	tests/check_json \
	tests/check_lanes \
	tests/check_log \
	tests/check_mirrors \
	tests/check_naming \
	tests/check_netrc \
	tests/check_passwords \
	tests/check_peer \
	tests/check_queue \
	tests/check_ranges \
	tests/check_ratelimit \
	tests/check_resume \
	tests/check_retry \
	tests/check_ring \
	tests/check_routes_classic \
	tests/check_routes_v1 \
	tests/check_settings \
	tests/check_stats \
	tests/check_store \
	tests/check_task \
	tests/check_team \
	tests/check_transfer \
	tests/check_units \
	tests/check_url \
	tests/check_wire \
	tests/check_yielding
END_TO_END_TESTS = \
	tests/test_after \
	tests/test_attack \
	tests/test_bad_input \
	tests/test_cli \
	tests/test_events \
	tests/test_faults \
	tests/test_floods \
	tests/test_hostile \
	tests/test_mirrors \
	tests/test_passwords \
	tests/test_policy \
	tests/test_ranges \
	tests/test_rates \
	tests/test_resume \
	tests/test_scheduler \
	tests/test_service \
	tests/test_tls \
	tests/test_users \
	tests/test_v1 \
	tests/test_many
check_PROGRAMS += $(UNIT_TESTS) $(END_TO_END_TESTS) tests/origin tests/power_cut tests/soak_crash \
	tests/tables
TESTS += $(UNIT_TESTS) $(END_TO_END_TESTS) tests/test_crash.sh

# Longer than `make check`: ROUNDS=n KILLS=n SEED=n make soak, REQUESTS=n SEED=n make flood, CUTS=n make
# power-cut (as root).
soak: all tests/soak_crash tests/test_events
	$(AM_TESTS_ENVIRONMENT) tests/soak_crash
	$(AM_TESTS_ENVIRONMENT) KILLS=$${KILLS:-100000} CK_RUN_CASE=killed tests/test_events
flood: all tests/test_bad_input tests/test_floods
	$(AM_TESTS_ENVIRONMENT) REQUESTS=$${REQUESTS:-10000} tests/test_bad_input
	$(AM_TESTS_ENVIRONMENT) tests/test_floods
power-cut: all tests/power_cut
	$(AM_TESTS_ENVIRONMENT) $(srcdir)/tests/power_cut.sh
endif

check_LIBRARIES = tests/libtesting.a
tests_libtesting_a_SOURCES = \
	tests/content.c tests/content.h \
	tests/database.c tests/database.h \
	tests/harness.c tests/harness.h \
	tests/hostile.c tests/hostile.h \
	tests/origin.c tests/origin.h \
	tests/people.c tests/people.h \
	tests/sse.c tests/sse.h \
	tests/tap.h \
	tests/v1.c tests/v1.h
tests_libtesting_a_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(MHD_CFLAGS) $(JSON_CFLAGS) $(CURL_CFLAGS) \
	$(SQLITE_CFLAGS)
TEST_LIBS = tests/libtesting.a $(SERVICE_LIBS) $(CHECK_LIBS)

tests_origin_SOURCES = tests/origin_main.c
tests_origin_LDADD = $(TEST_LIBS)

tests_power_cut_SOURCES = tests/power_cut.c
tests_power_cut_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_power_cut_LDADD = $(TEST_LIBS)

tests_soak_crash_SOURCES = tests/soak_crash.c
tests_soak_crash_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_soak_crash_LDADD = $(TEST_LIBS)

tests_tables_SOURCES = tests/tables.c
tests_tables_LDADD = $(TEST_LIBS)

tests_check_acceptor_SOURCES = tests/check_acceptor.c
tests_check_acceptor_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_acceptor_LDADD = $(TEST_LIBS)

tests_check_address_SOURCES = tests/check_address.c
tests_check_address_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_address_LDADD = $(TEST_LIBS)

tests_check_accounts_SOURCES = tests/check_accounts.c
tests_check_accounts_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_accounts_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=units_now_boottime
tests_check_accounts_LDADD = $(TEST_LIBS)

tests_check_buf_SOURCES = tests/check_buf.c
tests_check_buf_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_buf_LDADD = $(TEST_LIBS)

tests_check_checksum_SOURCES = tests/check_checksum.c
tests_check_checksum_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_checksum_LDADD = $(TEST_LIBS)

tests_check_cli_SOURCES = tests/check_cli.c \
	cli/bar.c cli/bar.h cli/cookies.c cli/cookies.h cli/human.c cli/human.h cli/output.c \
	cli/output.h cli/sse.c cli/sse.h cli/url.c cli/url.h cli/view.c cli/view.h cli/width.c cli/width.h
tests_check_cli_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_check_cli_LDADD = $(TEST_LIBS)

tests_check_distrust_SOURCES = tests/check_distrust.c
tests_check_distrust_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_distrust_LDADD = $(TEST_LIBS)

tests_check_connections_SOURCES = tests/check_connections.c
tests_check_connections_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_connections_LDADD = $(TEST_LIBS)

# What the program's own objects call, through tests/check_faults.c.
FAULTS_WRAP = \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray \
	-Wl,--wrap=strdup,--wrap=strndup,--wrap=asprintf,--wrap=__asprintf_chk \
	-Wl,--wrap=sqlite3_open_v2,--wrap=sqlite3_prepare_v2,--wrap=sqlite3_prepare_v3 \
	-Wl,--wrap=sqlite3_exec,--wrap=sqlite3_step \
	-Wl,--wrap=pwrite,--wrap=pread,--wrap=ftruncate,--wrap=fallocate,--wrap=fstat
tests_check_faults_SOURCES = tests/check_faults.c
tests_check_faults_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SQLITE_CFLAGS)
tests_check_faults_LDFLAGS = $(AM_LDFLAGS) $(FAULTS_WRAP)
tests_check_faults_LDADD = $(TEST_LIBS)

tests_check_helping_SOURCES = tests/check_helping.c
tests_check_helping_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_helping_LDADD = $(TEST_LIBS)

tests_check_hostile_SOURCES = tests/check_hostile.c
tests_check_hostile_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_hostile_LDADD = $(TEST_LIBS)

tests_check_json_SOURCES = tests/check_json.c
tests_check_json_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_json_LDADD = $(TEST_LIBS)

tests_check_log_SOURCES = tests/check_log.c
tests_check_log_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_log_LDADD = $(TEST_LIBS)

tests_check_naming_SOURCES = tests/check_naming.c
tests_check_naming_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_naming_LDADD = $(TEST_LIBS)

tests_check_netrc_SOURCES = tests/check_netrc.c cli/netrc.c cli/netrc.h
tests_check_netrc_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_netrc_LDADD = $(TEST_LIBS)

tests_check_passwords_SOURCES = tests/check_passwords.c
tests_check_passwords_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_passwords_LDADD = $(TEST_LIBS)

tests_check_peer_SOURCES = tests/check_peer.c
tests_check_peer_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_peer_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=send
tests_check_peer_LDADD = $(TEST_LIBS)

tests_check_queue_SOURCES = tests/check_queue.c
tests_check_queue_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_queue_LDADD = $(TEST_LIBS)

tests_check_ranges_SOURCES = tests/check_ranges.c
tests_check_ranges_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_ranges_LDADD = $(TEST_LIBS)

tests_check_resume_SOURCES = tests/check_resume.c
tests_check_resume_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_resume_LDADD = $(TEST_LIBS)

tests_check_retry_SOURCES = tests/check_retry.c
tests_check_retry_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_retry_LDADD = $(TEST_LIBS)

ROUTES_BENCH = \
	tests/fake_manager.c tests/fake_manager.h \
	tests/http_bench.c tests/http_bench.h
tests_check_authorisation_SOURCES = tests/check_authorisation.c tests/who_may.c tests/who_may.h \
	$(ROUTES_BENCH)
tests_check_authorisation_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_authorisation_LDADD = $(TEST_LIBS)

tests_check_events_SOURCES = tests/check_events.c $(ROUTES_BENCH)
tests_check_events_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_events_LDADD = $(TEST_LIBS)

tests_check_ring_SOURCES = tests/check_ring.c
tests_check_ring_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_ring_LDADD = $(TEST_LIBS)

tests_check_routes_classic_SOURCES = tests/check_routes_classic.c $(ROUTES_BENCH)
tests_check_routes_classic_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_routes_classic_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=accounts_find
tests_check_routes_classic_LDADD = $(TEST_LIBS)

tests_check_routes_v1_SOURCES = tests/check_routes_v1.c $(ROUTES_BENCH)
tests_check_routes_v1_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_routes_v1_LDADD = $(TEST_LIBS)

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

tests_check_team_SOURCES = tests/check_team.c
tests_check_team_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_team_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=address_kind,--wrap=getifaddrs
tests_check_team_LDADD = $(TEST_LIBS)

tests_check_transfer_SOURCES = tests/check_transfer.c
tests_check_transfer_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_transfer_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=address_judge,--wrap=address_kind,--wrap=getifaddrs
tests_check_transfer_LDADD = $(TEST_LIBS)

tests_check_url_SOURCES = tests/check_url.c
tests_check_url_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_url_LDADD = $(TEST_LIBS)

tests_check_units_SOURCES = tests/check_units.c
tests_check_units_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_units_LDADD = $(TEST_LIBS)

tests_check_wire_SOURCES = tests/check_wire.c
tests_check_wire_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_wire_LDADD = $(TEST_LIBS)

tests_test_attack_SOURCES = tests/test_attack.c
tests_test_attack_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_attack_LDADD = $(TEST_LIBS)

tests_test_bad_input_SOURCES = tests/test_bad_input.c
tests_test_bad_input_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_bad_input_LDADD = $(TEST_LIBS)

tests_test_cli_SOURCES = tests/test_cli.c
tests_test_cli_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_cli_LDADD = $(TEST_LIBS)

tests_test_events_SOURCES = tests/test_events.c
tests_test_events_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_events_LDADD = $(TEST_LIBS)

# Loaded into the service by tests/test_faults.c: no libtool, no sanitizer, no hardening.
check_DATA = tests/fault.so
CLEANFILES += tests/fault.so
EXTRA_DIST += tests/fault.c
tests/fault.so: $(srcdir)/tests/fault.c $(srcdir)/tests/fault.h
	$(AM_V_CC)$(MKDIR_P) tests && $(CC) -std=gnu11 -D_GNU_SOURCE -O2 -fno-builtin -shared -fPIC \
		-o $@ $(srcdir)/tests/fault.c
tests_test_faults_SOURCES = tests/test_faults.c tests/fault.h
tests_test_faults_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_faults_LDADD = $(TEST_LIBS)

tests_test_floods_SOURCES = tests/test_floods.c
tests_test_floods_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_floods_LDADD = $(TEST_LIBS)

tests_test_hostile_SOURCES = tests/test_hostile.c
tests_test_hostile_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_hostile_LDADD = $(TEST_LIBS)

tests_test_many_SOURCES = tests/test_many.c
tests_test_many_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS) $(SQLITE_CFLAGS)
tests_test_many_LDADD = $(TEST_LIBS)

tests_test_v1_SOURCES = tests/test_v1.c
tests_test_v1_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS) $(SQLITE_CFLAGS)
tests_test_v1_LDADD = $(TEST_LIBS)

tests_test_scheduler_SOURCES = tests/test_scheduler.c
tests_test_scheduler_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_scheduler_LDADD = $(TEST_LIBS)

tests_test_passwords_SOURCES = tests/test_passwords.c
tests_test_passwords_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_passwords_LDADD = $(TEST_LIBS) -lcrypt

tests_test_policy_SOURCES = tests/test_policy.c
tests_test_policy_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_policy_LDADD = $(TEST_LIBS)

tests_test_mirrors_SOURCES = tests/test_mirrors.c
tests_test_mirrors_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_test_mirrors_LDADD = $(TEST_LIBS)

tests_test_after_SOURCES = tests/test_after.c
tests_test_after_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_after_LDADD = $(TEST_LIBS)

tests_test_rates_SOURCES = tests/test_rates.c
tests_test_rates_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_rates_LDADD = $(TEST_LIBS)

tests_test_ranges_SOURCES = tests/test_ranges.c
tests_test_ranges_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_test_ranges_LDADD = $(TEST_LIBS)

tests_test_resume_SOURCES = tests/test_resume.c
tests_test_resume_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_test_resume_LDADD = $(TEST_LIBS)

tests_test_service_SOURCES = tests/test_service.c
tests_test_service_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS) $(SQLITE_CFLAGS)
tests_test_service_LDADD = $(TEST_LIBS)

tests_test_tls_SOURCES = tests/test_tls.c tests/pki.c tests/pki.h
tests_test_tls_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(MHD_CFLAGS) $(CURL_CFLAGS) $(CRYPTO_CFLAGS)
tests_test_tls_LDADD = $(TEST_LIBS)

tests_test_users_SOURCES = tests/test_users.c tests/who_may.c tests/who_may.h
tests_test_users_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSON_CFLAGS)
tests_test_users_LDADD = $(TEST_LIBS)

tests_check_files_SOURCES = tests/check_files.c
tests_check_files_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_files_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=prctl
tests_check_files_LDADD = $(TEST_LIBS)

tests_check_yielding_SOURCES = tests/check_yielding.c
tests_check_yielding_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_yielding_LDADD = $(TEST_LIBS)

tests_check_ratelimit_SOURCES = tests/check_ratelimit.c
tests_check_ratelimit_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_ratelimit_LDADD = $(TEST_LIBS)

tests_check_mirrors_SOURCES = tests/check_mirrors.c
tests_check_mirrors_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_mirrors_LDADD = $(TEST_LIBS)

tests_check_grasp_SOURCES = tests/check_grasp.c
tests_check_grasp_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_grasp_LDADD = $(TEST_LIBS)

tests_check_hosts_SOURCES = tests/check_hosts.c
tests_check_hosts_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_hosts_LDADD = $(TEST_LIBS)

tests_check_lanes_SOURCES = tests/check_lanes.c
tests_check_lanes_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_lanes_LDADD = $(TEST_LIBS)
