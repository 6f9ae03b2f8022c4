#include "markup.h"

#include "base/size.h"
#include "report/svg.h"

static void numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        int decimals;
        const char *text;
    } cases[] = {
        {0, 0, "0"},        {0, 2, "0.00"},     {1.005, 1, "1.0"},       {-0.001, 2, "0.00"},
        {-1.25, 1, "-1.3"}, {0.05, 3, "0.050"}, {123456.7, 0, "123457"}, {NAN, 2, "-"},
        {INFINITY, 2, "-"}, {1e300, 2, "-"},    {9.9999, 2, "10.00"},    {2.5, 99, "2.500000000"}};
    char out[RZ_NUMBER_TEXT];
    for (size_t i = 0; i < RZ_COUNT(cases); i++)
        assert_string_equal(rz_number_text(cases[i].value, cases[i].decimals, out), cases[i].text);
}

static void escaping(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_buffer out;
    rz_buffer_init(&out, 1000);
    check_ok(rz_escape(&out, "<script>\"a\" & 'b'\x01\x1b</script> 腎"));
    assert_string_equal(out.data,
                        "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt; 腎");
    rz_buffer_done(&out);
}

static void check_ticks(double low, double high, bool logarithmic, const char *wanted)
{
    double ticks[16];
    char text[256] = "";
    size_t n = rz_ticks(low, high, logarithmic, 5, ticks, 16);
    for (size_t i = 0; i < n; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%g", i > 0 ? " " : "",
                       ticks[i]);
    if (strcmp(text, wanted) != 0)
        fail_msg("%g to %g: %s, wanted %s", low, high, text, wanted);
}

static void ticks_are_round(void **state)
{
    (void)state;
    check_ticks(0, 1, false, "0 0.2 0.4 0.6 0.8 1");
    check_ticks(0, 900, false, "0 200 400 600 800");
    check_ticks(-0.3, 0.3, false, "-0.3 -0.2 -0.1 0 0.1 0.2 0.3");
    check_ticks(3.9, 7.7, false, "4 5 6 7");
    check_ticks(0.001, 1, true, "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1");
    check_ticks(1e-6, 10, true, "1e-06 1e-05 0.0001 0.001 0.01 0.1 1 10");
    check_ticks(1e-9, 10, true, "1e-09 1e-07 1e-05 0.001 0.1 10");
    check_ticks(1, 1, false, "");
    check_ticks(0, 1, true, "");
    check_ticks(NAN, 1, false, "");
    check_near(rz_round_up(0.23), 0.25, 1e-12);
    check_near(rz_round_up(0.3), 0.3, 1e-12);
    check_near(rz_round_up(91), 100, 1e-9);
    check_near(rz_round_up(0), 1, 0);
}

static void values_outside_stop_at_the_frame(void **state)
{
    (void)state;
    rz_plot plot = {.left = 10,
                    .top = 20,
                    .width = 100,
                    .height = 200,
                    .x = {.low = 0, .high = 10},
                    .y = {.low = 0.01, .high = 1, .logarithmic = true}};
    check_near(rz_plot_x(&plot, 5), 60, 1e-12);
    check_near(rz_plot_x(&plot, -5), 10, 0);
    check_near(rz_plot_x(&plot, 50), 110, 0);
    check_near(rz_plot_y(&plot, 0.1), 120, 1e-9);
    check_near(rz_plot_y(&plot, 0), 220, 0);
    check_near(rz_plot_y(&plot, NAN), 220, 0);
}

static void a_drawing(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_svg svg;
    rz_buffer out;
    rz_plot plot = {.left = 60,
                    .top = 40,
                    .width = 500,
                    .height = 300,
                    .x = {.label = "a < b", .low = 0, .high = 10},
                    .y = {.label = "& more", .low = 0, .high = 1, .percent = true}};
    const double x[] = {0, 1, NAN, 3}, y[] = {0.1, NAN, 0.5, 0.9};
    rz_buffer_init(&out, 1 << 20);
    rz_svg_begin(&svg, 640, 420, "\"quoted\" <title>");
    rz_plot_frame(&svg, &plot);
    rz_plot_line(&svg, &plot, x, y, 4, RZ_COLOR_BLUE, "3 3");
    rz_plot_line(&svg, &plot, x, y, 1, RZ_COLOR_BLUE, NULL);
    rz_plot_points(&svg, &plot, x, y, 4, RZ_COLOR_ORANGE, 2, 0.5);
    rz_plot_error_bar(&svg, &plot, 1, 0.1, NAN, RZ_COLOR_BLUE);
    rz_plot_bar(&svg, &plot, 1, 2, 0.4, RZ_COLOR_BLUE, 0.4);
    rz_svg_legend(&svg, 100, 30, RZ_COLOR_BLUE, NULL, "one & two");
    check_ok(rz_svg_end(&svg, &out, &error));
    check_markup(out.data);
    assert_non_null(strstr(out.data, "<title>&quot;quoted&quot; &lt;title&gt;</title>"));
    assert_non_null(strstr(out.data, "40 %"));
    assert_null(strstr(out.data, "nan"));
    assert_null(strstr(out.data, "inf"));
    rz_buffer_done(&out);
    /* a full buffer is an error at the end, and leaves nothing behind */
    rz_buffer_init(&out, 100);
    rz_svg_begin(&svg, 640, 420, "t");
    check_fails(rz_svg_end(&svg, &out, &error), RZ_E_TOO_LARGE, "drawing");
    assert_int_equal(out.length, 0);
    rz_buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers), cmocka_unit_test(escaping), cmocka_unit_test(ticks_are_round),
        cmocka_unit_test(values_outside_stop_at_the_frame), cmocka_unit_test(a_drawing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
