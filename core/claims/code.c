/* Names of code systems and kinds, the shape of a code in each system, and truncation.
 *
 * The checks refuse only what a system cannot hold: they look at the shape, not at a code list, so
 * a code that is newer than this program passes. No message repeats the code, which is patient
 * data. */
#include "claims/code.h"

#include <string.h>

static const char *const system_names[RZ_SYSTEM_COUNT] = {
#define RZ_CODE_SYSTEM_NAME(id, name) name,
    RZ_CODE_SYSTEM_MAP(RZ_CODE_SYSTEM_NAME)
#undef RZ_CODE_SYSTEM_NAME
};

static const char *const kind_names[RZ_KIND_COUNT] = {
#define RZ_KIND_NAME(id, name) name,
    RZ_KIND_MAP(RZ_KIND_NAME)
#undef RZ_KIND_NAME
};

const char *rz_code_system_name(rz_code_system system)
{
    return (unsigned)system < RZ_SYSTEM_COUNT ? system_names[system] : "unknown";
}

bool rz_code_system_from_name(const char *name, rz_code_system *out)
{
    for (int i = 0; i < RZ_SYSTEM_COUNT; i++) {
        if (strcmp(name, system_names[i]) == 0) {
            *out = (rz_code_system)i;
            return true;
        }
    }
    return false;
}

const char *rz_kind_name(rz_kind kind)
{
    return (unsigned)kind < RZ_KIND_COUNT ? kind_names[kind] : "unknown";
}

bool rz_kind_from_name(const char *name, rz_kind *out)
{
    for (int i = 0; i < RZ_KIND_COUNT; i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            *out = (rz_kind)i;
            return true;
        }
    }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* How many digits, or digits and capital letters, the text begins with. */
static size_t digits_in(const char *text)
{
    size_t n = 0;
    while (is_digit(text[n]))
        n++;
    return n;
}

static size_t alphanumerics_in(const char *text)
{
    size_t n = 0;
    while (is_digit(text[n]) || is_letter(text[n]))
        n++;
    return n;
}

/* Removes the dot after `position` characters; a dot anywhere else stays and fails the shape. A
 * dot at the very end ("I10.", "F00.-") says only that more digits could follow. */
static void remove_dot(char *code, size_t position)
{
    size_t n = strlen(code);
    while (n > position && (code[n - 1] == '.' || code[n - 1] == '-'))
        code[--n] = '\0';
    if (n > position && code[position] == '.')
        memmove(code + position, code + position + 1, n - position);
}

/* The marks of the dagger and asterisk convention say how codes pair up, not what they mean. */
static void remove_marks(char *code)
{
    static const char dagger[] = "\xE2\x80\xA0";
    size_t n = strlen(code);
    if (n > 3 && strcmp(code + n - 3, dagger) == 0)
        code[n - 3] = '\0';
    else if (n > 1 && (code[n - 1] == '*' || code[n - 1] == '+'))
        code[n - 1] = '\0';
}

static bool shape_icd10(char *code)
{
    remove_marks(code);
    remove_dot(code, 3);
    size_t n = strlen(code);
    return n >= 3 && n <= 7 && is_letter(code[0]) && is_digit(code[1]) && is_digit(code[2]) &&
           alphanumerics_in(code) == n;
}

/* The clinical modification also has a letter in third place (C7A, M1A, Z3A). */
static bool shape_icd10cm(char *code)
{
    remove_dot(code, 3);
    size_t n = strlen(code);
    return n >= 3 && n <= 8 && is_letter(code[0]) && is_digit(code[1]) &&
           alphanumerics_in(code) == n;
}

/* Diagnoses 250.00, V45.81, E888.9, and procedures 37.22, which share the volumes. */
static bool shape_icd9cm(char *code)
{
    const char *dot = strchr(code, '.');
    size_t before = dot != NULL ? (size_t)(dot - code) : 0;
    if (code[0] == 'V' || code[0] == 'E') {
        size_t whole = code[0] == 'V' ? 3 : 4;
        remove_dot(code, whole);
        size_t n = digits_in(code + 1) + 1;
        return code[n] == '\0' && n >= whole && n <= 5;
    }
    if (dot != NULL)
        remove_dot(code, before == 2 ? 2 : 3);
    size_t n = digits_in(code);
    return code[n] == '\0' && n >= 2 && n <= 5;
}

static bool shape_atc(char *code)
{
    static const char pattern[] = "A99AA99"; /* A a letter, 9 a digit */
    size_t n = strlen(code);
    if (n != 1 && n != 3 && n != 4 && n != 5 && n != 7)
        return false;
    for (size_t i = 0; i < n; i++)
        if (pattern[i] == 'A' ? !is_letter(code[i]) : !is_digit(code[i]))
            return false;
    return true;
}

static bool shape_yj(char *code)
{
    size_t n = strlen(code);
    return n >= 7 && n <= 12 && digits_in(code) >= 4 && alphanumerics_in(code) == n;
}

static bool shape_hot(char *code)
{
    size_t n = strlen(code);
    return (n == 7 || n == 9 || n == 11 || n == 13) && digits_in(code) == n;
}

/* Brings the hyphenated forms 4-4-2, 5-3-2 and 5-4-1 to the eleven digits of claims. Ten digits
 * without hyphens cannot be told apart and stay as they are. */
static bool shape_ndc(char *code)
{
    static const size_t widths[] = {5, 4, 2};
    if (strchr(code, '-') == NULL) {
        size_t n = strlen(code);
        return n >= 8 && n <= 12 && digits_in(code) == n;
    }
    char out[12] = "";
    size_t used = 0;
    const char *from = code;
    for (size_t part = 0; part < 3; part++) {
        size_t n = digits_in(from);
        if (n == 0 || n > widths[part])
            return false;
        memset(out + used, '0', widths[part] - n);
        memcpy(out + used + widths[part] - n, from, n);
        used += widths[part];
        from += n;
        if (*from == '\0' && part >= 1)
            break;
        if (*from != '-' || part == 2)
            return false;
        from++;
    }
    out[used] = '\0';
    memcpy(code, out, used + 1);
    return true;
}

static bool shape_rxnorm(char *code)
{
    size_t n = strlen(code);
    return n <= 8 && digits_in(code) == n && code[0] != '0';
}

static bool shape_snomed(char *code)
{
    size_t n = strlen(code);
    return n >= 6 && n <= 18 && digits_in(code) == n;
}

/* 4548-4; parts, answers and groups carry letters in front (LP14635-4). */
static bool shape_loinc(char *code)
{
    size_t prefix = 0;
    while (is_letter(code[prefix]))
        prefix++;
    size_t n = digits_in(code + prefix);
    const char *rest = code + prefix + n;
    return prefix <= 3 && n >= 1 && n <= 8 && rest[0] == '-' && is_digit(rest[1]) &&
           rest[2] == '\0';
}

/* Modifiers after a hyphen ("99213-25") tell how it was billed, not what was done. */
static void remove_modifier(char *code)
{
    if (strlen(code) > 5 && code[5] == '-')
        code[5] = '\0';
}

static bool shape_cpt(char *code)
{
    remove_modifier(code);
    return strlen(code) == 5 && digits_in(code) >= 4 && alphanumerics_in(code) == 5;
}

static bool shape_hcpcs(char *code)
{
    remove_modifier(code);
    if (is_letter(code[0]))
        return digits_in(code + 1) == 4 && code[5] == '\0';
    return shape_cpt(code);
}

static bool shape_jp_procedure(char *code)
{
    size_t n = strlen(code);
    if (n < 3 || n > 16)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_digit(code[i]) && !is_letter(code[i]) && code[i] != '-')
            return false;
    return true;
}

static const struct {
    bool (*shape)(char *code); /* checks and rewrites; NULL = anything printable */
    const char *remedy;
} rules[RZ_SYSTEM_COUNT] = {
    [RZ_SYSTEM_ICD10] = {shape_icd10, "not ICD-10: a letter and two digits first, then up to four "
                                      "letters or digits, as in N18.9"},
    [RZ_SYSTEM_ICD10CM] = {shape_icd10cm, "not ICD-10-CM: a letter, a digit and at least one more "
                                          "letter or digit, at most eight, as in E11.65"},
    [RZ_SYSTEM_ICD9CM] = {shape_icd9cm, "not ICD-9-CM: two to five digits, V and two to four, or E "
                                        "and three or four, as in 250.00, V45.81, E888.9"},
    [RZ_SYSTEM_ATC] = {shape_atc, "not ATC: one, three, four, five or seven characters, as in "
                                  "A10BA02"},
    [RZ_SYSTEM_YJ] = {shape_yj, "not a YJ code: seven to twelve characters that begin with four "
                                "digits, as in 2171022F1029"},
    [RZ_SYSTEM_HOT] = {shape_hot, "not a HOT code: 7, 9, 11 or 13 digits"},
    [RZ_SYSTEM_NDC] = {shape_ndc, "not an NDC: 8 to 12 digits or 5-4-2 with hyphens, as in "
                                  "00002-8215-01"},
    [RZ_SYSTEM_RXNORM] = {shape_rxnorm, "not an RxCUI: one to eight digits, no zero in front"},
    [RZ_SYSTEM_SNOMED] = {shape_snomed, "not a SNOMED CT id: 6 to 18 digits"},
    [RZ_SYSTEM_LOINC] = {shape_loinc, "not LOINC: digits, a hyphen and a check digit, as in "
                                      "4548-4"},
    [RZ_SYSTEM_CPT] = {shape_cpt, "not CPT: four digits and a digit or letter, as in 99213"},
    [RZ_SYSTEM_HCPCS] = {shape_hcpcs, "not HCPCS: a letter and four digits, or a CPT code, as in "
                                      "J1200"},
    [RZ_SYSTEM_JP_PROCEDURE] = {shape_jp_procedure, "not a procedure code: three to sixteen "
                                                    "letters, digits or hyphens"},
    [RZ_SYSTEM_LOCAL] = {NULL, ""},
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

rz_status rz_code_normalise(rz_code_system system, const char *text, size_t n,
                            char out[RZ_CODE_TEXT], rz_error *error)
{
    char code[RZ_CODE_TEXT];
    if ((unsigned)system >= RZ_SYSTEM_COUNT)
        return rz_fail(error, RZ_E_INTERNAL, "there is no code system %d", (int)system);
    while (n > 0 && is_space(text[0])) {
        text++;
        n--;
    }
    while (n > 0 && is_space(text[n - 1]))
        n--;
    if (n == 0)
        return rz_fail(error, RZ_E_INVALID, "the code is empty");
    if (n >= sizeof code)
        return rz_fail(error, RZ_E_INVALID, "the code has %zu characters, at most %d are kept", n,
                       RZ_CODE_TEXT - 1);
    bool standard = rules[system].shape != NULL;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return rz_fail(error, RZ_E_INVALID, "the code holds a control character");
        bool lower = standard && text[i] >= 'a' && text[i] <= 'z';
        code[i] = lower ? (char)(text[i] - 'a' + 'A') : text[i];
    }
    code[n] = '\0';
    if (standard && !rules[system].shape(code))
        return rz_fail(error, RZ_E_INVALID, "%s", rules[system].remedy);
    memcpy(out, code, strlen(code) + 1);
    return RZ_OK;
}

rz_code_levels rz_code_levels_defaults(void)
{
    return (rz_code_levels){.icd10_chars = 4, .yj_chars = 7, .atc_chars = 7, .ndc_chars = 9};
}

size_t rz_code_truncated_length(rz_code_system system, const char *code, rz_code_levels levels)
{
    int level = 0;
    if (system == RZ_SYSTEM_ICD10 || system == RZ_SYSTEM_ICD10CM)
        level = levels.icd10_chars;
    else if (system == RZ_SYSTEM_ICD9CM)
        level = levels.icd9_chars;
    else if (system == RZ_SYSTEM_YJ)
        level = levels.yj_chars;
    else if (system == RZ_SYSTEM_ATC)
        level = levels.atc_chars;
    else if (system == RZ_SYSTEM_NDC)
        level = levels.ndc_chars;
    size_t n = strlen(code);
    return level > 0 && (size_t)level < n ? (size_t)level : n;
}
