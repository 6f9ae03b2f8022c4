/* Streams, lines and records: what is read, and what is refused with its place. */
#include "files.h"

#include "base/size.h"
#include "import/csv.h"

/* All records of a file as "a|b\n", into `out`. */
static rz_status read_all(const char *path, char *out, size_t cap, rz_error *error)
{
    rz_csv csv;
    size_t used = 0;
    bool more = true;
    out[0] = '\0';
    rz_status status = rz_csv_open(&csv, path, error);
    if (status != RZ_OK)
        return status;
    while (status == RZ_OK) {
        status = rz_csv_next(&csv, &more, error);
        if (status != RZ_OK || !more)
            break;
        for (size_t i = 0; i < csv.n_columns; i++)
            used += (size_t)snprintf(out + used, cap - used, "%s%s", csv.fields[i].text,
                                     i + 1 < csv.n_columns ? "|" : "\n");
    }
    rz_csv_close(&csv);
    return status;
}

static const char plain[] = "id,name\n1,one\n2,two\n";

static void packings_are_seen_by_their_bytes(void **state)
{
    (void)state;
    rz_error error = {0};
    static packed p;
    char path[256], out[1024];
    make_file(path, sizeof path, "table.txt", plain, sizeof plain - 1);
    for (int kind = 0; kind < 7; kind++) {
        size_t half = 9, n = sizeof plain - 1;
        p.n = 0;
        if (kind == 0) {
            memcpy(p.bytes, plain, p.n = n);
        } else if (kind <= 3) {
            pack_gzip(&p, plain, kind == 1 ? n : half);
            if (kind > 1)
                pack_gzip(&p, plain + half, n - half);
            if (kind == 3)
                memset(p.bytes + p.n, 0, 600), p.n += 600; /* padding of tapes */
        } else {
            pack_zstd(&p, plain, kind == 4 ? n : half);
            if (kind == 6)
                pack_zstd(&p, "", 0);
            if (kind > 4)
                pack_zstd(&p, plain + half, n - half);
        }
        rewrite_file(path, p.bytes, p.n);
        check_ok(read_all(path, out, sizeof out, &error));
        assert_string_equal(out, "1|one\n2|two\n");
    }
    remove_file(path);
}

/* Every shortened and every changed packed file is an error, or reads the same. */
static void packed_files_do_not_lose_their_end(void **state)
{
    (void)state;
    rz_error error = {0};
    static packed p;
    char path[256], out[4096], text[600];
    size_t n = (size_t)snprintf(text, sizeof text, "id,name\n");
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%d,value%d\n", i, i * 7919 % 101);
    make_file(path, sizeof path, "x", "", 0);
    for (int codec = 0; codec < 2; codec++) {
        p.n = 0;
        codec == 0 ? pack_gzip(&p, text, n) : pack_zstd(&p, text, n);
        rewrite_file(path, p.bytes, p.n);
        char whole[4096];
        check_ok(read_all(path, whole, sizeof whole, &error));
        for (size_t cut = 0; cut < p.n; cut++) {
            rewrite_file(path, p.bytes, cut);
            rz_error_clear(&error);
            rz_status status = read_all(path, out, sizeof out, &error);
            if (status != RZ_E_FORMAT && cut > 3)
                fail_msg("cut to %zu of %zu bytes: %s", cut, p.n, rz_status_name(status));
            assert_true(status != RZ_OK || cut <= 3);
        }
        for (size_t at = 0; at < p.n; at++) {
            p.bytes[at] ^= 0x41;
            rewrite_file(path, p.bytes, p.n);
            rz_error_clear(&error);
            if (read_all(path, out, sizeof out, &error) == RZ_OK && strcmp(out, whole) != 0)
                fail_msg("byte %zu of %zu is changed, and other records come out", at, p.n);
            p.bytes[at] ^= 0x41;
        }
    }
    p.n = 0;
    pack_gzip(&p, plain, sizeof plain - 1);
    memcpy(p.bytes + p.n, "trailing", 8);
    rewrite_file(path, p.bytes, p.n + 8);
    check_fails(read_all(path, out, sizeof out, &error), RZ_E_FORMAT, "line 4: the gzip data");
    remove_file(path);
}

static void records_as_they_occur(void **state)
{
    (void)state;
    rz_error error = {0};
    static const struct {
        const char *text, *records;
    } cases[] = {
        {"a,b\n1,2", "1|2\n"},
        {"a,b\r\n1,2\r\n\r\n3,4\r\n", "1|2\n3|4\n"},
        {"\xEF\xBB\xBF"
         "a,b\n1,2\n",
         "1|2\n"},
        {"a,b\n\"1\",\"2\"\n", "1|2\n"},
        {"a,b\n\"x,y\",\"say \"\"no\"\"\"\n", "x,y|say \"no\"\n"},
        {"a,b\n\"one\ntwo\",3\n4,5\n", "one\ntwo|3\n4|5\n"},
        {"a,b\n\"one\n\n\"\"two\",3\n", "one\n\n\"two|3\n"},
        {"a,b\n,\n", "|\n"},
        {"a,b\n\"\",\"\"\n", "|\n"},
        {"a,b\n5\" pipe of 6\",7\n", "5\" pipe of 6\"|7\n"},
        {"a\tb\n\"1\t2\n", "\"1|2\n"},
        {"a,b\n", ""},
        {"a,b", ""},
        {"a\n1\n", "1\n"},
        {"a,b\näöü,日本\n", "äöü|日本\n"},
    };
    char path[256], out[1024];
    make_file(path, sizeof path, "x.csv", "", 0);
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rewrite_file(path, cases[i].text, strlen(cases[i].text));
        check_ok(read_all(path, out, sizeof out, &error));
        assert_string_equal(out, cases[i].records);
    }
    remove_file(path);
}

static void damage_has_a_place(void **state)
{
    (void)state;
    rz_error error = {0};
    static const struct {
        const char *text;
        size_t n; /* 0: up to the NUL */
        rz_status status;
        const char *words;
    } cases[] = {
        {"", 0, RZ_E_FORMAT, "the file is empty"},
        {"a,b\n1\n", 0, RZ_E_FORMAT, "line 2, column 2: 1 fields, the header has 2 columns"},
        {"a,b\n1,2\n1,2,3\n", 0, RZ_E_FORMAT, "line 3, column 4: 3 fields"},
        {"a,b\n\"x\"y,2\n", 0, RZ_E_FORMAT, "line 2, column 4: text after a closing"},
        {"a,b\n1,2\n\"x,2\n3,4\n", 0, RZ_E_FORMAT, "line 3, column 1: a quotation mark is never"},
        {"a,b\n1,caf\xE9\n", 0, RZ_E_FORMAT, "line 2, column 6: byte 0xe9 is not UTF-8"},
        {"a,b\näöü,\xC3\n", 0, RZ_E_FORMAT, "line 2, column 5: byte 0xc3"},
        {"a,b\n1,\xC0\x80\n", 0, RZ_E_FORMAT, "byte 0xc0"},
        {"a,b\n1,\xED\xA0\x80\n", 0, RZ_E_FORMAT, "byte 0xed"},
        {"a,b\n1,\xF4\x90\x80\x80\n", 0, RZ_E_FORMAT, "byte 0xf4"},
        {"a,b\n1,2345678901234567\0x\n", 24, RZ_E_FORMAT, "line 2, column 19: byte 0x00"},
        {"\xFF\xFE"
         "a\0",
         4, RZ_E_UNSUPPORTED, "UTF-16"},
        {"PAR1....", 0, RZ_E_UNSUPPORTED, "export it to CSV"},
        {"PK\3\4....", 0, RZ_E_UNSUPPORTED, "unpack it"},
        {"BZh9....", 0, RZ_E_UNSUPPORTED, "bzip2"},
    };
    char path[256], out[1024];
    make_file(path, sizeof path, "x.csv", "", 0);
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rewrite_file(path, cases[i].text, cases[i].n > 0 ? cases[i].n : strlen(cases[i].text));
        check_fails(read_all(path, out, sizeof out, &error), cases[i].status, cases[i].words);
    }
    remove_file(path);
    check_fails(read_all("/nowhere/x.csv", out, sizeof out, &error), RZ_E_NOT_FOUND,
                "/nowhere/x.csv");
    check_fails(read_all("/tmp", out, sizeof out, &error), RZ_E_INVALID, "folder");
}

static void headers_are_tidied(void **state)
{
    (void)state;
    rz_error error = {0};
    static const char text[] = "PERSON_ID, Name ,\"date(procedure_date,'unixepoch')\",\"date(\"\n";
    char path[256];
    rz_csv csv;
    int column = -1;
    make_file(path, sizeof path, "x.csv", text, sizeof text - 1);
    check_ok(rz_csv_open(&csv, path, &error));
    assert_int_equal(rz_csv_column(&csv, "person_id"), 0);
    assert_int_equal(rz_csv_column(&csv, "name"), 1);
    check_ok(rz_csv_require(&csv, "procedure_date", &column, &error));
    assert_int_equal(column, 2);
    assert_int_equal(rz_csv_column(&csv, "nothing"), RZ_CSV_NO_COLUMN);
    assert_string_equal(rz_csv_field(&csv, RZ_CSV_NO_COLUMN).text, "");
    check_fails(rz_csv_require(&csv, "visit_date", &column, &error), RZ_E_FORMAT,
                "line 1: there is no column visit_date among the 4");
    rz_csv_close(&csv);
    remove_file(path);
}

/* Lines that cross the buffer's end, and one that is longer than any may be. */
static void long_lines(void **state)
{
    (void)state;
    rz_error error = {0};
    size_t n = (size_t)RZ_LINE_BYTES_MAX + 100;
    char path[256], *text = malloc(n), *line = NULL;
    assert_non_null(text);
    memset(text, 'x', n);
    for (size_t i = 99999; i < 3000000; i += 100000)
        text[i] = '\n';
    make_file(path, sizeof path, "x", text, 3000000);
    rz_lines lines;
    bool more = true;
    size_t length = 0, count = 0;
    check_ok(rz_lines_open(&lines, path, &error));
    for (;; count++) {
        check_ok(rz_lines_next(&lines, &line, &length, &more, &error));
        if (!more)
            break;
        assert_int_equal(length, 99999);
    }
    assert_int_equal(count, 30);
    rz_lines_close(&lines);
    memset(text, 'x', n);
    rewrite_file(path, text, n);
    check_ok(rz_lines_open(&lines, path, &error));
    check_fails(rz_lines_next(&lines, &line, &length, &more, &error), RZ_E_TOO_LARGE, "line 1");
    rz_lines_close(&lines);
    free(text);
    remove_file(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(packings_are_seen_by_their_bytes),
                                       cmocka_unit_test(packed_files_do_not_lose_their_end),
                                       cmocka_unit_test(records_as_they_occur),
                                       cmocka_unit_test(damage_has_a_place),
                                       cmocka_unit_test(headers_are_tidied),
                                       cmocka_unit_test(long_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
