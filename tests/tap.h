/* Runs one suite of Check tests and speaks TAP on standard output. */
#pragma once

#include <check.h>
#include <stdlib.h>

static inline int tap_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
