#include "check.h"

#include "base/size.h"
#include "claims/code.h"

static void codes_are_written_in_one_way(void **state)
{
    (void)state;
    rz_error error = {0};
    static const struct {
        rz_code_system system;
        const char *text, *stored;
    } cases[] = {
        {RZ_SYSTEM_ICD10, " n18.9 ", "N189"},
        {RZ_SYSTEM_ICD10, "I10", "I10"},
        {RZ_SYSTEM_ICD10, "I10.", "I10"},
        {RZ_SYSTEM_ICD10, "F00.-", "F00"},
        {RZ_SYSTEM_ICD10, "E10.2\xE2\x80\xA0", "E102"},
        {RZ_SYSTEM_ICD10, "N08.3*", "N083"},
        {RZ_SYSTEM_ICD10, "U07.1", "U071"},
        {RZ_SYSTEM_ICD10CM, "S72.001A", "S72001A"},
        {RZ_SYSTEM_ICD10CM, "C7A.0", "C7A0"},
        {RZ_SYSTEM_ICD10CM, "M1A.00X0", "M1A00X0"},
        {RZ_SYSTEM_ICD9CM, "250.00", "25000"},
        {RZ_SYSTEM_ICD9CM, "4280   ", "4280"},
        {RZ_SYSTEM_ICD9CM, "496", "496"},
        {RZ_SYSTEM_ICD9CM, "v45.81", "V4581"},
        {RZ_SYSTEM_ICD9CM, "V51", "V51"},
        {RZ_SYSTEM_ICD9CM, "E888.9", "E8889"},
        {RZ_SYSTEM_ICD9CM, "E8889", "E8889"},
        {RZ_SYSTEM_ICD9CM, "37.22", "3722"},
        {RZ_SYSTEM_ICD9CM, "66", "66"},
        {RZ_SYSTEM_ATC, "a10ba02", "A10BA02"},
        {RZ_SYSTEM_ATC, "A10", "A10"},
        {RZ_SYSTEM_YJ, "2171022f1029", "2171022F1029"},
        {RZ_SYSTEM_YJ, "2189010F1ZZZ", "2189010F1ZZZ"},
        {RZ_SYSTEM_HOT, "103831601", "103831601"},
        {RZ_SYSTEM_NDC, "00002-8215-01", "00002821501"},
        {RZ_SYSTEM_NDC, "0002-8215-01", "00002821501"},
        {RZ_SYSTEM_NDC, "50242-040-62", "50242004062"},
        {RZ_SYSTEM_NDC, "50242-0040-6", "50242004006"},
        {RZ_SYSTEM_NDC, "50242-040", "502420040"},
        {RZ_SYSTEM_NDC, "58016095884", "58016095884"},
        {RZ_SYSTEM_RXNORM, "213469", "213469"},
        {RZ_SYSTEM_SNOMED, "195662009", "195662009"},
        {RZ_SYSTEM_LOINC, "4548-4", "4548-4"},
        {RZ_SYSTEM_LOINC, "lp14635-4", "LP14635-4"},
        {RZ_SYSTEM_CPT, "99213", "99213"},
        {RZ_SYSTEM_CPT, "99213-25", "99213"},
        {RZ_SYSTEM_CPT, "4048f", "4048F"},
        {RZ_SYSTEM_HCPCS, "J1200", "J1200"},
        {RZ_SYSTEM_HCPCS, "29405", "29405"},
        {RZ_SYSTEM_JP_PROCEDURE, "160061710", "160061710"},
        {RZ_SYSTEM_JP_PROCEDURE, "k549-2", "K549-2"},
        {RZ_SYSTEM_LOCAL, " Heparin (porcine) ", "Heparin (porcine)"},
    };
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        char stored[RZ_CODE_TEXT], again[RZ_CODE_TEXT];
        check_ok(rz_code_normalise(cases[i].system, cases[i].text, strlen(cases[i].text), stored,
                                   &error));
        assert_string_equal(stored, cases[i].stored);
        check_ok(rz_code_normalise(cases[i].system, stored, strlen(stored), again, &error));
        assert_string_equal(again, stored);
    }
}

static void impossible_codes_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    static const struct {
        rz_code_system system;
        const char *text, *words;
    } cases[] = {
        {RZ_SYSTEM_ICD10, "", "empty"},
        {RZ_SYSTEM_ICD10, "  \t", "empty"},
        {RZ_SYSTEM_ICD10, "189", "not ICD-10"},
        {RZ_SYSTEM_ICD10, "N1", "not ICD-10"},
        {RZ_SYSTEM_ICD10, "N1.89", "not ICD-10"},
        {RZ_SYSTEM_ICD10, "N18 9", "not ICD-10"},
        {RZ_SYSTEM_ICD10CM, "NN8", "not ICD-10-CM"},
        {RZ_SYSTEM_ICD9CM, "OTHER", "not ICD-9-CM"},
        {RZ_SYSTEM_ICD9CM, "XX000", "not ICD-9-CM"},
        {RZ_SYSTEM_ICD9CM, "E88", "not ICD-9-CM"},
        {RZ_SYSTEM_ICD9CM, "V4", "not ICD-9-CM"},
        {RZ_SYSTEM_ICD9CM, "2.50", "not ICD-9-CM"},
        {RZ_SYSTEM_ICD9CM, "250000", "not ICD-9-CM"},
        {RZ_SYSTEM_ATC, "A1", "not ATC"},
        {RZ_SYSTEM_ATC, "A10BA2", "not ATC"},
        {RZ_SYSTEM_YJ, "217", "not a YJ"},
        {RZ_SYSTEM_YJ, "F171022F1029", "not a YJ"},
        {RZ_SYSTEM_HOT, "12345678", "not a HOT"},
        {RZ_SYSTEM_NDC, "1234567", "not an NDC"},
        {RZ_SYSTEM_NDC, "123456-1-1", "not an NDC"},
        {RZ_SYSTEM_NDC, "12345-1234-1-1", "not an NDC"},
        {RZ_SYSTEM_NDC, "12345", "not an NDC"},
        {RZ_SYSTEM_NDC, "12345-", "not an NDC"},
        {RZ_SYSTEM_RXNORM, "0", "not an RxCUI"},
        {RZ_SYSTEM_SNOMED, "12", "not a SNOMED"},
        {RZ_SYSTEM_LOINC, "45484", "not LOINC"},
        {RZ_SYSTEM_LOINC, "4548-44", "not LOINC"},
        {RZ_SYSTEM_CPT, "J1200", "not CPT"},
        {RZ_SYSTEM_HCPCS, "0851", "not HCPCS"},
        {RZ_SYSTEM_JP_PROCEDURE, "K 549", "not a procedure code"},
        {RZ_SYSTEM_LOCAL, "a\nb", "control character"},
        {RZ_SYSTEM_LOCAL, "0123456789012345678901234567890123456789012345678901234567890123",
         "64 characters"},
    };
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        char stored[RZ_CODE_TEXT] = "untouched";
        check_fails(rz_code_normalise(cases[i].system, cases[i].text, strlen(cases[i].text), stored,
                                      &error),
                    RZ_E_INVALID, cases[i].words);
        assert_string_equal(stored, "untouched");
    }
}

/* The normaliser gets bytes from outside: no input may overrun it. */
static void any_bytes_are_safe(void **state)
{
    (void)state;
    uint32_t x = 1;
    for (int round = 0; round < 200000; round++) {
        static const char alphabet[] = "AEVX0189.-* +\xE2\x80\xA0z\n";
        char text[70], stored[RZ_CODE_TEXT];
        x = x * 1664525u + 1013904223u;
        size_t n = (x >> 8) % sizeof text;
        for (size_t i = 0; i < n; i++) {
            x = x * 1664525u + 1013904223u;
            text[i] = alphabet[(x >> 16) % (sizeof alphabet - 1)];
        }
        rz_code_system system = (rz_code_system)((x >> 4) % RZ_SYSTEM_COUNT);
        if (rz_code_normalise(system, text, n > 12 ? n % 13 : n, stored, NULL) == RZ_OK)
            assert_in_range(strlen(stored), 1, RZ_CODE_TEXT - 1);
    }
}

static void names_and_levels(void **state)
{
    (void)state;
    for (int i = 0; i < RZ_SYSTEM_COUNT; i++) {
        rz_code_system system = RZ_SYSTEM_COUNT;
        assert_true(rz_code_system_from_name(rz_code_system_name((rz_code_system)i), &system));
        assert_int_equal(system, i);
    }
    for (int i = 0; i < RZ_KIND_COUNT; i++) {
        rz_kind kind = RZ_KIND_COUNT;
        assert_true(rz_kind_from_name(rz_kind_name((rz_kind)i), &kind));
        assert_int_equal(kind, i);
    }
    rz_code_system system;
    assert_false(rz_code_system_from_name("ICD10", &system));
    rz_code_levels levels = rz_code_levels_defaults();
    assert_int_equal(rz_code_truncated_length(RZ_SYSTEM_ICD10, "N1890", levels), 4);
    assert_int_equal(rz_code_truncated_length(RZ_SYSTEM_ICD10, "I10", levels), 3);
    assert_int_equal(rz_code_truncated_length(RZ_SYSTEM_YJ, "2171022F1029", levels), 7);
    assert_int_equal(rz_code_truncated_length(RZ_SYSTEM_NDC, "58016095884", levels), 9);
    assert_int_equal(rz_code_truncated_length(RZ_SYSTEM_ICD9CM, "25000", levels), 5);
    assert_int_equal(rz_code_truncated_length(RZ_SYSTEM_SNOMED, "195662009", levels), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(codes_are_written_in_one_way),
                                       cmocka_unit_test(impossible_codes_are_refused),
                                       cmocka_unit_test(any_bytes_are_safe),
                                       cmocka_unit_test(names_and_levels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
