# Floor 4: answering people.
noinst_LIBRARIES += src/http/libhttp.a
src_http_libhttp_a_SOURCES = \
	src/http/acceptor.c src/http/acceptor.h \
	src/http/accounts.c src/http/accounts.h \
	src/http/auth.c src/http/auth.h \
	src/http/bodies.c src/http/bodies.h \
	src/http/certificate.c src/http/certificate.h \
	src/http/checks.c src/http/checks.h \
	src/http/connections.c src/http/connections.h \
	src/http/daemon.c src/http/daemon.h \
	src/http/drain.c src/http/drain.h \
	src/http/events.c src/http/events.h \
	src/http/fields.c src/http/fields.h \
	src/http/filter_fields.c src/http/filter_fields.h \
	src/http/form.c src/http/form.h \
	src/http/head.c src/http/head.h \
	src/http/http.c src/http/http.h \
	src/http/listen.c src/http/listen.h \
	src/http/logins.c src/http/logins.h \
	src/http/params.c src/http/params.h \
	src/http/passwords.c src/http/passwords.h \
	src/http/peer.c src/http/peer.h \
	src/http/readers.c src/http/readers.h \
	src/http/refusal.c src/http/refusal.h \
	src/http/ring.c src/http/ring.h \
	src/http/routes.c src/http/routes.h \
	src/http/routes_classic.c src/http/routes_classic.h \
	src/http/routes_events.c src/http/routes_events.h \
	src/http/routes_metrics.c src/http/routes_metrics.h \
	src/http/routes_v1.h src/http/routes_v1_add.c src/http/routes_v1_list.c \
	src/http/routes_v1_many.c src/http/routes_v1_service.c src/http/routes_v1_task.c \
	src/http/task_fields.c src/http/task_fields.h \
	src/http/stream.c src/http/stream.h \
	src/http/task_json.c src/http/task_json.h \
	src/http/tls.c src/http/tls.h \
	src/http/v1.c src/http/v1.h
src_http_libhttp_a_CFLAGS = $(AM_CFLAGS) $(MHD_CFLAGS) $(CRYPTO_CFLAGS)
