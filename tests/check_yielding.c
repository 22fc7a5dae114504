#include "tap.h"
#include "yielding.h"

#define S  1000
#define KB 1024

static const struct {
    struct yielding yielding;
    bool may;
} cases[] = {
  /* ran, rate, share, lost, before */
    {{9999, 0, 0, 0, 0},                   false},
    {{10 * S, 0, 0, 0, 0},                 true },
    {{10 * S, 16 * KB - 1, 0, 0, 0},       true },
    {{10 * S, 16 * KB, 0, 0, 0},           false},
    {{10 * S, -1, 0, 0, 0},                false}, /* nothing is known of it */
    {{10 * S, 0, 0, 64 * KB, 0},           true },
    {{10 * S, 0, 0, 64 * KB + 1, 0},       false}, /* that would be fetched again */
    {{29999, 0, 0, INT64_MAX, 0},          false},
    {{30 * S, 0, 0, INT64_MAX, 0},         true },
    {{19999, 0, 0, 0, 1},                  false},
    {{20 * S, 0, 0, 0, 1},                 true },
    {{159999, 0, 0, 0, 4},                 false},
    {{160 * S, 0, 0, 0, 4},                true },
    {{160 * S, 0, 0, 0, 255},              true },
    {{480 * S, 0, 0, INT64_MAX, 255},      true },
    {{10 * S, 1000, 2000, 0, 0},           false}, /* as fast as it may be */
    {{10 * S, 999, 2000, 0, 0},            true },
    {{10 * S, 16 * KB, 1000000, 0, 0},     false},
    {{10 * S, 16 * KB - 1, 1 << 20, 0, 0}, true },
};

START_TEST(decides)
{
    ck_assert_int_eq(yielding_may(&cases[_i].yielding), cases[_i].may);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("yielding");
    TCase *tcase = tcase_create("yielding");
    tcase_add_loop_test(tcase, decides, 0, sizeof cases / sizeof *cases);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return tap_main(suite());
}
