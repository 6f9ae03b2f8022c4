/* The judge of request heads and the parser of targets, without a socket. */
#include "check.h"
#include "guard.h"
#include "request.h"

#include "base/size.h"

typedef struct header {
    const char *name, *value;
} header;

static guard_verdict judge(const char *method, const char *raw, const header *headers, size_t n)
{
    guard g = {.header_bytes_max = 1000, .local_only = true};
    const char *why = NULL;
    for (size_t i = 0; i < n; i++)
        guard_header(&g, headers[i].name, strlen(headers[i].name), headers[i].value,
                     strlen(headers[i].value));
    guard_verdict verdict = guard_judge(&g, method, "HTTP/1.1", raw, &why);
    if ((verdict == GUARD_PASS) != (why == NULL))
        fail_msg("verdict %d with reason %s", verdict, why != NULL ? why : "none");
    return verdict;
}

static void test_headers(void **state)
{
    static const struct {
        guard_verdict wanted;
        header headers[3];
    } table[] = {
        {GUARD_PASS, {{"Host", "localhost:8480"}}},
        {GUARD_PASS, {{"host", "127.0.0.1"}, {"Content-Length", "10"}}},
        {GUARD_PASS, {{"Host", "[::1]:1"}, {"Transfer-Encoding", "Chunked"}}},
        {GUARD_MALFORMED, {{"Accept", "x"}}},
        {GUARD_MALFORMED, {{"Host", "localhost"}, {"Host", "localhost"}}},
        {GUARD_MALFORMED, {{"Host", "localhost"}, {"Content-Length", ""}}},
        {GUARD_MALFORMED, {{"Host", "localhost"}, {"Content-Length", "0x10"}}},
        {GUARD_MALFORMED, {{"Host", "localhost"}, {"Content-Length", "9999999999999999999"}}},
        {GUARD_MALFORMED,
         {{"Host", "localhost"}, {"Content-Length", "1"}, {"Transfer-Encoding", "chunked"}}},
        {GUARD_MALFORMED, {{"Host", "localhost"}, {"Transfer-Encoding", "chunked, chunked"}}},
        {GUARD_MALFORMED, {{"Host", "localhost"}, {"A ", "b"}}},
        {GUARD_MALFORMED, {{"Host", "localhost"}, {"A", "b\x7f"}}},
        {GUARD_MISDIRECTED, {{"Host", "rebound.example"}}},
        {GUARD_MISDIRECTED, {{"Host", "127.0.0.1.example"}}},
    };
    (void)state;
    for (size_t i = 0; i < RZ_COUNT(table); i++) {
        size_t n = 0;
        while (n < 3 && table[i].headers[n].name != NULL)
            n++;
        guard_verdict got = judge("GET", "/", table[i].headers, n);
        if (got != table[i].wanted)
            fail_msg("row %zu: got %d, wanted %d", i, got, table[i].wanted);
    }
}

static void test_targets(void **state)
{
    static const header host = {"Host", "localhost"};
    static const char *const bad[] = {"/..",   "/../x",         "/a/%2E%2e/b", "/a/.%2e",
                                      "/%2e",  "/a%00b",        "livez",       "/a b",
                                      "/\x01", "/a/%2e%2e%2fb", "/%2e%2E?x"};
    static const char *const good[] = {"/", "/a..b", "/...", "/a?b=..", "/v1/patients/a%2Fb"};
    (void)state;
    for (size_t i = 0; i < RZ_COUNT(bad); i++)
        if (judge("GET", bad[i], &host, 1) != GUARD_MALFORMED)
            fail_msg("%s passes", bad[i]);
    for (size_t i = 0; i < RZ_COUNT(good); i++)
        if (judge("GET", good[i], &host, 1) != GUARD_PASS)
            fail_msg("%s is refused", good[i]);
    assert_int_equal(judge("TRACE", "/", &host, 1), GUARD_UNKNOWN_METHOD);
}

static void test_parse(void **state)
{
    rz_error error = {0};
    rz_arena arena;
    target t;
    (void)state;
    rz_arena_init(&arena, 1 << 16);
    check_ok(target_parse("/v1/a%2Fb/%E5%B1%B1?x=1&y=a+b%3D&z", &arena, &t, &error));
    assert_int_equal(t.n_segments, 3);
    assert_string_equal(t.segments[1], "a/b");
    assert_string_equal(t.segments[2], "山");
    assert_int_equal(t.n_query, 3);
    assert_string_equal(t.query[1].value, "a+b=");
    assert_string_equal(t.query[2].value, "");
    check_fails(target_parse("/%4", &arena, &t, &error), RZ_E_FORMAT, "two hex digits");
    check_fails(target_parse("/%c3%28", &arena, &t, &error), RZ_E_FORMAT, "UTF-8");
    check_fails(target_parse("/?a=1&a=2", &arena, &t, &error), RZ_E_FORMAT, "twice");
    check_fails(target_parse("/1/2/3/4/5/6/7/8/9", &arena, &t, &error), RZ_E_NOT_FOUND, "segments");
    rz_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_headers),
                                       cmocka_unit_test(test_targets),
                                       cmocka_unit_test(test_parse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
