/* The vocabulary: counting, truncation, tokens, and what a hostile vocab.json gets. */
#include "check.h"
#include "folder.h"

#include "base/file.h"
#include "base/size.h"
#include "model/vocabulary.h"

#include <unistd.h>

static char folder[] = "/tmp/rezept-vocabulary-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    rz_error error = {0};
    return temp_folder(folder) == NULL || rz_hash_setup(&error) != RZ_OK ? -1 : 0;
}

static rz_timeline_event event(rz_kind kind, rz_code_system system, const char *code)
{
    return (rz_timeline_event){
        .kind = (uint8_t)kind, .system = (uint8_t)system, .code = code, .value = NAN};
}

/* Three patients: N18.9 and N18.1 truncate differently (N189, N181), two YJ codes of one drug
 * become one; a suspected code and a lab count for nothing. */
static rz_vocabulary *small(uint32_t min_patients)
{
    rz_error error = {0};
    rz_vocabulary_builder *builder;
    rz_vocabulary *vocabulary = NULL;
    rz_timeline_event first[] = {event(RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, "2171022F1029"),
                                 event(RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, "2171022F2050"),
                                 event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N189"),
                                 event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "I10"),
                                 event(RZ_KIND_LAB, RZ_SYSTEM_LOINC, "4548-4")};
    rz_timeline_event second[] = {event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N1890"),
                                  event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N181"),
                                  event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "C509"),
                                  event(RZ_KIND_MEDICATION, RZ_SYSTEM_ATC, "A10BA02")};
    second[2].flags = RZ_EVENT_SUSPECTED;
    rz_timeline timelines[] = {{.n_events = RZ_COUNT(first), .events = first},
                               {.n_events = RZ_COUNT(second), .events = second},
                               {.n_events = 1, .events = first}};
    check_ok(rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, &error));
    for (size_t i = 0; i < RZ_COUNT(timelines); i++)
        check_ok(rz_vocabulary_builder_add(builder, &timelines[i], &error));
    check_ok(rz_vocabulary_builder_finish(builder, min_patients, &vocabulary, &error));
    rz_vocabulary_builder_free(builder);
    return vocabulary;
}

static void counts_patients_once(void **state)
{
    (void)state;
    rz_vocabulary *all = small(1), *common = small(0);
    assert_int_equal(all->n_diagnoses, 3);
    assert_int_equal(all->n_medications, 2);
    assert_int_equal(all->training_patients, 3);
    const char *codes[] = {"I10", "N181", "N189", "A10BA02", "2171022"};
    uint32_t patients[] = {1, 1, 2, 1, 2};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(all->entries[i].code, codes[i]);
        assert_int_equal(all->entries[i].patients, patients[i]);
    }
    assert_int_equal(common->min_patients, 2);
    assert_int_equal(common->n_diagnoses, 1);
    assert_int_equal(common->n_medications, 1);
    assert_string_not_equal(common->sha256, all->sha256);
    rz_vocabulary_free(all);
    rz_vocabulary_free(common);
}

static void tokens_follow_the_order(void **state)
{
    (void)state;
    rz_vocabulary *v = small(1);
    struct {
        rz_timeline_event event;
        int32_t token;
    } cases[] = {
        {event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "I10"), 8},
        {event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N18"), RZ_TOKEN_UNKNOWN_DIAGNOSIS},
        {event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N18999"), 10},
        {event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10CM, "N189"), RZ_TOKEN_UNKNOWN_DIAGNOSIS},
        {event(RZ_KIND_MEDICATION, RZ_SYSTEM_ICD10, "N189"), RZ_TOKEN_UNKNOWN_MEDICATION},
        {event(RZ_KIND_MEDICATION, RZ_SYSTEM_ATC, "A10BA02"), 11},
        {event(RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, "2171022X9999"), 12},
        {event(RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, "9999999F1029"), RZ_TOKEN_UNKNOWN_MEDICATION},
        {event(RZ_KIND_PROCEDURE, RZ_SYSTEM_ICD10, "N189"), RZ_TOKEN_NONE},
        {event(RZ_KIND_LAB, RZ_SYSTEM_LOINC, "4548-4"), RZ_TOKEN_NONE},
        {event(RZ_KIND_DEATH, RZ_SYSTEM_LOCAL, "death"), RZ_TOKEN_NONE},
    };
    for (size_t i = 0; i < RZ_COUNT(cases); i++)
        if (rz_vocabulary_token(v, &cases[i].event) != cases[i].token)
            fail_msg("case %zu: token %d, wanted %d", i, rz_vocabulary_token(v, &cases[i].event),
                     cases[i].token);
    cases[0].event.flags = RZ_EVENT_SUSPECTED;
    assert_int_equal(rz_vocabulary_token(v, &cases[0].event), RZ_TOKEN_NONE);
    rz_vocabulary_free(v);
}

static void every_synthetic_code_is_found(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary *v;
    check_ok(rz_vocabulary_synthetic(1931, &v, &error));
    assert_int_equal(v->n_diagnoses, 966);
    assert_int_equal(v->n_medications, 965);
    for (size_t i = 0; i < 1931; i++) {
        rz_timeline_event e = event(v->entries[i].kind, v->entries[i].system, v->entries[i].code);
        assert_int_equal(rz_vocabulary_token(v, &e), i + RZ_TOKEN_SPECIALS);
    }
    rz_vocabulary_free(v);
    check_fails(rz_vocabulary_synthetic(1, &v, &error), RZ_E_INVALID, "not 1");
}

static void nothing_left_is_an_error(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary_builder *builder;
    rz_vocabulary *v;
    rz_timeline empty = {0};
    check_ok(rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, &error));
    check_ok(rz_vocabulary_builder_add(builder, &empty, &error));
    check_fails(rz_vocabulary_builder_finish(builder, 0, &v, &error), RZ_E_INVALID,
                "1 training patients");
    rz_vocabulary_builder_free(builder);
}

static void many_codes_grow_the_table(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary_builder *builder;
    rz_vocabulary *v;
    check_ok(rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, &error));
    for (int patient = 0; patient < 2; patient++) {
        for (int i = 0; i < 20000; i++) {
            char code[16];
            (void)snprintf(code, sizeof code, "L%05d", i);
            rz_timeline_event e = event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_LOCAL, code);
            rz_timeline one = {.n_events = 1, .events = &e};
            check_ok(rz_vocabulary_builder_add(builder, &one, &error));
        }
    }
    check_ok(rz_vocabulary_builder_finish(builder, 2, &v, &error));
    assert_int_equal(v->n_diagnoses, 20000);
    assert_string_equal(v->entries[12345].code, "L12345");
    rz_vocabulary_free(v);
    rz_vocabulary_builder_free(builder);
}

static void written_is_read(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary *v = small(1), *again, *copy;
    char *path = rz_path_join(folder, "vocab.json");
    check_ok(rz_vocabulary_write(v, path, &error));
    check_ok(rz_vocabulary_read(path, &again, &error));
    check_ok(rz_vocabulary_copy(v, &copy, &error));
    assert_string_equal(again->sha256, v->sha256);
    assert_string_equal(copy->sha256, v->sha256);
    assert_memory_equal(again->entries, v->entries, 5 * sizeof *v->entries);
    assert_int_equal(again->levels.yj_chars, 7);
    check_fails(rz_vocabulary_read("/nonexistent/vocab.json", &again, &error), RZ_E_NOT_FOUND,
                "vocab.json");
    rz_vocabulary_free(v);
    rz_vocabulary_free(again);
    rz_vocabulary_free(copy);
    free(path);
}

/* A quote and a character beyond ASCII in a local code survive the file. */
static void odd_codes_survive(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary_builder *builder;
    rz_vocabulary *v, *again;
    const char *odd[] = {"a\"b\\c", "\xE7\xB3\x96\xE5\xB0\xBF", "\xFF"};
    char *path = rz_path_join(folder, "odd.json");
    for (int i = 0; i < 3; i++) {
        rz_timeline_event e = event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_LOCAL, odd[i]);
        rz_timeline one = {.n_events = 1, .events = &e};
        check_ok(rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, &error));
        check_ok(rz_vocabulary_builder_add(builder, &one, &error));
        check_ok(rz_vocabulary_builder_finish(builder, 1, &v, &error));
        if (i == 2) {
            check_fails(rz_vocabulary_write(v, path, &error), RZ_E_INVALID, "not UTF-8");
        } else {
            check_ok(rz_vocabulary_write(v, path, &error));
            check_ok(rz_vocabulary_read(path, &again, &error));
            assert_string_equal(again->entries[0].code, odd[i]);
            rz_vocabulary_free(again);
        }
        rz_vocabulary_free(v);
        rz_vocabulary_builder_free(builder);
    }
    free(path);
}

#define LEVELS                                                                                     \
    "\"levels\":{\"icd10_chars\":4,\"icd9_chars\":0,\"yj_chars\":7,\"atc_chars\":7,"               \
    "\"ndc_chars\":9},\"min_patients\":1,\"training_patients\":3,\"age_bins\":1200,"
#define HASH             "\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\""
#define FILE_WITH(codes) "{\"format_version\":1," LEVELS "\"codes\":[" codes "]," HASH "}"

static void hostile_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
        rz_status status;
    } cases[] = {
        {"", "'{' is expected", RZ_E_FORMAT},
        {"[]", "'{' is expected", RZ_E_FORMAT},
        {"{}", "a string is expected", RZ_E_FORMAT},
        {"{\"format_version\":1}", "lacks a member", RZ_E_FORMAT},
        {"{\"format_version\":1,\"format_version\":1}", "twice", RZ_E_FORMAT},
        {"{\"format_version\":1,\"colour\":1}", "colour", RZ_E_FORMAT},
        {"{\"format_version\":1e0}", "whole number", RZ_E_FORMAT},
        {"{\"format_version\":-1}", "whole number", RZ_E_FORMAT},
        {"{\"format_version\":99999999999999999999}", "too large", RZ_E_FORMAT},
        {"{\"format_version\":2," LEVELS "\"codes\":[]," HASH "}", "version 2", RZ_E_UNSUPPORTED},
        {FILE_WITH(""), "SHA-256", RZ_E_CORRUPT},
        {FILE_WITH("[\"diagnosis\",\"icd10\",\"I10\",1]") "x", "end", RZ_E_FORMAT},
        {FILE_WITH("[\"lab\",\"loinc\",\"4548-4\",1]"), "kind \"lab\"", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"icd11\",\"I10\",1]"), "icd11", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"icd10\",\"\",1]"), "0 characters", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"icd10\",\"N18999\",1]"), "longer than its level", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"icd10\",\"I10\\u0000\",1]"), "control character", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"icd10\",\"I\xFF\",1]"), "UTF-8", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"icd10\",\"I10\",1],[\"diagnosis\",\"icd10\",\"I10\",1]"),
         "twice", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"icd10\",\"I10\",1],[\"diagnosis\",\"icd10\",\"A00\",1]"),
         "order", RZ_E_FORMAT},
        {FILE_WITH("[\"medication\",\"atc\",\"A10BA02\",1],[\"diagnosis\",\"icd10\",\"I10\",1]"),
         "order", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"icd10\",\"I10\"]"), "',' is expected", RZ_E_FORMAT},
        {FILE_WITH("[[[[[[[[["), "string is expected", RZ_E_FORMAT},
        {FILE_WITH("[\"diagnosis\",\"local\",\"0123456789012345678901234567890123456789012345678901"
                   "23456789ABCDEF\",1]"),
         "66 characters", RZ_E_FORMAT},
    };
    rz_error error = {0};
    char *path = rz_path_join(folder, "hostile.json");
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rz_vocabulary *v = NULL;
        check_ok(rz_file_write(path, cases[i].text, strlen(cases[i].text), &error));
        check_fails(rz_vocabulary_read(path, &v, &error), cases[i].status, cases[i].words);
        assert_null(v);
    }
    free(path);
}

/* Every single changed byte of a good file is refused: the digest covers all that means something;
 * white space may change. */
static void each_changed_byte_is_noticed(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary *v = small(1), *again = NULL;
    char *path = rz_path_join(folder, "flip.json"), *text;
    size_t n, accepted = 0;
    check_ok(rz_vocabulary_write(v, path, &error));
    check_ok(rz_file_read(path, 1 << 20, &text, &n, &error));
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)(text[i] ^ 1);
        check_ok(rz_file_write(path, text, n, &error));
        if (rz_vocabulary_read(path, &again, &error) == RZ_OK) {
            accepted++;
            assert_string_equal(again->sha256, v->sha256);
            rz_vocabulary_free(again);
        }
        rz_error_clear(&error);
        text[i] = (char)(text[i] ^ 1);
    }
    assert_int_equal(accepted, 0);
    free(text);
    free(path);
    rz_vocabulary_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_patients_once),
                                       cmocka_unit_test(tokens_follow_the_order),
                                       cmocka_unit_test(every_synthetic_code_is_found),
                                       cmocka_unit_test(nothing_left_is_an_error),
                                       cmocka_unit_test(many_codes_grow_the_table),
                                       cmocka_unit_test(written_is_read),
                                       cmocka_unit_test(odd_codes_survive),
                                       cmocka_unit_test(hostile_files_are_refused),
                                       cmocka_unit_test(each_changed_byte_is_noticed)};
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
