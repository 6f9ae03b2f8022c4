/* tasks.json: out and in again, and what hostile ones get. */
#include "check.h"
#include "folder.h"

#include "example.h"

#include "base/file.h"
#include "base/size.h"

static char folder[] = "/tmp/rezept-heads-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    rz_error error = {0};
    return temp_folder(folder) == NULL || rz_hash_setup(&error) != RZ_OK ? -1 : 0;
}

static void written_is_read(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_head heads[2] = {example_head("ckd"), example_head("dialysis")};
    rz_head *again = calloc(RZ_HEADS_MAX, sizeof *again);
    size_t n = 0;
    assert_non_null(again);
    for (int i = 0; i < 2; i++)
        check_ok(rz_calibration_seal(&heads[i].calibration, &error));
    check_ok(rz_heads_write(folder, heads, 2, &error));
    char sha256[RZ_SHA256_TEXT], of_file[RZ_SHA256_TEXT],
        *file = rz_path_join(folder, "tasks.json");
    uint64_t size;
    check_ok(rz_heads_read(folder, again, &n, sha256, &error));
    check_ok(rz_file_digest(file, of_file, &size, &error));
    assert_string_equal(sha256, of_file);
    free(file);
    assert_int_equal(n, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(again[i].task.name, heads[i].task.name);
        assert_string_equal(again[i].task.title_ja, heads[i].task.title_ja);
        assert_memory_equal(&again[i].calibration, &heads[i].calibration, sizeof(rz_calibration));
        assert_memory_equal(again[i].age_sex_beta, heads[i].age_sex_beta,
                            sizeof heads[i].age_sex_beta);
        assert_true(json_equal(again[i].metrics, heads[i].metrics));
        assert_true(json_equal(again[i].reference, heads[i].reference));
        rz_head_done(&again[i]);
        rz_head_done(&heads[i]);
    }
    free(again);
}

static void not_sealed_is_not_read(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_head head = example_head("ckd"), *again = calloc(RZ_HEADS_MAX, sizeof *again);
    size_t n = 0;
    assert_non_null(again);
    check_ok(rz_heads_write(folder, &head, 1, &error));
    check_fails(rz_heads_read(folder, again, &n, NULL, &error), RZ_E_CORRUPT, "task 0");
    rz_head_done(&head);
    free(again);
}

static char *repeat(const char *start, const char *text, size_t times, const char *end)
{
    size_t n = strlen(text);
    char *out = malloc(strlen(start) + n * times + strlen(end) + 1);
    assert_non_null(out);
    strcpy(out, start);
    for (size_t i = 0, at = strlen(start); i < times; i++, at += n)
        memcpy(out + at, text, n + 1);
    strcat(out + strlen(start) + n * times, end);
    return out;
}

static void hostile_files_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_head head = example_head("ckd"), *again = calloc(RZ_HEADS_MAX, sizeof *again);
    size_t n = 0, length = 0;
    char *path = rz_path_join(folder, "tasks.json"), *good;
    assert_non_null(again);
    check_ok(rz_calibration_seal(&head.calibration, &error));
    check_ok(rz_heads_write(folder, &head, 1, &error));
    check_ok(rz_file_read(path, 1 << 20, &good, &length, &error));
    rz_head_done(&head);
    json_t *document = json_loads(good, 0, NULL),
           *task = json_array_get(json_object_get(document, "tasks"), 0);
    assert_int_equal(json_array_append(json_object_get(document, "tasks"), task), 0);
    char *twice = json_dumps(document, JSON_REAL_PRECISION(17));
    json_decref(document);
    char *many = repeat("{\"format_version\":1,\"tasks\":[[]", ",[]", 400000, "]}");
    char *large = repeat("", " ", 5 << 20, "");
    struct {
        const char *text;
        rz_status status;
        const char *words;
    } cases[] = {
        {"", RZ_E_FORMAT, "tasks.json: line"},
        {"[]", RZ_E_FORMAT, "object"},
        {"{}", RZ_E_CORRUPT, "format_version"},
        {"{\"format_version\":2,\"tasks\":[]}", RZ_E_UNSUPPORTED, "version 2"},
        {"{\"format_version\":1}", RZ_E_CORRUPT, "tasks must be"},
        {"{\"format_version\":1,\"tasks\":[1]}", RZ_E_INVALID, "task 0"},
        {"{\"format_version\":1,\"tasks\":[],\"tasks\":[]}", RZ_E_FORMAT, "uplicate"},
        {"{\"format_version\":1,\"tasks\":[{\"task\":{},\"calibration\":{},\"metrics\":{},"
         "\"reference\":{}}]}",
         RZ_E_INVALID, "task 0"},
        {twice, RZ_E_CORRUPT, "ckd is there twice"},
        {many, RZ_E_CORRUPT, "values"},
        {large, RZ_E_TOO_LARGE, "5242880 bytes"},
    };
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        check_ok(rz_file_write(path, cases[i].text, strlen(cases[i].text), &error));
        check_fails(rz_heads_read(folder, again, &n, NULL, &error), cases[i].status,
                    cases[i].words);
    }
    free(many);
    free(large);
    free(twice);
    free(good);
    free(path);
    free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(not_sealed_is_not_read),
        cmocka_unit_test(hostile_files_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
